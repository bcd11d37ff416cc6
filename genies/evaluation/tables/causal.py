"""What a model's own preference changes by when the direction of a source is erased from its passes, or added."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from genies.evaluation.table import Rows, Table, gathered

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

ERASED, ADDED = CHANGES = ("erased", "added")
"""What is done with a direction."""
TABLE = Table(
    "causal.csv",
    {
        **dict.fromkeys(("model", "source", "target"), pl.String),
        "layer": pl.Int64,
        "change": pl.String,
        "strength": pl.Float64,
        "texts": pl.Int64,
        **dict.fromkeys(("lead", "effect", "low", "high", "random_effect", "random_low", "random_high"), pl.Float64),
        "draws": pl.Int64,
        **dict.fromkeys(("p", "p_adjusted"), pl.Float64),
    },
    optional=True,
    rows=Rows(
        ("model", "source", "target", "change", "strength"),
        ("layer", "texts", "lead", "effect", "random_effect", "random_low", "random_high", "draws", "p", "p_adjusted"),
        blank=("strength",),
    ),
)
"""Columns of ``causal.csv``: a row per source, target (also the source itself) and change. The source's direction in
``layer`` is ``erased`` from every layer, or ``added`` to what that layer gives, ``strength`` times as long as the
distance of the class means. ``lead`` is the log-probability of the best response less that of the worse one, in nats,
in the untouched model, and ``effect`` how much more it is with the change, each a mean over the pairs of ``texts`` test
texts; ``low`` to ``high`` holds 95 % of what other examples give. ``random_effect`` is the mean effect of ``draws``
random directions in its place, and those lie within ``random_low`` and ``random_high``. ``p`` is the share of all these
directions whose effects lie as far from their mean; ``p_adjusted`` compares with the farthest of any row of the model
(max-T)."""


def rows(run: Measurements) -> pl.DataFrame:
    return gathered(TABLE, run.analyses)
