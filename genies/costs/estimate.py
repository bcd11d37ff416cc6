"""What a run will cost in tokens, hours and disk, from its configuration.

Tokens are counted as ``tokenize`` and ``extract`` would make them, on a sample of each split, and disk by the formulas
that stores are written by. Nothing is written, and no model is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from genies.config.sections import Config
from genies.costs.costs import Costs, ModelCosts, Part
from genies.costs.counts import Sampling, count_splits
from genies.costs.data import MAKE_IT, read_splits
from genies.costs.extraction import free_bytes
from genies.costs.rates import Here, Rate
from genies.costs.sampling import value_of
from genies.costs.sketch import PUBLISHED_SHAPES, Sketch, published_config, read_config, trained_weights
from genies.costs.trees import Pieces, SplitCounts, Trees
from genies.data.options import Split
from genies.engine.arithmetic import arithmetic, resolve_device
from genies.errors import ConfigError, ModelError
from genies.files import read_json
from genies.interventions.registry import make
from genies.interventions.text import reading_texts
from genies.models import trial
from genies.models.describe import find_here
from genies.models.files import hashes_file, tokenizer_digest
from genies.models.gguf import is_gguf, try_metadata
from genies.models.load import context_of, load_tokenizer, try_tokenizer
from genies.plan import Plan
from genies.store.activations import is_complete
from genies.store.blocks import store_bytes
from genies.store.settled import settled, store_digest, stored_shapes
from genies.store.tokens import tokens_bytes

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from genies.interventions.text import TextIntervention

CONVERTED_BYTES = 4
"""Of a weight in the conversion of a GGUF file, which is in float32."""
EXTRACTION = "extraction"
"""Name of the part that reads every view of every text once."""
SELF_TEST_TEXTS = 3 * (2 + 2)
"""How often a self-test reads what comes before prompts: of three examples, twice packed and once per response."""
PROBE_JOBS = 2
"""Jobs of a model for each of its probes: fit and evaluate."""
MODEL_JOBS = 2
"""Further jobs of a model that load no weights: model and tokenize."""
RUN_JOBS = 7
"""Jobs of every run, however many models it has: overlap, records, metrics, samples, provenance, costs and report."""


def estimate(
    config: Config, shapes: Sequence[str], tokenizer: Path | None, rate: Rate, start: float = 0, exact: bool = False
) -> Costs:
    """Estimate a run.

    Args:
        config: its configuration.
        shapes: names in ``PUBLISHED_SHAPES`` that take the place of the configured models.
        tokenizer: folder of a tokenizer for models that have none here.
        rate: the device to give hours of, as well as of this machine.
        start: seconds that a job of this machine takes to start.
        exact: whether every text is tokenized, and not a sample.

    Raises:
        ConfigError, DataError, ModelError: the configuration names what does not exist or is not here yet.
    """
    if shapes:
        config = config.model_copy(update={"models": tuple(shapes), "model": None})
    plan = Plan(config)
    models = [_Planned.of(plan, name, bool(shapes), tokenizer) for name in plan.models]
    sampling = Sampling() if exact else Sampling.over(len(plan.data.splits), config.seed)
    counted = _count(plan, models, sampling)
    here = Here.of(resolve_device(config.extraction.device), start)
    run_jobs = _run_jobs(plan)
    return Costs(
        run=config.run,
        models=[_model_costs(plan, model, splits, rate, here) for model, splits in zip(models, counted, strict=True)],
        run_jobs=run_jobs,
        run_hours_here=here.job_hours(run_jobs, 0, True),
        rate=rate,
        here=here,
        left_out=_left_out(plan),
        cache=plan.files.cache,
        free=free_bytes(plan.files.cache),
    )


@dataclass(frozen=True)
class _Planned:
    """A model as far as it is here."""

    name: str
    config: PretrainedConfig
    tokenizer: PreTrainedTokenizerBase
    tokenizer_source: str
    tokenizer_digest: str | None
    manifest: Mapping[str, Any] | None
    is_gguf: bool
    is_converted: bool

    @classmethod
    def of(cls, plan: Plan, name: str, published: bool, given: Path | None) -> _Planned:
        identifier = plan.models.identifiers[name]
        folder = None if published else _folder(plan, name)
        tokenizer, source, digest = _tokenizer(folder, given, plan.files.cache)
        manifest = plan.files.results / "models" / f"{name}.json"
        return cls(
            name=name,
            config=published_config(identifier) if folder is None else read_config(folder),
            tokenizer=tokenizer,
            tokenizer_source=source,
            tokenizer_digest=digest,
            manifest=read_json(manifest) if manifest.is_file() and not published else None,
            is_gguf=is_gguf(identifier),
            is_converted=is_gguf(identifier) and (folder is None or not is_gguf(folder)),
        )

    @property
    def context(self) -> int | None:
        return context_of(self.config.to_dict())


def _folder(plan: Plan, name: str) -> Path:
    """The model's folder, or its GGUF file where that is not converted yet."""
    identifier = plan.models.identifiers[name]
    if Path(identifier) == plan.models.demo and not plan.models.demo.exists():
        raise ModelError(f"{identifier}: not there yet; {MAKE_IT} --cores 1 --until demo_model")
    folder = find_here(identifier, plan.models.revision(name), hashes_file(plan.files.cache))
    if folder is None:
        raise ModelError(
            f"{identifier}: not in the hub's cache; download it first (snakemake --cores 1 --until model), or name a "
            f"shape (--shape {' '.join(PUBLISHED_SHAPES)})"
        )
    return folder


