"""The loss of trainings."""

from __future__ import annotations

import math
from typing import Any

import altair as alt

from genies.report.drawing import Figure, Figures, Kind, rows_of, sized, tip
from genies.report.subject import Subject

KIND = Kind("training", rank=0)


def draw(figures: Figures, subject: Subject) -> None:
    """Loss by step, one figure per model and trained intervention, in it a line per source."""
    figures.data["training"] = []
    by_figure = subject.tables["training"].group_by("model", "intervention", maintain_order=True)
    for index, ((model, intervention), rows) in enumerate(by_figure):
        steps = rows.select("source", "step", "loss")
        figures.data["training"] += [{**row, "index": index} for row in steps.iter_rows(named=True)]
        figures.add(
            "training",
            Figure(
                f"figure-training-{index}",
                f"{intervention}, {model}",
                "A line per source: mean loss of each optimizer step, and the loss of guessing.",
                _training(index),
            ),
        )


def _training(index: int) -> dict[str, Any]:
    lines = (
        rows_of("training", index)
        .mark_line(strokeWidth=1.5, opacity=0.6, color="var(--model-0)")
        .encode(
            x=alt.X("step:Q", axis=alt.Axis(grid=False, tickMinStep=1)),
            y=alt.Y("loss:Q", title="loss (nats per pair)", scale=alt.Scale(domainMin=0)),
            detail=alt.Detail("source:N"),
            tooltip=[alt.Tooltip("source:N"), alt.Tooltip("step:Q"), tip("loss")],
        )
    )
    guessing = alt.Chart(alt.InlineData(values=[{"loss": math.log(2)}]))
    floor = guessing.mark_rule(strokeDash=[4, 3], color="var(--soft)").encode(y=alt.Y("loss:Q"))
    return sized([floor, lines], 180)
