"""Averages over shifts: which shifts are averaged over, the ranking of interventions, and the leaderboard."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from genies.evaluation.metrics import CHANCE
from genies.evaluation.table import Table
from genies.evaluation.uncertainty import ClusteredMean, clustered_mean

if TYPE_CHECKING:
    from genies.evaluation.bootstrap import DrawnMeans

AVERAGED = {
    "generalization_accuracy": (0.0, 1.0),
    "elicitation": (0.0, None),
    "differential_elicitation": (None, None),
    "calibration_error": (0.0, 1.0),
    "brier": (0.0, 1.0),
}
"""Metrics that are averaged over shifts, and their range, at which intervals end."""
DIFFERENCE = "difference_to_best"
OVER_EXAMPLES = ("generalization_accuracy", DIFFERENCE)
"""Means whose intervals over examples the leaderboard has, too."""

LEADERBOARD = Table(
    "leaderboard.csv",
    {
        **dict.fromkeys(("model", "label", "averaged_over", "intervention"), pl.String),
        **dict.fromkeys(("shifts", "entries", "shifts_at_chance"), pl.Int64),
        "degrees_of_freedom": pl.Float64,
        **{f"{name}{end}": pl.Float64 for name in (*AVERAGED, DIFFERENCE) for end in ("", "_low", "_high")},
        **{f"{name}_examples{end}": pl.Float64 for name in OVER_EXAMPLES for end in ("_low", "_high")},
    },
)
"""Columns of ``leaderboard.csv``. The interval ``X_low`` to ``X_high`` is for new shifts, that of accuracy with these
degrees of freedom; ``X_examples_low`` to ``X_examples_high`` is for the same shifts with new examples.
``shifts_at_chance`` counts shifts whose accuracy's interval contains 0.5; null where one has no interval."""

ALL_LABELS = "all"
DISTINCT, PUBLISHED = "distinct", "published"
Benchmarks = Mapping[str, Collection[tuple[str, str]]]
"""(source, target) of the shifts of each named benchmark."""


def leaderboard(
    metrics: pl.DataFrame, benchmarks: Benchmarks | None = None, examples: DrawnMeans | None = None
) -> pl.DataFrame:
    """Averages over shifts of every (model, intervention), best accuracy first, columns as in ``LEADERBOARD``.

    ``difference_to_best`` is the mean difference of accuracy to the best intervention of the block, paired by shift
    (null for the best one itself). A metric that is null for one shift has no average, and an average over the
    shifts of one source has no interval for new shifts.

    Args:
        metrics: columns as in ``genies.evaluation.generalization.METRICS``.
        benchmarks: sets of shifts that have a block of their own; see ``blocks``.
        examples: knows what other examples would change; without it, intervals over examples are null.
    """
    rows = []
    for names, weighted, shifts in blocks(metrics, benchmarks):
        for intervention, own in ranking(shifts, weighted):
            row: dict[str, Any] = {**names, "intervention": intervention, **_counts(own)}
            for name, used in averaged(own):
                mean = new_shifts(used, name)
                row |= {name: mean.mean, **interval_columns(name, within_range(name, mean.interval()))}
                if name == "generalization_accuracy":
                    row["degrees_of_freedom"] = mean.degrees_of_freedom
                if name in OVER_EXAMPLES and examples:
                    row |= interval_columns(f"{name}_examples", examples.interval(used, name))
            rows.append(row)
    return LEADERBOARD.frame(rows)


def blocks(
    metrics: pl.DataFrame, benchmarks: Benchmarks | None = None
) -> Iterator[tuple[dict[str, str], bool, pl.DataFrame]]:
    """The sets of shifts that are averaged over: names, whether entries count, and the rows of metrics.

    One for each model, each ``label`` (``all`` first) and each way of averaging: ``distinct`` weighs every shift once,
    ``published`` every published shift as often as the published list has it; and one for each benchmark, whose name
    stands in ``averaged_over``, unless it has all the shifts.
    """
    for (model,), of_model in metrics.group_by("model", maintain_order=True):
        labels = of_model["label"].drop_nulls().unique(maintain_order=True).to_list()
        named = {name: within(of_model, shifts) for name, shifts in (benchmarks or {}).items()}
        for label in (ALL_LABELS, *labels):
            chosen = of_model if label == ALL_LABELS else of_model.filter(pl.col("label") == label)
            sets = {DISTINCT: chosen, PUBLISHED: chosen.filter(pl.col("published_entries").is_not_null())}
            if label == ALL_LABELS:
                sets |= {name: shifts for name, shifts in named.items() if len(shifts) < len(of_model)}
            for averaged_over, shifts in sets.items():
                if len(shifts):
                    names = {"model": str(model), "label": label, "averaged_over": averaged_over}
                    yield names, averaged_over == PUBLISHED, shifts


