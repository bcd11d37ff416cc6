"""The parts of what a run costs: what extraction and the interventions that read texts pass through the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from genies.costs.costs import Part
from genies.costs.rates import Here, Rate
from genies.costs.sampling import value_of
from genies.costs.sketch import Sketch
from genies.costs.trees import SplitCounts, Trees
from genies.engine.arithmetic import arithmetic
from genies.interventions.registry import make
from genies.interventions.text import reading_texts
from genies.plan import Plan

if TYPE_CHECKING:
    from genies.interventions.text import TextIntervention

EXTRACTION = "extraction"
"""Name of the part that reads every view of every text once."""
CAUSAL = "causal"
"""Name of the part that passes some texts with a direction erased or added."""
SELF_TEST_TEXTS = 3 * (2 + 2)
"""How often a self-test reads what comes before prompts: of three examples, twice packed and once per response."""
SELF_TEST_TEXTS_APART = 2 * 2
"""The same where rows are read after what comes before them."""


def timed(part: Part, sketch: Sketch, rate: Rate, here: Here) -> Part:
    """The part with its hours. On CPUs a job of an intervention takes one core, any other that passes texts all."""
    side_by_side = part.name not in (EXTRACTION, CAUSAL) and here.device.type == "cpu"
    computing = here.hours(part.reading, part.training, sketch.shape.hidden, part.dtype_here)
    starting = here.job_hours(part.jobs, part.loads * sketch.parameters, side_by_side)
    return replace(part, hours=rate.hours(part.operations, part.dtype), hours_here=computing + starting)


def extraction(plan: Plan, sketch: Sketch, splits: Sequence[SplitCounts], here: Here) -> Part:
    trees = sum((split.trees for split in splits), Trees())
    scored = sum(value_of(split.scored) for split in splits if "plain" in split.extracted)
    tests = sum(split.self_test for split in splits)
    reading = operations(sketch, trees) + 2 * sketch.head_weights * scored + 2 * sketch.block_weights * tests
    dtype = plan.config.extraction.dtype
    jobs = sum(bool(plan.jobs.batch(batch)) for batch in plan.jobs.batches)
    return Part(EXTRACTION, trees.tokens, reading, 0, jobs, jobs, dtype, arithmetic(dtype, here.device))


def causal(plan: Plan, name: str, sketch: Sketch, splits: Sequence[SplitCounts], here: Here) -> list[Part]:
    """What trying directions passes of a model; nothing on one whose layers are not stored, and no part if not asked.

    A split's examples count with all of their responses, of which two are passed.
    """
    asked, dtype = plan.config.causal, plan.config.extraction.dtype
    if asked is None:
        return []
    found = {split.distribution: split for split in splits if split.split == "test"}
    targets = [target for source in plan.selection.sources for target in plan.selection.targets[source]]
    changed = (1 + len(set(asked.strengths))) * (1 + asked.draws)
    passed, scored, tests = Trees(), 0.0, 0.0
    passing = CAUSAL in plan.files.analyses(name)
    for target in dict.fromkeys(targets) if passing else ():
        # Once as it is, and then for each source with its direction and the random ones.
        split, count = found[target], 1 + changed * targets.count(target)
        share = min(1.0, asked.texts // 2 / max(1, split.examples))
        passed += split.plain.times(share * count)
        scored += value_of(split.scored) * share * count
        tests += split.plain_self_test
    reading = operations(sketch, passed) + 2 * sketch.head_weights * scored + 2 * sketch.block_weights * tests
    return [Part(CAUSAL, passed.tokens, reading, 0, int(passing), int(passing), dtype, arithmetic(dtype, here.device))]


def operations(sketch: Sketch, trees: Trees, weights: int = 1, attention: int = 1) -> float:
    """Floating-point operations of passes over trees.

    A token is multiplied with every weight of the blocks (two operations each), and attends to all of its tree (four
    for each number of the heads' width). ``weights`` and ``attention`` say how often, backward passes counted.
    """
    tokens, squares = value_of(trees.tokens), value_of(trees.squares)
    return 2 * sketch.block_weights * tokens * weights + 4 * sketch.attention_width * squares * attention


def reading(plan: Plan, name: str, sketch: Sketch, splits: Sequence[SplitCounts], here: Here) -> Part:
    """What an intervention passes that reads texts: by those of its parameters that are known here."""
    kind = reading_texts(make(plan.methods.specs[name], plan.methods.parameters(name)))
    given = kind.get_params()
    shots, virtual = given.get("shots", 0), given.get("virtual_tokens", 0)
    # Shots that many prompts share are passed once for each source; else they are part of every tree.
    sets = given.get("sets", 0) if kind.protocol == "corrected" else 0
    pairs = given.get("steps", 0) * given.get("pairs_per_step", 0)
    found = {(split.distribution, split.split): split for split in splits}
    sources = plan.jobs.sources(name)
    trained, tested, scored, tests = Trees(), Trees(), 0.0, 0.0
    for source in sources:
        train = found[source, "train"]
        trained += _closed(train, virtual).times(pairs / train.plain.count)
        tests += train.plain_self_test if pairs else 0
        before = shots * train.tokens["plain"] / train.texts
        targets = [found[target, "test"] for target in plan.selection.targets[source]]
        for test in targets:
            if sets:
                tested += test.plain.after(before)
            else:
                tested += test.plain.enlarged(before) if shots else _closed(test, virtual)
            scored += value_of(test.scored) if shots else 0
        if sets:
            tested += Trees(1, before, before**2).times(sets)
        # All targets of a source are read together, after one self-test.
        longest = max(test.plain_self_test for test in targets)
        tests += longest + (SELF_TEST_TEXTS_APART if sets else SELF_TEST_TEXTS) * value_of(before)
    trains_all = pairs and _adapter(kind) is None
    jobs = len(plan.jobs.groups(name))
    return Part(
        name=name,
        tokens=trained.tokens + tested.tokens,
        reading=operations(sketch, tested) + 2 * sketch.head_weights * scored + 2 * sketch.block_weights * tests,
        # Weights that are frozen need no gradient of their own; attention, which has no weights, takes twice as much.
        training=operations(sketch, trained, 3 if trains_all else 2, 3),
        jobs=jobs,
        loads=len(sources) if trains_all else jobs,
        dtype="float32" if kind.dtype == "float32" else "bfloat16",
        dtype_here=arithmetic(kind.dtype, here.device),
    )


def _closed(split: SplitCounts, before: float) -> Trees:
    """Trees of a split's texts with EOS after each, and so many tokens before them."""
    return split.plain.enlarged(before + split.texts / split.plain.count)


def _adapter(kind: TextIntervention) -> Any | None:
    return kind.adapter() if hasattr(kind, "adapter") else None


def counted_texts(plan: Plan) -> list[str]:
    """Interventions that read texts with the run's own model."""
    return [name for name in plan.methods.texts if name not in other_models(plan)]


def other_models(plan: Plan) -> list[str]:
    kinds = {name: make(plan.methods.specs[name], plan.methods.parameters(name)) for name in plan.methods.texts}
    return [name for name, kind in kinds.items() if kind.other_models(plan.methods.parameters(name))]
