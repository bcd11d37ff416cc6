"""Which accuracies a probe reaches when the labels of its source say nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from genies.evaluation.evaluations import PLACE
from genies.evaluation.paired import holm
from genies.evaluation.table import Rows, Table, gathered

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

OF_MODEL = Table(
    "nulls.csv",
    {
        **dict.fromkeys(PLACE, pl.String),
        "repeats": pl.Int64,
        **dict.fromkeys(("solver_accuracy", "low", "median", "high", "p"), pl.Float64),
    },
)
"""Columns of what the stage ``nulls`` writes for one model."""
TABLE = Table(
    "nulls.csv",
    {**OF_MODEL.columns, **dict.fromkeys(("accuracy", "p_adjusted"), pl.Float64)},
    optional=True,
    rows=Rows(PLACE, ("repeats", "low", "median", "high", "p", "p_adjusted", "accuracy")),
)
"""Columns of ``nulls.csv``: a row per probe and shift. ``low`` to ``high`` holds 95 % of the accuracies of ``repeats``
fits on training pairs whose labels were flipped at random, ``median`` lies in their middle. These fits, and
``solver_accuracy``, which is that on the labels as they are, come from one solver for all probes (differences of
means); ``p`` compares the two, and ``p_adjusted`` corrects for the probes on the shift (Holm). ``accuracy`` is the
probe's own."""


def rows(run: Measurements) -> pl.DataFrame:
    return joined(gathered(OF_MODEL, run.analyses), run.metrics)


def joined(found: pl.DataFrame, metrics: pl.DataFrame) -> pl.DataFrame:
    """The nulls of all models with the accuracies of the probes, columns as in ``TABLE``.

    Args:
        found: columns as in ``OF_MODEL``.
        metrics: columns as in ``tables.generalization_metrics.TABLE``. Cells of no shift are left out.
    """
    own = metrics.select(*PLACE, pl.col("generalization_accuracy").alias("accuracy")).unique(PLACE)
    found = found.join(own, on=PLACE, how="inner", maintain_order="left")
    families = found.group_by("model", "source", "target", maintain_order=True)
    adjusted = [own.with_columns(pl.Series("p_adjusted", holm(own["p"].to_list()), pl.Float64)) for _, own in families]
    return pl.concat(adjusted) if adjusted else TABLE.frame()
