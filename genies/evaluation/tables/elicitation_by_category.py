"""Elicitation by category of shifts, with the accuracy and the capability that it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from genies.evaluation.averages import CAPABILITY, EXAMPLES, NEW_SHIFTS, interval_columns, new_shifts, within_range
from genies.evaluation.evaluations import PLACE
from genies.evaluation.table import Rows, Table
from genies.evaluation.uncertainty import supports_new_shifts

if TYPE_CHECKING:
    from genies.evaluation.bootstrap import DrawnMeans
    from genies.evaluation.measurements import Measurements

MEANS = ("elicitation", "generalization_accuracy", CAPABILITY)
"""Metrics whose means over a category the table has."""
OF_ONE_SHIFT = {
    "elicitation": ("elicitation_low", "elicitation_high"),
    "generalization_accuracy": ("generalization_accuracy_low", "generalization_accuracy_high"),
    CAPABILITY: ("capability_low", "capability_high"),
}
"""Columns with the interval of a single shift over examples: of the intervals, or of the metrics themselves."""
ENDS = ("", "_low", "_high")

TABLE = Table(
    "elicitation_by_category.csv",
    {
        **dict.fromkeys(("model", "label", "category", "intervention"), pl.String),
        **dict.fromkeys(("shifts", "sources"), pl.Int64),
        "degrees_of_freedom": pl.Float64,
        "interval_over": pl.String,
        **{f"{name}{end}": pl.Float64 for name in MEANS for end in ENDS},
        "random_elicitation": pl.Float64,
    },
    rows=Rows(("model", "label", "category", "intervention"), ("shifts", "sources", "generalization_accuracy")),
)
"""Columns of ``elicitation_by_category.csv``. ``degrees_of_freedom`` are those that an interval for new shifts has."""


def rows(run: Measurements) -> pl.DataFrame:
    return by_category(run.metrics, run["intervals"], run.examples)


def by_category(
    metrics: pl.DataFrame, intervals: pl.DataFrame | None = None, examples: DrawnMeans | None = None
) -> pl.DataFrame:
    """Means of every (model, intervention, label, category) over its distinct shifts, columns as in ``TABLE``.

    A mean has a 95 % interval (``<name>_low``, ``<name>_high``), and ``interval_over`` says of what: "new shifts",
    clustered by source, where there are degrees of freedom enough to support a claim about new ones
    (``genies.evaluation.uncertainty.supports_new_shifts``); else "examples", which tells nothing of other shifts. It is
    null where no mean has an interval. A metric that is null for one shift has no mean. ``random_elicitation`` is what
    answering at random would elicit: the mean of 0.5 / target_tuned_capability.

    Args:
        metrics: columns as in ``tables.generalization_metrics.TABLE``.
        intervals: of single shifts, columns as in ``genies.evaluation.bootstrap.COLUMNS``; without them the elicitation
            of a category of one shift has no interval.
        examples: knows what other examples would change; without it a category of several shifts has no interval over
            examples.
    """
    known = {} if intervals is None else {tuple(row[name] for name in PLACE): row for row in intervals.to_dicts()}
    rows = []
    for names, own in metrics.group_by("model", "label", "category", "intervention", maintain_order=True):
        capability = own[CAPABILITY]
        at_random = own.select((0.5 / pl.col(CAPABILITY)).mean()).item()
        floor = None if capability.null_count() or (capability <= 0).any() else float(at_random)
        rows.append(
            {
                **dict(zip(("model", "label", "category", "intervention"), names, strict=True)),
                "shifts": len(own),
                **_means(own, known, examples),
                "random_elicitation": floor,
            }
        )
    return TABLE.frame(rows)


def _means(
    own: pl.DataFrame, known: Mapping[tuple[str, ...], Mapping[str, Any]], examples: DrawnMeans | None
) -> dict[str, Any]:
    """Means over a category with their intervals, and what these are over."""
    row: dict[str, Any] = {}
    for name in MEANS:
        if own[name].null_count():
            continue
        found = new_shifts(own, name)
        supported = supports_new_shifts(found.degrees_of_freedom)
        interval = within_range(name, found.interval()) if supported else _over_examples(own, name, known, examples)
        row |= {name: found.mean, **interval_columns(name, interval)}
        row |= {"sources": found.clusters, "degrees_of_freedom": found.degrees_of_freedom}
        if interval is not None:
            row["interval_over"] = NEW_SHIFTS if supported else EXAMPLES
    return row


def _over_examples(
    own: pl.DataFrame,
    name: str,
    known: Mapping[tuple[str, ...], Mapping[str, Any]],
    examples: DrawnMeans | None,
) -> tuple[float, float] | None:
    """Interval of a mean over examples, which for a single shift is known by (model, …, target)."""
    if len(own) > 1:
        return examples.interval(own, name) if examples else None
    row = {**own.row(0, named=True), **known.get(own.select(PLACE).row(0), {})}
    low, high = (row.get(end) for end in OF_ONE_SHIFT[name])
    return None if low is None or high is None else (low, high)
