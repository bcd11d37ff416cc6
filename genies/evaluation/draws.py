"""Draws of clusters, those of every bootstrap over examples (Efron and Tibshirani, 1993, chapter 13)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from genies.data.pairs import text_seed
from genies.evaluation.ratios import Estimate, difference

BLOCK = 2**22
"""Counts that are drawn, or multiplied, at a time: as NumPy draws them, each has eight bytes."""
IN_CACHE = 2**16
"""Numbers of eight bytes that a processor's cache holds, several times over."""
ENDS = (0.025, 0.975)
Interval = tuple[float, float]


def drawn_clusters(distribution: str, clusters: int, seed: int, resamples: int) -> np.ndarray:
    """How often each cluster is drawn, uint8 (resamples, clusters); even 20 times is one in 10¹⁸.

    Args:
        distribution: whose test pairs they are; its draws depend on this name and the seed alone.
        clusters: how many there are.
        seed: of the draws.
        resamples: how many draws; the first ones do not depend on it.
    """
    generator = np.random.default_rng(text_seed(seed, distribution))
    drawn = np.empty((resamples, clusters), np.uint8)
    for rows in blocks(resamples, 2 * clusters):  # the draws and their counts
        count = len(drawn[rows])
        # To draw single clusters and count them takes a fraction of the time that NumPy's multinomial takes.
        picked = generator.integers(clusters, size=(count, clusters))
        picked += clusters * np.arange(count)[:, None]
        drawn[rows] = np.bincount(picked.ravel(), minlength=count * clusters).reshape(count, clusters)
    return drawn


def blocks(resamples: int, width: int, most: int = BLOCK) -> list[slice]:
    """The draws in blocks of no more than ``most`` numbers, ``width`` of each draw."""
    rows = max(1, most // width)
    return [slice(begin, begin + rows) for begin in range(0, resamples, rows)]


def percentiles(drawn: np.ndarray) -> Interval:
    """Those of a 95 % interval, of a figure's draws, float64 (draws,)."""
    low, high = (float(end) for end in np.quantile(drawn, ENDS))
    return low, high


def spanned(one: Interval, other: Interval) -> Interval:
    """The interval that holds both."""
    return min(one[0], other[0]), max(one[1], other[1])


def too_even(ends: Interval) -> bool:
    """Whether one draw in 40 has no wrong pair, or no right one, or hardly any draw differs from the others.

    Of 60 pairs that holds where at most three are wrong.

    Args:
        ends: percentiles of the draws of a share.
    """
    return ends[0] <= 0 or ends[1] >= 1 or ends[0] == ends[1]


def share_interval(drawn: np.ndarray, otherwise: Callable[[], Interval]) -> Interval:
    """95 % interval of a share: percentiles of its draws, widened where too few texts, or too many, count for these.

    Args:
        drawn: the share in each draw, float64 (draws,).
        otherwise: gives an interval that holds there.
    """
    ends = percentiles(drawn)
    return spanned(ends, otherwise()) if too_even(ends) else ends


def widened(drawn: np.ndarray, other: Interval) -> Interval:
    """Percentiles of the draws of a share, widened to hold another 95 % interval of it.

    Percentiles are too narrow for few clusters, or a few that hold most of the texts.
    """
    return spanned(percentiles(drawn), other)


def difference_interval(one: Estimate, share: Estimate) -> Interval:
    """95 % interval of a figure minus a share: percentiles of their draws, widened where the share hardly varies.

    There the distances between the figures and the ends of their own intervals give it a width (``ratios.difference``).

    Args:
        one: with its interval and draws.
        share: likewise.
    """
    ends = percentiles(one.drawn - share.drawn)
    if not too_even(percentiles(share.drawn)):
        return ends
    wider = difference(one, share)
    return spanned(ends, (wider.low, wider.high))
