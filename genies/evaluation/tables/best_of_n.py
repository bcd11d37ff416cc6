"""Best of n: how often the response with the highest score is the good one, and what its score promises."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from genies.evaluation.best_of_n import Choices, best_of, choices, is_good, promised
from genies.evaluation.draws import Interval, difference_interval, drawn_clusters, percentiles, spanned, widened
from genies.evaluation.ensembles import source_calibrator
from genies.evaluation.evaluations import PLACE, by_fit
from genies.evaluation.ratios import Estimate
from genies.evaluation.table import Rows, Table
from genies.evaluation.tables.text_scores import wanted
from genies.evaluation.uncertainty import accuracy_interval, clustered_margin

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

RESAMPLES = 1_000
TABLE = Table(
    "best_of_n.csv",
    {
        **dict.fromkeys(PLACE, pl.String),
        **dict.fromkeys(("responses", "n", "examples"), pl.Int64),
        **dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high", "at_most"), pl.Float64),
        **dict.fromkeys(("promised", "gap", "gap_low", "gap_high"), pl.Float64),
    },
    optional=True,
    rows=Rows((*PLACE, "responses", "n"), ("examples", "accuracy")),
)
"""Columns of ``best_of_n.csv``: a row per cell of a shift (or of a source on itself), number of responses and n.

It is about the ``examples`` that have so many ``responses``, three or more, one of them good; 20 at least.
``accuracy`` is how often the good one is taken where n of them are drawn and the one with the highest score is taken,
the mean over all draws of n; ``at_most`` is how often the good one is among them. ``promised`` is the probability that
the scores give to what is taken (Luce's choice axiom, with the slope of a calibrator that is fitted on the source's
test pairs), and ``gap`` what it lacks in truth: promised less accuracy. Both begin with 1/responses at n = 1, so a gap
that grows with n comes from choosing by the score (over-optimisation). Scores are those of single texts; where there
are none, probabilities of pairs decide, and there is no promise. Intervals of 95 % are over prompt clusters of the
target; the slope counts as given."""


def rows(run: Measurements) -> pl.DataFrame:
    return TABLE.frame(_rows(run) if run.fits is not None else ())


def _rows(run: Measurements) -> Iterator[dict[str, Any]]:
    places, drawn = wanted(run), lru_cache(maxsize=8)(drawn_clusters)
    assert run.fits is not None
    for fit, targets in by_fit(run.fits):
        slope = _slope(targets[fit[2]]) if fit[2] in targets else None
        for target, pairs in targets.items():
            for found in choices(pairs) if (fit[2], target) in places else ():
                weights = drawn(target, pairs["cluster"].n_unique(), run.seed, RESAMPLES)
                for row in _of_choices(found, slope, weights):
                    yield {**dict(zip(PLACE, (*fit, target), strict=True)), **row}


def _slope(source: pl.DataFrame) -> float | None:
    """Of the calibrator on the source's test pairs; None where there are no scores of texts."""
    differences = source["best_text_score"] - source["worse_text_score"]
    return None if differences.null_count() else source_calibrator(differences.to_numpy()).slope


def _of_choices(found: Choices, slope: float | None, drawn: np.ndarray) -> Iterator[dict[str, Any]]:
    good = is_good(found)
    promise = promised(found, slope) if found.of_texts and slope is not None else None
    for n in range(2, found.responses + 1):
        right = best_of(found.score, good, n)
        low, high = _interval(right, found.cluster, drawn)
        row = {
            "responses": found.responses,
            "n": n,
            "examples": len(right),
            "accuracy": float(right.mean()),
            "accuracy_low": low,
            "accuracy_high": high,
            "at_most": n / found.responses,
        }
        if promise is not None:
            said = best_of(found.score, promise, n)
            of_said, of_right = (_drawn_means(values, found.cluster, drawn) for values in (said, right))
            promises = Estimate(float(said.mean()), *percentiles(of_said), of_said)
            accuracy = Estimate(float(right.mean()), low, high, of_right)
            low, high = _gap_interval(promises, accuracy, said - right, found.cluster)
            row |= {"promised": promises.value, "gap": float(np.mean(said - right)), "gap_low": low, "gap_high": high}
        yield row


def _gap_interval(promises: Estimate, accuracy: Estimate, gaps: np.ndarray, cluster: np.ndarray) -> Interval:
    """Of the mean of gaps, (examples,): percentiles, which are too narrow for few prompts, widened to Student's t."""
    found, margin = difference_interval(promises, accuracy), clustered_margin(gaps, cluster)
    gap = promises.value - accuracy.value
    return found if margin is None else spanned(found, (gap - margin, gap + margin))


def _interval(right: np.ndarray, cluster: np.ndarray, drawn: np.ndarray) -> Interval:
    """Of the mean over examples, (examples,)."""
    return widened(_drawn_means(right, cluster, drawn), accuracy_interval(np.clip(right, 0, 1), cluster))


def _drawn_means(values: np.ndarray, cluster: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Mean over examples in each draw of the target's clusters that has one of them, float64 (at most draws,)."""
    clusters = drawn.shape[1]
    sums, counts = (drawn @ np.bincount(cluster, weights, clusters) for weights in (values, np.ones(len(values))))
    return sums[counts > 0] / counts[counts > 0]
