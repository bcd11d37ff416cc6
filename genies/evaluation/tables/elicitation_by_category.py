"""Elicitation by category of shifts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from genies.evaluation.averages import EXAMPLES, NEW_SHIFTS, interval_columns, new_shifts, within_range
from genies.evaluation.evaluations import PLACE
from genies.evaluation.table import Table

if TYPE_CHECKING:
    from genies.evaluation.bootstrap import DrawnMeans
    from genies.evaluation.measurements import Measurements

TABLE = Table(
    "elicitation_by_category.csv",
    {
        **dict.fromkeys(("model", "label", "category", "intervention"), pl.String),
        "shifts": pl.Int64,
        **dict.fromkeys(("elicitation", "elicitation_low", "elicitation_high"), pl.Float64),
        "interval_over": pl.String,
        "random_elicitation": pl.Float64,
    },
)
"""Columns of ``elicitation_by_category.csv``."""


def rows(run: Measurements) -> pl.DataFrame:
    return by_category(run.metrics, run["intervals"], run.examples)


def by_category(
    metrics: pl.DataFrame, intervals: pl.DataFrame | None = None, examples: DrawnMeans | None = None
) -> pl.DataFrame:
    """Mean elicitation of every (model, intervention, label, category) over its distinct shifts.

    Columns: model, label, category, intervention, shifts, elicitation, elicitation_low, elicitation_high (95 %),
    interval_over ("new shifts", clustered by source; "examples" where there is one source, which tells nothing of other
    ones; null where there is no interval) and random_elicitation, what answering at random would elicit: the mean of
    0.5 / target_tuned_capability.

    Args:
        metrics: columns as in ``tables.generalization_metrics.TABLE``.
        intervals: of single shifts, columns as in ``genies.evaluation.bootstrap.COLUMNS``; without them a category of
            one shift has no interval.
        examples: knows what other examples would change; without it a category of several shifts of one source has no
            interval.
    """
    known = {} if intervals is None else {tuple(row[name] for name in PLACE): row for row in intervals.to_dicts()}
    rows = []
    for (model, label, category, intervention), own in metrics.group_by(
        "model", "label", "category", "intervention", maintain_order=True
    ):
        capability = own["target_tuned_capability"]
        at_random = own.select((0.5 / pl.col("target_tuned_capability")).mean()).item()
        floor = None if capability.null_count() or (capability <= 0).any() else float(at_random)
        mean, interval, over = None, None, NEW_SHIFTS
        if not own["elicitation"].null_count():
            found = new_shifts(own, "elicitation")
            mean, interval = found.mean, within_range("elicitation", found.interval())
            if found.clusters == 1:
                over, interval = EXAMPLES, _over_examples(own, known, examples)
        rows.append(
            {
                "model": model,
                "label": label,
                "category": category,
                "intervention": intervention,
                "shifts": len(own),
                "elicitation": mean,
                **interval_columns("elicitation", interval),
                "interval_over": None if interval is None else over,
                "random_elicitation": floor,
            }
        )
    return TABLE.frame(rows)


def _over_examples(
    own: pl.DataFrame, known: Mapping[tuple[str, ...], Mapping[str, Any]], examples: DrawnMeans | None
) -> tuple[float, float] | None:
    """Interval of a mean elicitation over examples, which for a single shift is known by (model, …, target)."""
    if len(own) > 1:
        return examples.interval(own, "elicitation") if examples else None
    row = known.get(own.select(PLACE).row(0), {})
    low, high = row.get("elicitation_low"), row.get("elicitation_high")
    return None if low is None or high is None else (low, high)
