"""What other test examples would change in a single shift."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from genies.evaluation.bootstrap import COLUMNS, intervals
from genies.evaluation.evaluations import PLACE
from genies.evaluation.table import Rows, Table

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

TABLE = Table(
    "intervals.csv",
    COLUMNS,
    rows=Rows(PLACE),
)
"""Columns of ``intervals.csv``: 95 % intervals over test examples of each row of the metrics; null where unknown. Those
of ``chance_adjusted_elicitation`` are Fieller's, and null where they have no end."""


def rows(run: Measurements) -> pl.DataFrame:
    return intervals(run.metrics, run.scores, run.seed, clean=run.clean)
