"""Radars of one intervention each: what several models reach around all shifts, inside what they could."""

from __future__ import annotations

from typing import Any

import altair as alt

from genies.report.drawing import Figure, Figures, Kind, layered, rows_of, scales
from genies.report.figures._radar import grid_layers, place_of, points, spokes_of, tooltip
from genies.report.subject import Subject

KIND = Kind(
    "categories",
    rank=3,
    heading="Models all around",
    text="The same spokes, a radar per intervention: the line and the filled shape of each model, with 95 % intervals "
    "along the spokes.",
)

SIDE = 280
"""Pixels of a radar's width and height."""


def draw(figures: Figures, subject: Subject) -> None:
    """One radar per intervention, a line per model; none for a single model, whose lines are in one radar already."""
    spokes = spokes_of(subject.tables.metrics)
    if not spokes.make_a_radar or len({row["model"] for row in spokes.rows}) < 2:
        return
    figures.data["radars-of-models"] = []
    known = [name for name in subject.order if any(row["intervention"] == name for row in spokes.rows)]
    for index, intervention in enumerate(known):
        own = [row for row in spokes.rows if row["intervention"] == intervention]
        figures.data["radars-of-models"] += [
            {**point, "index": index} for row in own for point in points(row, len(spokes.names))
        ]
        figures.add(
            "radars_by_intervention",
            Figure(
                f"figure-radar-of-models-{index}",
                intervention,
                "A radar with a spoke per shift or category: accuracy as a line per model, capability as a filled "
                "shape.",
                _radar(index, subject.models),
            ),
        )


def _radar(index: int, models: list[str]) -> dict[str, Any]:
    under, numbers = grid_layers()
    colors, shapes = scales(models)
    plain = rows_of("radars-of-models", index)
    base = plain.encode(color=alt.Color("model:N", scale=colors, legend=None))
    by_model = {"detail": alt.Detail("model:N"), "order": alt.Order("number:Q")}
    shape = plain.mark_line(filled=True, fillOpacity=0.12, strokeWidth=0).encode(
        **place_of("capability"), **by_model, fill=alt.Fill("model:N", scale=colors, legend=None)
    )
    line = base.mark_line(strokeWidth=1.5).encode(**place_of("accuracy"), **by_model)
    whiskers = base.mark_rule(opacity=0.6).encode(**place_of("low"), x2=alt.X2("high_x"), y2=alt.Y2("high_y"))
    dots = base.mark_point(filled=True, size=40, opacity=1).encode(
        **place_of("accuracy"), shape=alt.Shape("model:N", scale=shapes, legend=None), tooltip=tooltip("model")
    )
    return layered([*under, shape, whiskers, line, dots, numbers], SIDE, SIDE)
