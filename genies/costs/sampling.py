"""Totals over a split from a sample of its examples, with their error: ratio estimates.

A count is one number where everything was counted. Where a sample was, it is an array: the estimate, and after it
``DRAWS`` numbers that scatter around it as estimates from other samples would. Whatever is computed from counts, such
as a sum over splits, is computed of each of these numbers, and the scatter of the results is the result's error.
"""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

DRAWS = 1000
"""How many numbers show the scatter of an estimate: its error is then known to about 2 % of itself."""
NORMAL_QUANTILE = 1.96
"""Standard errors on either side of an estimate that make an interval of 95 %."""

Count = float | np.ndarray


def value_of(count: Count) -> float:
    """The count, or its estimate."""
    return float(np.ravel(count)[0])


def error_of(count: Count) -> float:
    """Half of the 95 % interval as a share of the count; 0 where everything was counted."""
    numbers = np.ravel(count)
    return NORMAL_QUANTILE * float(np.std(numbers[1:])) / float(numbers[0]) if len(numbers) > 1 and numbers[0] else 0.0


def ratio_totals(
    measured: np.ndarray, known: np.ndarray, totals: np.ndarray, examples: int, draws: np.random.Generator
) -> np.ndarray:
    """Totals of measured numbers over all examples, from a simple random sample.

    A total is that of a known number, times the ratio of the two in the sample (Cochran, Sampling Techniques, 1977,
    chapter 6). The scatter has the covariances of the sample's residuals, each enlarged by its example's weight in the
    ratio (as a jackknife does), and shrinks with the share of examples that the sample holds.

    Args:
        measured: numbers of the sample's examples, (n, q), n at least 2.
        known: a positive number for each of those, about proportional to it, (n, q).
        totals: of the known numbers over all examples, (q,).
        examples: how many there are.
        draws: draws the scatter.

    Returns:
        float64 (1 + DRAWS, q): the estimates, then their scatter.
    """
    size = len(measured)
    sums = known.sum(axis=0)
    ratios = measured.sum(axis=0) / sums
    residuals = (measured - ratios * known) / (1 - known / sums)
    unsampled = 1 - size / examples
    # Student's t, since the residuals of a small sample show their deviation but roughly.
    wider = stdtrit(size - 1, 0.975) / NORMAL_QUANTILE
    spread = wider * residuals * totals / sums * np.sqrt(unsampled * size / (size - 1))
    return ratios * totals + np.vstack([np.zeros(len(sums)), draws.standard_normal((DRAWS, size)) @ spread])
