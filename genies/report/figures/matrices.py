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
    colored_cells,
    data_source,
    interval_tips,
    sized,
    tip,
    words,
)
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

CELL = 26
"""Pixels of a column on narrow screens, where the matrix scrolls."""
MOST_NUMBERS = 24
"""Columns beyond which numbers would overlap."""


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
        wide = _matrix(index, sources, targets)
        figures.add(
            "matrices",
            Figure(
                f"figure-matrix-{index}",
                f"{intervention}, {model}",
                "A row per source, a column per target; colour and number are the accuracy.",
                wide,
                wide | {"width": CELL * len(targets)},
            ),
        )


def _matrix(index: int, sources: list[str], targets: list[str]) -> dict[str, Any]:
    across = alt.Axis(orient="top", labelAngle=-40, labelAlign="left", domain=False, ticks=False, labelLimit=110)
    down = alt.Axis(domain=False, ticks=False, labelLimit=160)
    base = alt.Chart(data_source(f"matrix-{index}")).encode(
        x=alt.X("target:N", sort=None, scale=alt.Scale(domain=targets), axis=across, title=None),
        y=alt.Y("source:N", sort=None, scale=alt.Scale(domain=sources), title=None, axis=down),
        tooltip=[
            *words("source", "target"),
            tip("accuracy"),
            *interval_tips(),
            alt.Tooltip("test_pairs:Q", title="test pairs"),
        ],
    )
    layers = colored_cells(base, "accuracy", ACCURACY_STEPS, numbers=len(targets) <= MOST_NUMBERS)
    return sized(layers, 20 * len(sources) + 10, independent=["color"])