def _tokenizer(folder: Path | None, given: Path | None, cache: Path) -> tuple[PreTrainedTokenizerBase, str, str | None]:
    """A tokenizer, what it is in words, and its digest: the model's, else the one given, else ``Pieces``."""
    if folder is not None and (digest := tokenizer_digest(folder)):
        return _tried(folder, cache), "its own", digest
    if given is not None:
        if not (digest := tokenizer_digest(given)):
            raise ConfigError(f"{given}: no tokenizer; give a folder as save_pretrained writes it")
        return _tried(given, cache), given.name, digest
    # It has what counting asks of a tokenizer, and nothing else.
    return cast("PreTrainedTokenizerBase", Pieces()), f"none: {Pieces.name_or_path}", None


def _tried(folder: Path, cache: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or a GGUF file, after a trial; unlike the rule ``model``, this keeps nothing."""
    if not is_gguf(folder):
        try_tokenizer(folder, hashes_file(cache), keep=False)
        return load_tokenizer(folder)
    try_metadata(folder)
    tokenizer = load_tokenizer(folder)
    trial.limited(lambda: trial.use(tokenizer), f"{folder}: its tokenizer or chat template")
    return tokenizer


def _count(plan: Plan, models: Sequence[_Planned], sampling: Sampling) -> list[list[SplitCounts]]:
    """Counts for each model; those with the same tokenizer share them where no context is too short."""
    known: dict[tuple[str | None, int | None], list[SplitCounts]] = {}
    for model in sorted(models, key=lambda model: model.context or float("inf")):
        shared = [
            splits
            for (digest, _), splits in known.items()
            if digest == model.tokenizer_digest and not any(split.changed for split in splits)
        ]
        # Stores are looked for by the names of their tokens, where a model's manifest says what else names them.
        digest = model.tokenizer_digest if any(other.manifest for other in models) else None
        known[model.tokenizer_digest, model.context] = shared[0] if shared else count_splits(
            model.tokenizer, digest, model.context, read_splits(plan), len(plan.data.splits), plan.methods.views,
            plan.reading, plan.files.cache, f"{model.name}: count", sampling,
        )  # fmt: skip
    return [known[model.tokenizer_digest, model.context] for model in models]


def _model_costs(plan: Plan, model: _Planned, splits: list[SplitCounts], rate: Rate, here: Here) -> ModelCosts:
    options = plan.config.extraction
    sketch = Sketch.of(model.config, options.layer_numbers, options.head_numbers)
    stores = {
        (split.distribution, split.split, view): store_bytes(
            stored_shapes(sketch.shape, view), options.dtype, split.texts
        )
        for split in splits
        for view in split.extracted
    }
    tokens = sum(tokens_bytes(value_of(count), split.texts) for split in splits for count in split.tokens.values())
    parts = [
        _extraction(plan, sketch, splits, here),
        *(_reading_texts(plan, name, sketch, splits, here) for name in _counted_texts(plan)),
    ]
    conversion = {"model": CONVERTED_BYTES * sketch.parameters} if model.is_gguf else {}
    present = [stores[store] for store in _complete(plan, model, splits)]
    # What trainings made is put in its place by one job, gather.
    other_jobs = PROBE_JOBS * len(plan.methods.probes) + MODEL_JOBS + bool(plan.methods.texts)
    return ModelCosts(
        name=model.name,
        parameters=sketch.parameters,
        tokenizer=model.tokenizer_source,
        splits=splits,
        parts=[_timed(part, sketch, rate, here) for part in parts],
        other_jobs=other_jobs,
        other_hours_here=here.job_hours(other_jobs, 0, True),
        rates={part.dtype_here: here.rate(sketch.shape.hidden, part.dtype_here) for part in parts},
        disk={
            **conversion,
            "tokens": round(tokens),
            "activations": sum(stores.values()),
            "fits": _fits_bytes(plan, model, sketch),
        },
        stored=sum(present) + (sum(conversion.values()) if model.is_converted else 0),
    )


def _run_jobs(plan: Plan) -> int:
    """Jobs that a run has once: its last ones, and those that unpack, place and mix what it reads."""
    needed = {*plan.data.files, *map(Path, plan.models.identifiers.values())}
    mixtures = set(plan.config.mixtures) & set(plan.selection.all)
    needed |= {file for name in mixtures for files in plan.data.mixture_parts(name).values() for file in files}
    unpacked = plan.data.published if plan.config.data_archive else []
    placed = (unpacked, plan.data.demo, [plan.models.demo])
    return RUN_JOBS + len(mixtures) + sum(not needed.isdisjoint(files) for files in placed)


def _timed(part: Part, sketch: Sketch, rate: Rate, here: Here) -> Part:
    """The part with its hours. On CPUs a job of an extraction takes all cores, one of an intervention takes one."""
    side_by_side = part.name != EXTRACTION and here.device.type == "cpu"
    computing = here.hours(part.reading, part.training, sketch.shape.hidden, part.dtype_here)
    starting = here.job_hours(part.jobs, part.loads * sketch.parameters, side_by_side)
    return replace(part, hours=rate.hours(part.operations, part.dtype), hours_here=computing + starting)


def _extraction(plan: Plan, sketch: Sketch, splits: Sequence[SplitCounts], here: Here) -> Part:
    trees = sum((split.trees for split in splits), Trees())
    scored = sum(value_of(split.scored) for split in splits if "plain" in split.extracted)
    tests = sum(split.self_test for split in splits)
    reading = operations(sketch, trees) + 2 * sketch.head_weights * scored + 2 * sketch.block_weights * tests
    dtype = plan.config.extraction.dtype
    jobs = sum(bool(plan.jobs.batch(batch)) for batch in plan.jobs.batches)
    return Part(EXTRACTION, trees.tokens, reading, 0, jobs, jobs, dtype, arithmetic(dtype, here.device))


def operations(sketch: Sketch, trees: Trees, weights: int = 1, attention: int = 1) -> float:
    """Floating-point operations of passes over trees.

    A token is multiplied with every weight of the blocks (two operations each), and attends to all of its tree (four
    for each number of the heads' width). ``weights`` and ``attention`` say how often, backward passes counted.
    """
    tokens, squares = value_of(trees.tokens), value_of(trees.squares)
    return 2 * sketch.block_weights * tokens * weights + 4 * sketch.attention_width * squares * attention


def _reading_texts(plan: Plan, name: str, sketch: Sketch, splits: Sequence[SplitCounts], here: Here) -> Part:
    """What an intervention passes that reads texts: by those of its parameters that are known here."""
    kind = reading_texts(make(plan.methods.specs[name], plan.methods.parameters(name)))
    given = kind.get_params()
    shots, virtual = given.get("shots", 0), given.get("virtual_tokens", 0)
    pairs = given.get("steps", 0) * given.get("pairs_per_step", 0)
    found = {(split.distribution, split.split): split for split in splits}
    sources = plan.jobs.sources(name)
    trained, tested, scored, tests = Trees(), Trees(), 0.0, 0.0
    for source in sources:
        train = found[source, "train"]
        trained += _closed(train, virtual).times(pairs / train.plain.count)
        tests += train.plain_self_test if pairs else 0
        before = shots * train.tokens["plain"] / train.texts
        for target in plan.selection.targets[source]:
            test = found[target, "test"]
            tested += test.plain.enlarged(before) if shots else _closed(test, virtual)
            scored += value_of(test.scored) if shots else 0
            tests += test.plain_self_test + SELF_TEST_TEXTS * value_of(before)
    trains_all = pairs and _adapter(kind) is None
    # Weights that are frozen need no gradient of their own; attention, which has no weights, takes twice as much.
    weights = 3 if trains_all else 2
    jobs = len(plan.jobs.groups(name))
    return Part(
        name=name,
        tokens=trained.tokens + tested.tokens,
        reading=operations(sketch, tested) + 2 * sketch.head_weights * scored + 2 * sketch.block_weights * tests,
        training=operations(sketch, trained, weights, 3),
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


def _complete(plan: Plan, model: _Planned, splits: Sequence[SplitCounts]) -> list[tuple[str, Split, str]]:
    """Stores (distribution, split, view) that are in the cache; known where the run has the model's manifest."""
    if model.manifest is None:
        return []
    chosen = settled(plan.config.extraction, model.manifest)
    root = plan.files.cache / "activations"
    return [
        (split.distribution, split.split, view)
        for split in splits
        for view in split.extracted
        if view in split.digests and is_complete(root, store_digest(model.manifest, split.digests[view], chosen)[0])
    ]


def _fits_bytes(plan: Plan, model: _Planned, sketch: Sketch) -> int:
    """Bytes of the fits: what trainings learn, exactly (float32), and of probes at most (float64 vectors)."""
    total = 0
    for name in plan.methods.specs:
        kind = make(plan.methods.specs[name], plan.methods.parameters(name))
        sources = len(plan.jobs.sources(name))
        if hasattr(kind, "adapter"):
            total += 4 * trained_weights(model.config, kind.adapter()) * sources
        elif kind.fit_views:
            total += 8 * kind.get_params().get("kept", 2) * sketch.shape.hidden * sources
    return total


def _counted_texts(plan: Plan) -> list[str]:
    """Interventions that read texts with the run's own model."""
    return [name for name in plan.methods.texts if name not in _other_models(plan)]


def _other_models(plan: Plan) -> list[str]:
    kinds = {name: make(plan.methods.specs[name], plan.methods.parameters(name)) for name in plan.methods.texts}
    return [name for name, kind in kinds.items() if kind.other_models(plan.methods.parameters(name))]


def _left_out(plan: Plan) -> list[str]:
    left_out = [f"{name}, which reads a model of its own" for name in _other_models(plan)]
    left_out += [f"the plug-in {name}" for name in plan.methods.plugins]
    return [*left_out, *(["the sweep"] if plan.config.sweep else [])]
