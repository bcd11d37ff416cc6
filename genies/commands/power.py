"""The verb ``power``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from genies.config.load import read_config
from genies.costs.data import read_splits
from genies.data.pairs import test_pairs
from genies.data.shifts import benchmarks, read_shifts
from genies.errors import ConfigError
from genies.evaluation.power import WITHIN_PROMPT, Assumptions, over_shifts, pairs_needed, shifts_needed, within_shift
from genies.plan import Plan


def power(
    *,
    configfile: Sequence[Path] = (Path("config/config.yaml"),),
    config: Sequence[str] = (),
    difference: float = 0.05,
    discordance: float = 0.35,
    design_effect: float | None = None,
    deviation: float = 0.143,
    within_source: float = 0.0,
) -> None:
    """Say which differences between interventions a run could detect, before it is paid for; nothing is written.

    Args:
        configfile: as snakemake takes it (default: the demo's).
        config: ``KEY=VALUE``, as snakemake takes it.
        difference: of accuracy; how many pairs and shifts it needs is said, too.
        discordance: share of a shift's pairs that two interventions rank differently.
        design_effect: variance of a difference on a shift over that of as many independent pairs (default: that of a
            correlation of 0.3 between pairs of one prompt; 1.6 for three pairs each).
        deviation: standard deviation over shifts of the difference of two accuracies (default: mms − lora of LLaMA-7B
            over the 15 shifts, as published).
        within_source: correlation of the differences on two shifts with the same source.
    """
    for name, value in {"difference": difference, "discordance": discordance}.items():
        if not 0 < value <= 1:
            raise ConfigError(f"--{name}: {value} is not a share above 0 and up to 1")
    for name, positive in {"design-effect": design_effect, "deviation": deviation}.items():
        if positive is not None and not 0 < positive < float("inf"):
            raise ConfigError(f"--{name}: {positive} is not a positive number")
    if not 0 <= within_source <= 1:
        raise ConfigError(f"--within-source: {within_source} is no correlation from 0 to 1")
    plan = Plan(read_config(configfile, config))
    methods = [name for name in plan.methods.names if name not in plan.roles.baselines]
    assumed = Assumptions(max(2, len(methods)), discordance, design_effect, deviation, within_source)
    print(*_lines(plan, assumed, difference), sep="\n")


def _lines(plan: Plan, assumed: Assumptions, difference: float) -> Iterator[str]:
    shifts = read_shifts(*map(Path, plan.config.shifts))
    sizes = _sizes(plan)
    yield (
        f"Smallest differences of accuracy that {plan.config.run} can detect (two-sided 5 % over all comparisons of "
        f"{assumed.methods} interventions, power 0.8):"
    )
    yield ""
    yield "| shift | test pairs | prompts | difference |"
    yield "|---|---:|---:|---:|"
    for place in dict.fromkeys((shift.source, shift.target) for shift in shifts):
        pairs, prompts = sizes[place[1]]
        smallest = _shown(within_shift(pairs, prompts, assumed), "none")
        yield f"| {' → '.join(place)} | {pairs:,} | {prompts:,} | {smallest} |"
    yield ""
    yield "| mean over shifts, for new shifts | shifts | sources | difference |"
    yield "|---|---:|---:|---:|"
    everything = dict.fromkeys((shift.source, shift.target) for shift in shifts)
    for name, chosen in {"all distinct": everything, **benchmarks(shifts)}.items():
        sources = [source for source, _ in chosen]
        found = _shown(over_shifts(sources, assumed), "too few sources")
        yield f"| {name} | {len(sources)} | {len(set(sources))} | {found} |"
    yield ""
    answers, number = pairs_needed(difference, assumed), shifts_needed(difference, assumed)
    yield (
        f"A difference of {difference:g} needs {_count(answers, 'test pair')} of different prompts on one shift, or a "
        f"mean over {_count(number, 'shift')} of different sources."
    )
    yield ""
    effect = f"differences on pairs of one prompt correlate with {WITHIN_PROMPT:g}"
    if assumed.design_effect is not None:
        effect = f"the design effect is {assumed.design_effect:g}"
    yield (
        f"Assumed: two interventions rank {assumed.discordance:g} of the pairs of a shift differently; {effect}; "
        f"differences vary over shifts with a standard deviation of {assumed.deviation:g}, "
        f"and correlate with {assumed.within_source:g} where shifts share their source."
    )


def _sizes(plan: Plan) -> dict[str, tuple[int, int]]:
    """Test pairs of each target and their clusters (``genies.data.clusters``), as tests count them, after the limit."""
    sizes = {}
    for split, file, framed, drawn in read_splits(plan):
        if split == "test":
            pairs = test_pairs([framed.examples[index] for index in drawn])
            sizes[file.parent.name] = len(pairs), len(np.unique(framed.clusters[drawn]))
    return sizes


def _shown(difference: float | None, absent: str) -> str:
    return absent if difference is None else f"{difference:.3f}"


def _count(number: int | None, noun: str) -> str:
    return f"more {noun}s than there are" if number is None else f"{number:,} {noun}s"
