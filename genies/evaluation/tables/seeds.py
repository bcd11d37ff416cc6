"""How far results move when a run's fits and trainings are drawn again with other seeds.

An intervention fitted again stands under ``<intervention>@<seed>`` among the evaluations. The interval of an accuracy
tells what other examples would change, that of a mean what other shifts would; neither holds what another seed would,
so the spread is stated beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl

from genies.evaluation.averages import ALL_LABELS
from genies.evaluation.evaluations import PLACE, Fits
from genies.evaluation.table import Rows, Table
from genies.evaluation.tables.cells import measured_cells

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

SHIFT = "shift"
TABLE = Table(
    "seeds.csv",
    {
        **dict.fromkeys(("model", "intervention", "over", "source", "target"), pl.String),
        "seeds": pl.Int64,
        **dict.fromkeys(("accuracy_mean", "accuracy_sd", "accuracy_least", "accuracy_most"), pl.Float64),
    },
    optional=True,
    rows=Rows(("model", "intervention", "over", "source", "target"), ("seeds",), blank=("source", "target")),
)
"""Columns of ``seeds.csv``: a row per model, intervention and shift (``over`` is "shift"), and one for the mean over
all distinct shifts ("all"); mean, standard deviation (n − 1) and range of the accuracy over the seeds."""


def rows(run: Measurements) -> pl.DataFrame:
    return TABLE.frame() if run.fits is None else spread(run.fits, run.metrics, run.repeats)


def spread(fits: Fits, metrics: pl.DataFrame, repeats: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """The spread over seeds, columns as in ``TABLE``.

    Args:
        fits: evaluations of the run; those of the repeats are in their folder, where the intervention reads the model.
        metrics: those of the run's own seed, as in ``tables.generalization_metrics.TABLE``.
        repeats: names of the repeats by intervention.

    Raises:
        StoreError: an evaluation is missing or damaged.
    """
    shifts = metrics.select("model", "source", "target").unique(maintain_order=True)
    sources = set(metrics["source"])
    accuracies = [metrics.select(*PLACE, pl.lit("").alias("seed"), accuracy="generalization_accuracy")]
    for model in metrics["model"].unique(maintain_order=True):
        for intervention, names in repeats.items():
            read = [name for name in names if f"{model}/{name}" not in fits.absent]
            if not read:
                continue
            cells = measured_cells(Fits(fits.folder, [model], dict.fromkeys(read, sources))).rename(
                {"intervention": "seed"}
            )
            own = cells.join(shifts, on=["model", "source", "target"], how="semi")
            accuracies.append(own.with_columns(intervention=pl.lit(intervention)).select(*PLACE, "seed", "accuracy"))
    frame = pl.concat(accuracies).filter(pl.col("intervention").is_in(list(repeats)))
    keys = ["model", "intervention"]
    by_shift = _summary(frame, [*keys, "source", "target"]).with_columns(over=pl.lit(SHIFT))
    means = frame.group_by(*keys, "seed", maintain_order=True).agg(pl.col("accuracy").mean())
    overall = _summary(means, keys).with_columns(over=pl.lit(ALL_LABELS))
    return pl.concat([overall, by_shift], how="diagonal").select(
        pl.col(name).cast(kind) if name in by_shift.columns else pl.lit(None, kind).alias(name)
        for name, kind in TABLE.columns.items()
    )


def _summary(frame: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    accuracy = pl.col("accuracy")
    return frame.group_by(*keys, maintain_order=True).agg(
        pl.len().alias("seeds"),
        accuracy.mean().alias("accuracy_mean"),
        accuracy.std().alias("accuracy_sd"),
        accuracy.min().alias("accuracy_least"),
        accuracy.max().alias("accuracy_most"),
    )
