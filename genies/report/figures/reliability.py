"""Accuracy by confidence."""

from __future__ import annotations

from typing import Any

import altair as alt

from genies.report.drawing import Figure, Figures, Kind, interval_tips, rows_of, scales, sized, tip
from genies.report.subject import Subject

KIND = Kind("calibration", rank=0)


def draw(figures: Figures, subject: Subject) -> None:
    """Accuracy by confidence, one figure per intervention, in it a line per model."""
    reliability = subject.tables["reliability"]
    figures.data["reliability"] = []
    known = [name for name in subject.order if len(reliability.filter(intervention=name))]
    for index, intervention in enumerate(known):
        rows = reliability.filter(intervention=intervention)
        figures.data["reliability"] += [{**row, "index": index} for row in rows.iter_rows(named=True)]
        figures.add(
            "reliability",
            Figure(
                f"figure-reliability-{index}",
                intervention,
                "Dots with 95 % intervals: how often it is right, by how sure it is; the dashed line is calibration.",
                _reliability(index, subject.models),
            ),
        )


def _reliability(index: int, models: list[str]) -> dict[str, Any]:
    colors, shapes = scales(models)
    scale = alt.Scale(domain=[0.5, 1])
    base = rows_of("reliability", index).encode(
        x=alt.X("confidence:Q", scale=scale, axis=alt.Axis(values=[0.5, 0.75, 1], format=".4~f", grid=False)),
        color=alt.Color("model:N", scale=colors, legend=None),
        tooltip=[
            alt.Tooltip("model:N"),
            tip("confidence", "mean confidence"),
            tip("accuracy"),
            *interval_tips(),
            alt.Tooltip("pairs:Q"),
        ],
    )
    y = {"scale": alt.Scale(domain=[0, 1]), "axis": alt.Axis(values=[0, 0.5, 1], format=".4~f", grid=True)}
    intervals = base.mark_rule().encode(y=alt.Y("low:Q", title="accuracy", **y), y2=alt.Y2("high:Q"))
    marks = base.mark_point(filled=True, size=50, opacity=1).encode(
        y=alt.Y("accuracy:Q", **y), shape=alt.Shape("model:N", scale=shapes, legend=None)
    )
    ends = [{"confidence": 0.5, "accuracy": 0.5}, {"confidence": 1, "accuracy": 1}]
    diagonal = (
        alt.Chart(alt.InlineData(values=ends))
        .mark_line(strokeDash=[4, 3], color="var(--soft)", strokeWidth=1)
        .encode(x=alt.X("confidence:Q", scale=scale), y=alt.Y("accuracy:Q", **y))
    )
    return sized([diagonal, intervals, marks], 150)
