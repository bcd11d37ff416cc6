"""The report's figures as Vega-Lite specifications, without their data: the page brings each table along once.

A module of this folder draws one kind of figure: ``draw(figures, subject)`` adds it to its place on the page.
"""

from __future__ import annotations

import polars as pl
from altair.utils.schemapi import debug_mode

from genies.evaluation.leaderboard import ALL_LABELS, DISTINCT
from genies.report.drawing import Figures
from genies.report.figures import (
    categories,
    correlations,
    heads,
    heatmaps,
    labels,
    leaderboard,
    matrices,
    radars,
    reliability,
    sites,
    sizes,
    training,
)
from genies.report.figures.subject import Subject
from genies.report.tables import Tables

KINDS = (
    leaderboard, labels, sizes, radars, heatmaps, matrices, categories, correlations, reliability, sites, heads,
    training,
)  # fmt: skip
"""In the order of the page."""


def draw(tables: Tables) -> Figures:
    """Every figure of the report, with models in the order of the tables."""
    overall = tables.leaderboard.filter((pl.col("label") == ALL_LABELS) & (pl.col("averaged_over") == DISTINCT))
    models = tables.metrics["model"].unique(maintain_order=True).to_list()
    subject = Subject(tables, models, overall["intervention"].unique(maintain_order=True).to_list(), overall)
    figures = Figures()
    # Altair would check each part of each figure against Vega-Lite's schema, which takes longer than all else here. The
    # tests check the figures.
    with debug_mode(False):
        for kind in KINDS:
            kind.draw(figures, subject)
    return figures
