"""Averages over shifts: which shifts are averaged over, and the ranking of interventions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

import numpy as np
import polars as pl

from genies.evaluation.classes import UNKNOWN, Classes
from genies.evaluation.uncertainty import ClusteredMean, clustered_mean

AVERAGED = {
    "generalization_accuracy": (0.0, 1.0),
    "elicitation": (0.0, None),
    "differential_elicitation": (None, None),
    "calibration_error": (0.0, 1.0),
    "brier": (0.0, 1.0),
}
"""Metrics that are averaged over shifts, and their range, at which intervals end."""
CAPABILITY = "target_tuned_capability"
RANGES = {**AVERAGED, CAPABILITY: (0.0, 1.0)}
DIFFERENCE = "difference_to_best"
BLOCK = ("model", "label", "averaged_over")
"""Columns that name a set of shifts that is averaged over."""
NEW_SHIFTS, EXAMPLES = "new shifts", "examples"
"""What an interval of a mean is for; the second where the shifts say nothing of new ones."""
ALL_LABELS = "all"
DISTINCT, PUBLISHED = "distinct", "published"
Benchmarks = Mapping[str, Collection[tuple[str, str]]]
"""(source, target) of the shifts of each named benchmark."""


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


def ranking(
    shifts: pl.DataFrame, weighted: bool, classes: Classes = MappingProxyType({})
) -> list[tuple[str, pl.DataFrame]]:
    """The interventions of a block, best mean accuracy first, each with its rows of metrics.

    The rows have two more columns: ``difference_to_best`` in accuracy to the best intervention of the same class, null
    where that was not tested on the shift, and in its own rows; and ``best_intervention``.

    Args:
        shifts: rows of the metrics.
        weighted: whether a shift stands as often as the published list has it; else it stands once.
        classes: of the interventions.
    """
    rows = shifts[np.repeat(np.arange(len(shifts)), shifts["published_entries"])] if weighted else shifts
    own = {str(name): of for (name,), of in rows.group_by("intervention", maintain_order=True)}
    order = sorted(own, key=lambda name: -own[name].select(pl.mean("generalization_accuracy")).item())
    first: dict[str, str] = {}
    for name in order:
        first.setdefault(classes.get(name, UNKNOWN), name)
    places = ["source", "target"]
    reached = {
        best: own[best].unique(places).select(*places, best_accuracy="generalization_accuracy")
        for best in first.values()
    }
    ranked = []
    for name in order:
        best = first[classes.get(name, UNKNOWN)]
        # Joined by shift, not by position: what is paired must be the same shift.
        joined = own[name].join(reached[best], on=places, how="left", maintain_order="left")
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
    smallest, largest = RANGES.get(name, (None, None))
    low, high = interval
    return low if smallest is None else max(low, smallest), high if largest is None else min(high, largest)


def interval_columns(name: str, interval: tuple[float, float] | None) -> dict[str, float | None]:
    """The ends of an interval as ``<name>_low`` and ``<name>_high``; null where there is none."""
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}
