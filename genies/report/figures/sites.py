"""The layers that probes read."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from genies.report.drawing import Figure, Figures, Kind, rows_of, sized, tip
from genies.report.subject import Subject

KIND = Kind("sites", rank=0)


def draw(figures: Figures, subject: Subject) -> None:
    """How many sites of each layer the fits on each source chose, a figure per model and intervention."""
    figures.data["sites"] = []
    keys = ["model", "intervention", "source", "layer"]
    chosen = subject.tables["sites"].group_by(keys, maintain_order=True)
    counted = chosen.agg(pl.len().alias("chosen"), pl.col("accuracy").max())
    by_figure = counted.group_by("model", "intervention", maintain_order=True)
    for index, ((model, intervention), rows) in enumerate(by_figure):
        figures.data["sites"] += [{**row, "index": index} for row in rows.iter_rows(named=True)]
        figures.add(
            "sites",
            Figure(
                f"figure-sites-{index}",
                f"{intervention}, {model}",
                "A row per source, a column per layer; the number is how many sites of the layer the fit chose.",
                _layers(index, sorted(rows["source"].unique()), max(rows["layer"])),
            ),
        )


def _layers(index: int, sources: list[str], last: int) -> dict[str, Any]:
    across = alt.Axis(labelAngle=0, labelOverlap="greedy")
    base = rows_of("sites", index).encode(
        x=alt.X("layer:O", scale=alt.Scale(domain=list(range(last + 1))), axis=across),
        y=alt.Y("source:N", sort=None, scale=alt.Scale(domain=sources), title=None, axis=alt.Axis(labelLimit=150)),
        tooltip=[
            alt.Tooltip("source:N"),
            alt.Tooltip("layer:O"),
            alt.Tooltip("chosen:Q", title="sites chosen"),
            tip("accuracy", "best on validation pairs"),
        ],
    )
    depth = alt.Opacity("chosen:Q", scale=alt.Scale(range=[0.25, 0.75]), legend=None)
    cells = base.mark_rect(color="var(--model-0)").encode(opacity=depth)
    numbers = base.mark_text(fontSize=11, color="var(--ink)").encode(text=alt.Text("chosen:Q"))
    return sized([cells, numbers], 20 * len(sources))
