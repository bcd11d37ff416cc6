"""Where the variance of an accuracy comes from: the wording of a question, the seed of a fit, the test examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Components:
    """Variances of the accuracy of one fit, of one wording and one seed, by what they come from.

    They are estimated without bias, so that where there is nothing, about half of the estimates are negative.

    Attributes:
        wording: wordings drawn anew, all else being the same.
        seed: likewise seeds; None where there is one.
        both: what a seed does under one wording and not under others; likewise. With one seed it is part of
            ``wording``.
        example: other test examples, as many as there are, as far as they change the accuracy of every fit alike.
        rest: other test examples, as far as they change it differently from fit to fit.
    """

    wording: float
    seed: float | None
    both: float | None
    example: float
    rest: float


def standard_deviation(variance: float | None) -> float | None:
    """Its square root, 0 where an estimate is negative; None of None."""
    return None if variance is None else math.sqrt(max(variance, 0.0))


def crossed_components(accuracy: np.ndarray, influences: Sequence[np.ndarray]) -> Components | None:
    """Components of the variance of an accuracy, in a table of wordings × seeds × clusters of examples, all random.

    The method of moments of a crossed design (Searle, Casella and McCulloch, Variance Components, 1992, chapter 4;
    Brennan, Generalizability Theory, 2001, chapter 3), for one accuracy instead of one example, so that clusters may
    be unequal. The mean squares of the accuracies, between wordings, between seeds and beyond both, are
    Var(wording) + Var(both) / S, Var(seed) + Var(both) / W and Var(both), each plus the same mean square of the
    errors that the sample of examples causes. The covariance of those errors is Σ r rᵀ over the influences r of the
    clusters (Bell and McCaffrey, Survey Methodology 28, 2002). With clusters of equal size these are the estimates of
    the analysis of variance, divided by the number of examples, and without bias.

    Args:
        accuracy: of the fit of each wording and seed, float64 (W, S); or of each a mean over shifts.
        influences: of the clusters of one distribution each, float64 (W, S, k); see
            ``genies.evaluation.uncertainty.cluster_influences``. For a mean over shifts, those of shifts with the same
            target are added, and divided by the number of shifts.

    Returns:
        The components; None where there is one wording, or a distribution of one cluster.
    """
    wordings, seeds = accuracy.shape
    if wordings < 2 or any(of_one.shape[-1] < 2 for of_one in influences):
        return None
    errors = np.sum([_mean_squares(of_one).sum(axis=-1) for of_one in influences], axis=0)
    # The first mean square, of the grand mean, says of accuracies nothing, and of errors what they share.
    _, wording, seed, both = _solved(_mean_squares(accuracy) - errors, wordings, seeds)
    example, *rest = _solved(errors, wordings, seeds)
    several = seeds > 1
    return Components(wording, seed if several else None, both if several else None, example, sum(rest))


def _mean_squares(table: np.ndarray) -> np.ndarray:
    """Squares of the grand mean, and mean squares between rows, between columns and beyond both.

    Args:
        table: float64 (W, S, ...).

    Returns:
        float64 (4, ...); with one column, the last two are 0.
    """
    rows, columns, grand = table.mean(axis=1), table.mean(axis=0), table.mean(axis=(0, 1))
    between_rows = np.sum((rows - grand) ** 2, axis=0) / (len(rows) - 1)
    degrees = len(columns) - 1
    if not degrees:
        return np.stack([grand**2, between_rows, np.zeros_like(grand), np.zeros_like(grand)])
    between_columns = np.sum((columns - grand) ** 2, axis=0) / degrees
    beyond = table - rows[:, None] - columns[None] + grand
    squares = np.sum(beyond**2, axis=(0, 1)) / ((len(rows) - 1) * degrees)
    return np.stack([grand**2, between_rows, between_columns, squares])


def _solved(squares: np.ndarray, rows: int, columns: int) -> tuple[float, float, float, float]:
    """Variance that all cells share, of rows, of columns and of single cells, from mean squares, float64 (4,)."""
    shared, row, column, both = squares.tolist()
    row, column = row - both / columns, column - both / rows
    return shared - row / rows - column / columns - both / (rows * columns), row, column, both
