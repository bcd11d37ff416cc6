"""Accuracy of every source on every target."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from genies.report.drawing import (
    ACCURACY_STEPS,
    Figure,
    Figures,
    Kind,
    data_source,
    interval_tips,
    tip,
    words,
)
from genies.report.figures._cells import matrix
from genies.report.subject import Subject

KIND = Kind(
    "shifts",
    rank=1,
    heading="Every source on every target",
    panels=False,
    scrolls=True,
    text="Not the shifts alone: each intervention that reads stored features, fitted on each source (rows) and "
    "tested on each target (columns).",
)


def draw(figures: Figures, subject: Subject) -> None:
    """Accuracy of every source and target, a figure per model and intervention that was tested on all of them."""
    cells, shifts = subject.tables["cells"], subject.tables.metrics.select("source", "target").unique()
    for index, ((model, intervention), own) in enumerate(cells.group_by("model", "intervention", maintain_order=True)):
        sources, targets = (sorted(own[name].unique()) for name in ("source", "target"))
        # Without the full matrix there are the shifts, and each source on itself.
        if len(own) < len(sources) * len(targets) or len(own) <= len(shifts) + len(sources):
            continue
        columns = ("source", "target", "accuracy", "low", "high", "test_pairs")
        figures.data[f"matrix-{index}"] = own.select(columns).with_columns(pl.selectors.float().round(4)).to_dicts()
        figures.add(
            "matrices",
            Figure(
                f"figure-matrix-{index}",
                f"{intervention}, {model}",
                "A row per source, a column per target; colour and number are the accuracy.",
                *_matrix(index, sources, targets),
            ),
        )


def _matrix(index: int, sources: list[str], targets: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    pairs = alt.Tooltip("test_pairs:Q", title="test pairs")
    tooltip = [*words("source", "target"), tip("accuracy"), *interval_tips(), pairs]
    base = alt.Chart(data_source(f"matrix-{index}"))
    return matrix(base, "target", targets, sources, "accuracy", ACCURACY_STEPS, tooltip)
