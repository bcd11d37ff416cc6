"""How many directions the sources of a run have in each layer, and whether agreement goes with transfer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from genies.evaluation.table import Rows, Table, gathered

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

TABLE = Table(
    "direction_layers.csv",
    {
        **dict.fromkeys(("model", "intervention"), pl.String),
        **dict.fromkeys(("layer", "sources"), pl.Int64),
        **dict.fromkeys(("own_accuracy", "agreement", "ceiling"), pl.Float64),
        **dict.fromkeys(("effective", "effective_if_shared", "effective_if_unrelated", "p_related"), pl.Float64),
        **dict.fromkeys(("transfer_r", "transfer_p", "transfer_p_adjusted"), pl.Float64),
    },
    optional=True,
    rows=Rows(
        ("model", "intervention", "layer"),
        ("sources", "own_accuracy", "effective", "effective_if_shared", "effective_if_unrelated", "p_related"),
    ),
)
"""Columns of ``direction_layers.csv``: a row per intervention and layer. ``sources`` counts all distributions fitted
on, references among them. ``own_accuracy`` is the mean accuracy of the sources' directions on their own test pairs;
``agreement`` and ``ceiling`` are means over every two sources. ``effective`` is how many directions there are in
effect, between 1 and ``sources``; next to it what that would be if all sources shared one direction (``ceiling`` in
place of ``agreement``), and on average if each had one drawn at random from its own features. ``p_related`` is the
share of such draws with as few. ``transfer_r`` is the correlation of the agreement of two sources with the accuracy of
one's direction on the other's test pairs; its p-values rearrange the sources (``genies.evaluation.qap``), and
``transfer_p_adjusted`` allows for the choice of a layer."""


def rows(run: Measurements) -> pl.DataFrame:
    return gathered(TABLE, run.analyses)
