"""Intervals of ratios, differences and means of accuracies that vary together, as draws of examples show.

``difference``, ``mean_interval`` and ``ratio_interval`` are made from the intervals of the accuracies themselves: the
distances between an accuracy and the ends of its interval add like standard errors, with the correlation of the
accuracies (MOVER: Zou and Donner, Statistics in Medicine 27, 2008; of ratios: Donner and Zou, Statistical Methods in
Medical Research 21, 2012). So they have a width where no pair is wrong, and a bootstrap has nothing to vary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

NORMAL = 1.959963984540054
"""The normal distribution's 97.5 % quantile."""


class Estimate(NamedTuple):
    """A figure with its interval.

    Attributes:
        value: the figure.
        low, high: its interval.
        drawn: the figure in draws that all estimates share, float64 (draws,); for correlations.
    """

    value: float
    low: float
    high: float
    drawn: np.ndarray


def difference(one: Estimate, other: Estimate) -> Estimate:
    """One figure minus another."""
    shared = correlation(one.drawn, other.drawn)
    value = one.value - other.value
    apart = (one.value - one.low, other.high - other.value), (one.high - one.value, other.value - other.low)
    below, above = (math.sqrt(max(own**2 + its**2 - 2 * shared * own * its, 0.0)) for own, its in apart)
    return Estimate(value, value - below, value + above, one.drawn - other.drawn)


def mean_interval(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """Interval of the mean of figures; one that is there twice, with the same array of draws, goes with itself."""
    drawn = np.stack([one.drawn - one.drawn.mean() for one in estimates])
    lengths = np.linalg.norm(drawn, axis=1, keepdims=True)
    drawn = np.divide(drawn, lengths, out=np.zeros_like(drawn), where=lengths > 0)
    same = np.array([[one.drawn is other.drawn for other in estimates] for one in estimates])
    shared = np.where(same, 1.0, drawn @ drawn.T)
    values = np.array([one.value for one in estimates])
    apart = values - [one.low for one in estimates], np.array([one.high for one in estimates]) - values
    below, above = (math.sqrt(max(ends @ shared @ ends, 0.0)) / len(estimates) for ends in apart)
    return float(values.mean()) - below, float(values.mean()) + above


def ratio_interval(one: Estimate, other: Estimate) -> tuple[float, float] | None:
    """Interval of one figure divided by another, a positive one; None where it would have no end.

    A ratio R lies within it where 0 lies within the interval of one − R · other.
    """
    shared = correlation(one.drawn, other.drawn)
    below, above = other.value - other.low, other.high - other.value
    ends = []
    for own, its, side in (
        (one.value - one.low, above if one.low > 0 else below, -1),
        (one.high - one.value, below if one.high > 0 else above, 1),
    ):
        a, b, c = other.value**2 - its**2, one.value * other.value - shared * own * its, one.value**2 - own**2
        if a <= 0:
            return None
        # Of values x and y, b² − ac is (x · its − shared · y · own)² + (1 − shared²) · own² · a: at least 0.
        ends.append((b + side * math.sqrt(max(b**2 - a * c, 0.0))) / a)
    return ends[0], ends[1]


def fieller(one: np.ndarray, other: np.ndarray) -> tuple[float, float] | None:
    """Interval of the ratio of two figures from their draws, float64 (draws,); None where it would have no end.

    Fieller's theorem (Quarterly Journal of Pharmacy and Pharmacology 17, 1944), with the draws' variances.
    """
    x, y = one.mean(), other.mean()
    (xx, xy), (_, yy) = np.cov(one, other)
    a, b, c = y**2 - NORMAL**2 * yy, x * y - NORMAL**2 * xy, x**2 - NORMAL**2 * xx
    if a <= 0 or b**2 < a * c:
        return None
    margin = np.sqrt(b**2 - a * c)
    return float((b - margin) / a), float((b + margin) / a)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Of the draws of two figures; 0 where one of them does not vary."""
    if not np.ptp(one) or not np.ptp(other):
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