def within(metrics: pl.DataFrame, shifts: Collection[tuple[str, str]]) -> pl.DataFrame:
    """The rows of some shifts, given by (source, target)."""
    wanted = pl.DataFrame(sorted(shifts), schema={"source": pl.String, "target": pl.String}, orient="row")
    return metrics.join(wanted, on=["source", "target"], how="semi", maintain_order="left")


def ranking(shifts: pl.DataFrame, weighted: bool) -> list[tuple[str, pl.DataFrame]]:
    """The interventions of a block, best mean accuracy first, each with its rows of metrics.

    The rows have two more columns: ``difference_to_best`` in accuracy, null where the best intervention was not tested
    on the shift, and in the rows of the best one; and ``best_intervention``.

    Args:
        shifts: rows of the metrics.
        weighted: whether a shift stands as often as the published list has it; else it stands once.
    """
    rows = shifts[np.repeat(np.arange(len(shifts)), shifts["published_entries"])] if weighted else shifts
    own = {str(name): of for (name,), of in rows.group_by("intervention", maintain_order=True)}
    order = sorted(own, key=lambda name: -own[name].select(pl.mean("generalization_accuracy")).item())
    best = order[0]
    # Joined by shift, not by position: what is paired must be the same shift.
    places = ["source", "target"]
    of_best = own[best].unique(places).select(*places, best_accuracy="generalization_accuracy")
    ranked = []
    for name in order:
        joined = own[name].join(of_best, on=places, how="left", maintain_order="left")
        difference = pl.col("generalization_accuracy") - pl.col("best_accuracy")
        kept = pl.when(pl.lit(name != best)).then(difference).alias(DIFFERENCE)
        ranked.append((name, joined.with_columns(kept, best_intervention=pl.lit(best))))
    return ranked


def averaged(own: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """The metrics that have a mean, each with the rows that it is over: none of them may be null.

    Args:
        own: rows of an intervention, as ``ranking`` gives them. Its difference to the best one is over those shifts
            that both were tested on.
    """
    for name in (*AVERAGED, DIFFERENCE):
        used = own.filter(pl.col(name).is_not_null()) if name == DIFFERENCE else own
        if len(used) and not used[name].null_count():
            yield name, used


def new_shifts(rows: pl.DataFrame, name: str) -> ClusteredMean:
    """The mean of a metric over its rows, and how far it could lie from this with new shifts: clustered by source."""
    return clustered_mean(rows[name].to_numpy(), rows["source"].to_numpy())


def within_range(name: str, interval: tuple[float, float] | None) -> tuple[float, float] | None:
    """An interval that ends where the metric's range does."""
    if interval is None:
        return None
    smallest, largest = AVERAGED.get(name, (None, None))
    low, high = interval
    return low if smallest is None else max(low, smallest), high if largest is None else min(high, largest)


def interval_columns(name: str, interval: tuple[float, float] | None) -> dict[str, float | None]:
    """The ends of an interval as ``<name>_low`` and ``<name>_high``; null where there is none."""
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def _counts(own: pl.DataFrame) -> dict[str, int | None]:
    """How many shifts and entries there are, and how many shifts have an accuracy that chance could give."""
    distinct = own.unique(["source", "target"])
    low, high = (distinct[f"generalization_accuracy{end}"] for end in ("_low", "_high"))
    at_chance = None if low.null_count() else int(((low <= CHANCE) & (high >= CHANCE)).sum())
    return {"shifts": len(distinct), "entries": len(own), "shifts_at_chance": at_chance}
