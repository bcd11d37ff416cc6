"""How much of a direction's accuracy on a target follows from mean and spread of its scores there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from genies.evaluation.evaluations import PLACE
from genies.evaluation.table import Rows, Table, gathered

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

TABLE = Table(
    "transfer.csv",
    {
        **dict.fromkeys(("model", "intervention"), pl.String),
        "layer": pl.Int64,
        **dict.fromkeys(("source", "target"), pl.String),
        **dict.fromkeys(("predicted_accuracy", "accuracy", "remainder", "agreement", "ceiling"), pl.Float64),
    },
    optional=True,
    rows=Rows((*PLACE, "layer"), ("predicted_accuracy", "accuracy", "remainder")),
)
"""Columns of ``transfer.csv``: a row per intervention, layer and shift, and per source on itself.
``predicted_accuracy`` is Φ(mean / standard deviation) of the scores of the target's pairs along the source's direction,
and ``remainder`` what ``accuracy`` is above it. ``agreement`` of that direction with the target's own, and its
``ceiling``, are there where the run fits on the target too."""


def rows(run: Measurements) -> pl.DataFrame:
    return gathered(TABLE, run.analyses)
