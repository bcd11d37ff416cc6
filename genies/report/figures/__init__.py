"""The report's figures as Vega-Lite specifications, without their data: the page brings each table along once.

A module of this folder draws one kind of figure and is found by itself: ``KIND`` says where on the page the figures
stand, and ``draw(figures, subject)`` adds them under the module's name.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import polars as pl
from altair.utils.schemapi import debug_mode

from genies.evaluation.averages import ALL_LABELS, DISTINCT
from genies.report.drawing import Figures
from genies.report.subject import Subject
from genies.report.tables import Tables

NAMES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py")))


def draw(tables: Tables) -> Figures:
    """Every figure of the report, with models in the order of the tables."""
    board = tables["leaderboard"]
    overall = board.filter((pl.col("label") == ALL_LABELS) & (pl.col("averaged_over") == DISTINCT))
    models = tables.metrics["model"].unique(maintain_order=True).to_list()
    subject = Subject(tables, models, overall["intervention"].unique(maintain_order=True).to_list(), overall)
    modules = {name: import_module(f"{__name__}.{name}") for name in NAMES}
    figures = Figures(models=models)
    # Altair would check each part of each figure against Vega-Lite's schema, which takes longer than all else here. The
    # tests check the figures.
    with debug_mode(False):
        for name, module in sorted(modules.items(), key=lambda item: (item[1].KIND.section, item[1].KIND.rank)):
            figures.kinds[name] = module.KIND
            module.draw(figures, subject)
    return figures
