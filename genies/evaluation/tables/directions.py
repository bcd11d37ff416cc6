"""How alike the directions of sources and probes rank pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from genies.evaluation.table import Rows, Table, gathered

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

TABLE = Table(
    "directions.csv",
    {
        "model": pl.String,
        "layer": pl.Int64,
        **dict.fromkeys(("intervention", "source", "other", "other_source"), pl.String),
        **dict.fromkeys(("agreement", "ceiling"), pl.Float64),
    },
    optional=True,
    rows=Rows(("model", "layer", "intervention", "source", "other", "other_source"), ("agreement", "ceiling")),
)
"""Columns of ``directions.csv``: a row per layer and two directions, either of one ``intervention`` on two sources, or
of two on one source. ``agreement`` is the correlation of their scores over pairs of the targets, and ``ceiling`` what
it would be if the two sources shared one direction, by the agreement of their halves. ``mean_difference`` is the
difference of means of best and worse responses."""


def rows(run: Measurements) -> pl.DataFrame:
    return gathered(TABLE, run.analyses)
