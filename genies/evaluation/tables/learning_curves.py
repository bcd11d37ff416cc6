"""What probes reach with fewer training pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from genies.evaluation.evaluations import PLACE
from genies.evaluation.table import Rows, Table, gathered

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

TABLE = Table(
    "learning_curves.csv",
    {
        **dict.fromkeys(PLACE, pl.String),
        **dict.fromkeys(("size", "draws"), pl.Int64),
        **dict.fromkeys(("accuracy", "accuracy_sd", "low", "high"), pl.Float64),
    },
    optional=True,
    rows=Rows((*PLACE, "size"), ("draws", "accuracy", "low", "high")),
)
"""Columns of ``learning_curves.csv``: a row per probe, source, target (also the source itself) and number of training
pairs, ``size`` (more where the last prompt has several). ``accuracy`` is the mean over ``draws`` of these pairs,
``accuracy_sd`` the standard deviation over them; ``low`` to ``high`` holds 95 % of what other test examples and other
draws give. The last row of a curve is the fit on all pairs, of which there is one draw, and its interval is for other
test examples alone."""


def rows(run: Measurements) -> pl.DataFrame:
    return gathered(TABLE, run.analyses)
