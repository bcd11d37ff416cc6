"""Several differences judged together, so that p-values and intervals of a family give one verdict each (max-t).

The largest |t| of all differences in the family is what each is compared with. Its distribution is that of a
multivariate t vector with the correlation that the differences show (Hothorn, Bretz and Westfall, Biometrical Journal
50, 2008), drawn by a fixed seed. The chance that any interval of the family misses its difference is 5 %, and a
difference has an adjusted p-value below 0.05 exactly where its interval excludes 0. Comparisons that step down
(Westfall and Young, Resampling-based multiple testing, 1993) find a little more, but have no such intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.05
DRAWS = 19_999
"""Of the largest |t|. At an adjusted p-value of 0.05, the standard error of the drawing is 0.0015."""
ROUNDING = 1e-12
"""Differences that vary by less than this are all the same."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """A mean difference, and how it varies.

    Attributes:
        difference: the mean.
        influences: what each independent unit contributes to its error, float64 (u,), in the order that all estimates
            of a family share; the sum of squares is the square of the standard error. A unit that says nothing of this
            difference has 0.
        degrees_of_freedom: of the standard error.
        units: how many units the mean is over.
    """

    difference: float
    influences: np.ndarray
    degrees_of_freedom: float
    units: int

    @property
    def standard_error(self) -> float:
        return float(np.linalg.norm(self.influences))


@dataclass(frozen=True)
class Judged:
    """An estimate as its family judges it.

    Attributes:
        standard_error: of the difference.
        low: lower end of the simultaneous 95 % interval; None where there is no end.
        high: upper end; likewise.
        p_adjusted: adjusted two-sided p-value, below ``LEVEL`` exactly where the interval excludes 0.
    """

    standard_error: float
    low: float | None
    high: float | None
    p_adjusted: float


def judged(family: Sequence[Estimate]) -> list[Judged]:
    """Judge the estimates of a family together.

    The smallest degrees of freedom in the family count for all of it. Differences that are the same in each of n units
    have no t: they are judged by the exact test that flips signs (Fisher, The design of experiments, 1935, section 21),
    whose p-value 2^(1 − n), 1 for a difference of 0, is multiplied by the size of the family (Bonferroni). The interval
    that inverts this test is the difference alone, or has no end where n is too small for any p-value below ``LEVEL``.

    Args:
        family: estimates over the same units.
    """
    varying = [one for one in family if one.standard_error >= ROUNDING]
    largest = _largest(varying)
    return [_by_t(one, largest) if one.standard_error >= ROUNDING else _by_sign(one, len(family)) for one in family]


def _largest(family: Sequence[Estimate]) -> np.ndarray:
    """Draws of the largest |t| of a family without differences, sorted, float64 (``DRAWS``,)."""
    if not family:
        return np.empty(0)
    influences = np.stack([one.influences / one.standard_error for one in family], 1)
    if len(influences) > influences.shape[1]:
        # Fewer factors with the same covariance, so that there is less to draw.
        values, vectors = np.linalg.eigh(influences.T @ influences)
        influences = (vectors * np.sqrt(np.clip(values, 0, None))).T
    freedom = min(one.degrees_of_freedom for one in family)
    generator = np.random.default_rng(0)
    scale = np.sqrt(generator.chisquare(freedom, DRAWS) / freedom)
    largest = np.empty(DRAWS)
    for begin in range(0, DRAWS, 4096):
        rows = slice(begin, begin + 4096)
        normal = generator.standard_normal((len(largest[rows]), len(influences)))
        largest[rows] = np.abs(normal @ influences).max(1)
    return np.sort(largest / scale)


def _by_t(one: Estimate, largest: np.ndarray) -> Judged:
    error, t = one.standard_error, abs(one.difference) / one.standard_error
    reached = DRAWS - int(np.searchsorted(largest, t, side="left"))
    # The draw that |t| must exceed for a p-value below the level.
    critical = largest[DRAWS + 1 - round(LEVEL * (DRAWS + 1))]
    margin = float(critical) * error
    return Judged(error, one.difference - margin, one.difference + margin, (1 + reached) / (DRAWS + 1))


def _by_sign(one: Estimate, size: int) -> Judged:
    zero = abs(one.difference) < ROUNDING
    p = 1.0 if zero else min(1.0, size * 2.0 ** (1 - one.units))
    if zero:
        return Judged(0.0, 0.0, 0.0, p)
    ends = one.difference if p < LEVEL else None
    return Judged(0.0, ends, ends, p)
