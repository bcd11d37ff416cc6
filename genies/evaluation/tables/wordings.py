"""What probes reach under other wordings of the questions in their views."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from genies.evaluation.evaluations import PLACE
from genies.evaluation.table import Rows, Table, gathered

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

TABLE = Table(
    "wordings.csv",
    {
        **dict.fromkeys(PLACE, pl.String),
        **dict.fromkeys(("wording", "seeds"), pl.Int64),
        **dict.fromkeys(("accuracy", "accuracy_sd", "low", "high"), pl.Float64),
    },
    optional=True,
    rows=Rows((*PLACE, "wording"), ("seeds", "accuracy", "low", "high")),
)
"""Columns of ``wordings.csv``: a row per probe, source, target (also the source itself) and wording; 0 is the
published one, n the view ``<view>_n``. Fitted and tested under that wording, the probe has ``accuracy``, a mean over
``seeds`` (its own and ``further_seeds``), and ``accuracy_sd`` over them; ``low`` to ``high`` holds 95 % of what other
test examples and other seeds give; with one seed, whose spread is not known, of what other test examples give."""


def rows(run: Measurements) -> pl.DataFrame:
    return gathered(TABLE, run.analyses)
