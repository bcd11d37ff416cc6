"""Means over shifts with the intervals of two different questions.

*New examples*: these very shifts, tested on other examples (``genies.evaluation.bootstrap``). *New shifts*: other
shifts of the same kind, where those that share a source are alike (``genies.evaluation.uncertainty.clustered_mean``);
and *new shifts and targets*, where those that share a target are alike as well (``two_way_mean``).
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import polars as pl

from genies.evaluation.averages import (
    DIFFERENCE,
    NEW_SHIFTS,
    Benchmarks,
    averaged,
    blocks,
    new_shifts,
    ranking,
    within_range,
)
from genies.evaluation.bootstrap import OVER_SHIFTS, DrawnMeans
from genies.evaluation.classes import Classes
from genies.evaluation.table import Table
from genies.evaluation.uncertainty import two_way_mean

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

NEW_EXAMPLES, NEW_SHIFTS_AND_TARGETS = "new examples", "new shifts and targets"
TABLE = Table(
    "means.csv",
    {
        **dict.fromkeys(("model", "label", "averaged_over", "intervention", "metric"), pl.String),
        "mean": pl.Float64,
        "over": pl.String,
        **dict.fromkeys(("low", "high", "degrees_of_freedom"), pl.Float64),
        "clusters": pl.Int64,
    },
)
"""Columns of ``means.csv``: a row per mean of the leaderboard and question (``over``) with its 95 % interval, null
where it is not known. ``clusters`` counts sources, or the fewer of sources and targets; it and ``degrees_of_freedom``
are null for new examples, whose interval is a bootstrap's. Differences to the best intervention have this one alone;
for new shifts they stand in ``comparisons.csv``."""


def rows(run: Measurements) -> pl.DataFrame:
    return means(run.metrics, run.examples, run.benchmarks, run.classes)


def means(
    metrics: pl.DataFrame,
    examples: DrawnMeans,
    benchmarks: Benchmarks | None = None,
    classes: Classes = MappingProxyType({}),
) -> pl.DataFrame:
    """Means over shifts, columns as in ``TABLE``, in the order of the leaderboard.

    Args:
        metrics: a row per model, intervention and shift, as in ``tables.generalization_metrics.TABLE``.
        examples: knows what other examples would change.
        benchmarks: sets of shifts to average over as well.
        classes: of the interventions; differences are to the best one of the same class.
    """
    rows = [
        {**names, "intervention": intervention, "metric": metric, **row}
        for names, weighted, shifts in blocks(metrics, benchmarks)
        for intervention, own in ranking(shifts, weighted, classes)
        for metric, used in averaged(own)
        for row in _rows(used, metric, examples)
    ]
    return TABLE.frame(rows)


def _rows(used: pl.DataFrame, metric: str, examples: DrawnMeans) -> Iterator[dict[str, Any]]:
    by_source = new_shifts(used, metric)
    two_way = two_way_mean(used[metric].to_numpy(), used["source"].to_numpy(), used["target"].to_numpy())
    if metric in OVER_SHIFTS:
        low, high = examples.interval(used, metric) or (None, None)
        yield {"mean": by_source.mean, "over": NEW_EXAMPLES, "low": low, "high": high}
    if metric == DIFFERENCE:
        return  # for new shifts, comparisons judge it together with all others
    for over, found in ((NEW_SHIFTS, by_source), (NEW_SHIFTS_AND_TARGETS, two_way)):
        low, high = within_range(metric, found.interval()) or (None, None)
        yield {
            "mean": found.mean,
            "over": over,
            "low": low,
            "high": high,
            "degrees_of_freedom": found.degrees_of_freedom,
            "clusters": found.clusters,
        }
