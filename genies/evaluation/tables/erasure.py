"""What a probe loses on a target once the direction of another source is erased from the features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from genies.evaluation.evaluations import PLACE
from genies.evaluation.table import Rows, Table, gathered

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

TABLE = Table(
    "erasure.csv",
    {
        **dict.fromkeys(("model", "intervention", "source", "target"), pl.String),
        "layer": pl.Int64,
        **dict.fromkeys(("accuracy", "erased_accuracy", "loss"), pl.Float64),
        **dict.fromkeys(("random_loss", "random_loss_most"), pl.Float64),
        "draws": pl.Int64,
        "p": pl.Float64,
    },
    optional=True,
    rows=Rows(PLACE, ("layer", "accuracy", "erased_accuracy", "loss", "random_loss", "random_loss_most", "draws", "p")),
)
"""Columns of ``erasure.csv``: a row per intervention and shift whose target the run fits on too, and per source on
itself. The target's own probe has ``accuracy`` on its test pairs, and ``erased_accuracy`` when it is fitted and tested
again on features from which LEACE, fitted on the source, has erased which response is the best one. ``random_loss`` is
the mean of what it loses when one of ``draws`` random directions is erased in its place, ``random_loss_most`` the
most; ``p`` is the share of all these directions, the source's among them, that take as much."""


def rows(run: Measurements) -> pl.DataFrame:
    return gathered(TABLE, run.analyses)
