"""What figures are drawn of."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from genies.report.tables import Tables


@dataclass(frozen=True)
class Subject:
    """What figures are drawn of.

    Attributes:
        tables: of the run, and of those beside it.
        models: in the order of the tables.
        order: interventions, the best one first.
        overall: rows of the leaderboard over all distinct shifts.
    """

    tables: Tables
    models: list[str]
    order: list[str]
    overall: pl.DataFrame
