"""The attention heads that probes read."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from genies.report.drawing import Figure, Figures, Kind, rows_of, sized, tip
from genies.report.subject import Subject

KIND = Kind(
    "sites",
    rank=1,
    heading="Attention heads",
    text="Heads that probes chose, a row per layer, a column per head: the darker, the more sources chose it.",
)


def draw(figures: Figures, subject: Subject) -> None:
    """How many sources chose each attention head, a figure per model and intervention that chooses heads."""
    figures.data["heads"] = []
    chosen = subject.tables["sites"].filter(pl.col("head").is_not_null())
    by_figure = chosen.group_by("model", "intervention", maintain_order=True)
    for index, ((model, intervention), rows) in enumerate(by_figure):
        counted = rows.group_by("layer", "head").agg(pl.col("source").n_unique().alias("sources"), pl.max("accuracy"))
        figures.data["heads"] += counted.sort("layer", "head").with_columns(index=pl.lit(index)).to_dicts()
        figures.add(
            "heads",
            Figure(
                f"figure-heads-{index}",
                f"{intervention}, {model}",
                "A row per layer, a column per attention head; the darker, the more sources chose the head.",
                _grid(index, max(rows["layer"]), max(rows["head"]), rows["source"].n_unique()),
            ),
        )


def _grid(index: int, last_layer: int, last_head: int, sources: int) -> dict[str, Any]:
    heads, layers = list(range(last_head + 1)), list(range(last_layer, -1, -1))
    small = {"labelOverlap": True, "labelFontSize": 10}
    cells = (
        rows_of("heads", index)
        .mark_rect(color="var(--model-0)")
        .encode(
            x=alt.X("head:O", scale=alt.Scale(domain=heads, paddingInner=0.06), axis=alt.Axis(labelAngle=0, **small)),
            y=alt.Y("layer:O", scale=alt.Scale(domain=layers, paddingInner=0.06), axis=alt.Axis(**small)),
            opacity=alt.Opacity("sources:Q", scale=alt.Scale(domain=[0, sources], range=[0.15, 1]), legend=None),
            tooltip=[
                alt.Tooltip("layer:O"),
                alt.Tooltip("head:O"),
                alt.Tooltip("sources:Q", title=f"sources of {sources}"),
                tip("accuracy", "best on validation pairs"),
            ],
        )
    )
    return sized([cells], max(40, 11 * len(layers)))
