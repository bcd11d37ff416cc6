"""The smallest difference between two interventions that a run can detect, and what a given difference needs.

Two-sided tests at 5 % after the correction for all comparisons of m interventions, with power 0.8. For comparisons of
every two of m equally precise means the largest |t| has the studentized range distribution (Tukey; Hochberg and
Tamhane, Multiple Comparison Procedures, 1987, section 3.2), which the tests of a finished run replace by the one that
its data show. Power is that of a shifted t distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from genies.evaluation.simultaneous import LEVEL
from genies.evaluation.uncertainty import clustered_mean, supports_new_shifts

POWER = 0.8
WITHIN_PROMPT = 0.3
"""Correlation of paired differences on two pairs of one prompt, if nothing else is assumed: that of five probes on the
targets of the 15 shifts with three pairs a prompt (SmolLM2-135M), design effects of 1.3 to 1.8."""
MOST = 10**7
"""Pairs or shifts above which a plan is of no use."""


@dataclass(frozen=True)
class Assumptions:
    """What is assumed of differences before there are any.

    Attributes:
        methods: how many interventions are compared, every two of them.
        discordance: share of a shift's pairs that two of them rank differently.
        design_effect: variance of a difference on a shift over that of as many independent pairs; None for that of
            clusters of equal size, 1 + ``WITHIN_PROMPT`` · (pairs / prompts − 1).
        deviation: standard deviation over shifts of the difference of two accuracies.
        within_source: correlation of the differences on two shifts with the same source.
    """

    methods: int
    discordance: float = 0.35
    design_effect: float | None = None
    deviation: float = 0.143
    within_source: float = 0.0


def standard_errors(methods: int, degrees_of_freedom: float, power: float = POWER) -> float:
    """By how many standard errors a difference must exceed 0 to be detected."""
    from scipy import special, stats

    if methods > 2:
        critical = float(stats.studentized_range.ppf(1 - LEVEL, methods, degrees_of_freedom)) / math.sqrt(2)
    else:
        critical = float(special.stdtrit(degrees_of_freedom, 1 - LEVEL / 2))
    return critical + float(special.stdtrit(degrees_of_freedom, power))


def within_shift(pairs: int, prompts: int, assumed: Assumptions) -> float | None:
    """The smallest difference of accuracy on a shift of so many test pairs of so many prompts.

    Of paired answers the variance of the difference Δ is (discordance − Δ²) · design effect / n.

    Returns:
        None for one prompt, and where it would have to be larger than the share of pairs that are ranked differently.
    """
    if prompts < 2:
        return None
    effect = 1 + WITHIN_PROMPT * (pairs / prompts - 1) if assumed.design_effect is None else assumed.design_effect
    squared = standard_errors(assumed.methods, prompts - 1) ** 2 * effect
    smallest = math.sqrt(squared * assumed.discordance / (pairs + squared))
    return smallest if smallest <= assumed.discordance else None


def over_shifts(sources: Sequence[str], assumed: Assumptions) -> float | None:
    """The smallest mean difference over shifts of these sources, a name per shift, for new shifts.

    The degrees of freedom are those of the test of a finished run (``clustered_mean``). None where they are too few for
    any claim.
    """
    freedom = clustered_mean(np.zeros(len(sources)), list(sources)).degrees_of_freedom if len(sources) else None
    if freedom is None or not supports_new_shifts(freedom):
        return None
    sizes = np.unique(list(sources), return_counts=True)[1].astype(np.float64)
    variance = np.sum(sizes + assumed.within_source * sizes * (sizes - 1)) / len(sources) ** 2
    return standard_errors(assumed.methods, freedom) * assumed.deviation * math.sqrt(variance)


def pairs_needed(difference: float, assumed: Assumptions) -> int | None:
    """How many test pairs, each of a prompt of its own, a difference on one shift needs; None where none suffice."""
    if difference > assumed.discordance:
        return None

    def detected(pairs: int) -> bool:
        smallest = within_shift(pairs, pairs, assumed)
        return smallest is not None and smallest <= difference

    return _smallest(detected)


def shifts_needed(difference: float, assumed: Assumptions) -> int | None:
    """How many shifts, each of a source of its own, a mean difference needs."""

    def detected(shifts: int) -> bool:
        freedom = float(shifts - 1)
        if not supports_new_shifts(freedom):
            return False
        return standard_errors(assumed.methods, freedom) * assumed.deviation / math.sqrt(shifts) <= difference

    return _smallest(detected)


def _smallest(suffices: Callable[[int], bool]) -> int | None:
    """The smallest number from 2 on that suffices, where all larger ones do, too; None above ``MOST``."""
    high = 2
    while not suffices(high):
        high *= 2
        if high > MOST:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high
