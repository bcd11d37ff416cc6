"""Radars: what each intervention reaches around all shifts, inside what the model could."""

from __future__ import annotations

import math
from typing import Any

import altair as alt
import polars as pl

from genies.evaluation.averages import new_shifts, within_range
from genies.report.drawing import (
    RANDOM_ACCURACY,
    Figure,
    Figures,
    Kind,
    data_source,
    group_name,
    interval_tips,
    model_scales,
    tip,
)
from genies.report.subject import Subject

KIND = Kind(
    "categories",
    rank=1,
    heading="Against capability, all around",
    text="Each spoke is numbered as in the list below. The filled shape is capability, what the model reaches "
    "when fitted on the target's own kind of data; the line is what the intervention reaches from the "
    "source, with 95 % intervals along the spokes (of a category's mean only where it has two sources or "
    "more); the dashed ring is guessing. The space between line and shape was not elicited.",
)

MOST_SHIFTS = 16
"""With more shifts a spoke is a category."""
FEWEST_SPOKES = 3
SIDE = 280
"""Pixels of a radar's width and height."""
REACH = 1.18
"""Where the drawing ends; accuracy 1 is at radius 1, the spokes' numbers are beyond it."""


def draw(figures: Figures, subject: Subject) -> None:
    """One radar per intervention, a line per model; none where capability is not known everywhere."""
    rows, spokes = _spokes(subject.tables.metrics)
    if len(spokes) < FEWEST_SPOKES or not rows:
        return
    figures.spokes = spokes
    figures.data["radar"] = []
    figures.data["radar-grid"] = [
        {"radius": radius, "order": number, "x": x, "y": y}
        for radius in (0.25, 0.5, 0.75, 1)
        for number in range(len(spokes) + 1)
        for x, y in [_place(radius, number, len(spokes))]
    ]
    figures.data["radar-spokes"] = [
        {"name": str(number + 1), "x": x, "y": y, "text_x": 1.1 * x, "text_y": 1.1 * y}
        for number in range(len(spokes))
        for x, y in [_place(1, number, len(spokes))]
    ]
    known = [name for name in subject.order if any(row["intervention"] == name for row in rows)]
    for index, intervention in enumerate(known):
        own = [row for row in rows if row["intervention"] == intervention]
        figures.data["radar"] += [{**point, "index": index} for row in own for point in _points(row, len(spokes))]
        figures.add(
            "radars",
            Figure(
                f"figure-radar-{index}",
                intervention,
                "A radar with a spoke per shift or category: accuracy as a line, capability as a filled shape.",
                _radar(index, subject.models),
            ),
        )


def _spokes(metrics: pl.DataFrame) -> tuple[list[dict[str, Any]], list[str]]:
    """A row per model, intervention and spoke with accuracy, its interval and capability; and the spokes' names."""
    shifts = metrics.select("source", "target").unique(maintain_order=True).rows()
    of_shifts = len(shifts) <= MOST_SHIFTS
    keys = ["source", "target"] if of_shifts else ["label", "category"]
    places = shifts if of_shifts else metrics.select(keys).unique(maintain_order=True).rows()
    names = [" → ".join(place) if of_shifts else group_name(*place) for place in places]
    rows = []
    for (model, intervention), own in metrics.group_by("model", "intervention", maintain_order=True):
        if (own["generalization_accuracy"] == RANDOM_ACCURACY).all():
            continue  # the ring of guessing is there already
        # A shape with a missing corner would be another shape.
        if own["target_tuned_capability"].null_count() or own.select(keys).n_unique() < len(places):
            continue
        for place, group in own.group_by(keys, maintain_order=True):
            number = places.index(place)
            row = {"model": model, "intervention": intervention, "spoke": names[number], "number": number}
            rows.append(row | _mean(group))
    return sorted(rows, key=lambda row: row["number"]), names


def _mean(group: pl.DataFrame) -> dict[str, float | None]:
    accuracy = group["generalization_accuracy"]
    low, high = group["generalization_accuracy_low"][0], group["generalization_accuracy_high"][0]
    if len(group) > 1:
        name = "generalization_accuracy"
        low, high = within_range(name, new_shifts(group, name).interval()) or (None, None)
    return {
        "accuracy": accuracy.mean(),
        "low": low,
        "high": high,
        "capability": group["target_tuned_capability"].mean(),
    }


def _place(radius: float, number: int, spokes: int) -> tuple[float, float]:
    """Where ``radius`` lies on a spoke; the first points up, the others follow clockwise."""
    angle = 2 * math.pi * number / spokes
    return round(radius * math.sin(angle), 4), round(radius * math.cos(angle), 4)


def _points(row: dict[str, Any], spokes: int) -> list[dict[str, Any]]:
    """The row with its places; the first spoke's comes twice, so that the line closes."""
    placed = dict(row)
    for name in ("accuracy", "low", "high", "capability"):
        if row[name] is not None:
            placed[f"{name}_x"], placed[f"{name}_y"] = _place(row[name], row["number"], spokes)
    return [placed, {**placed, "number": spokes}] if row["number"] == 0 else [placed]


def _radar(index: int, models: list[str]) -> dict[str, Any]:
    scale = alt.Scale(domain=[-REACH, REACH], nice=False)

    def x(name: str) -> alt.X:
        return alt.X(f"{name}:Q", scale=scale, axis=None)

    def y(name: str) -> alt.Y:
        return alt.Y(f"{name}:Q", scale=scale, axis=None)

    colors, shapes = model_scales(models)
    grid = alt.Chart(data_source("radar-grid"))
    ring = {"x": x("x"), "y": y("y"), "detail": "radius:Q", "order": "order:Q"}
    rings = grid.mark_line(color="var(--rule)", strokeWidth=1).encode(**ring)
    half = grid.transform_filter(alt.FieldEqualPredicate(field="radius", equal=RANDOM_ACCURACY))
    guess = half.mark_line(color="var(--soft)", strokeDash=[4, 3], strokeWidth=1.5).encode(**ring)
    ends = alt.Chart(data_source("radar-spokes"))
    spokes = ends.mark_rule(color="var(--rule)").encode(x("x"), y("y"), x2=alt.datum(0), y2=alt.datum(0))
    numbers = ends.mark_text(fontSize=11, color="var(--soft)").encode(x("text_x"), y("text_y"), text="name:N")
    plain = alt.Chart(data_source("radar")).transform_filter(f"datum.index === {index}")
    base = plain.encode(color=alt.Color("model:N", scale=colors, legend=None))
    shape = plain.mark_line(filled=True, fillOpacity=0.12, strokeWidth=0).encode(
        x("capability_x"), y("capability_y"), fill=alt.Fill("model:N", scale=colors, legend=None), detail="model:N",
        order="number:Q",
    )  # fmt: skip
    line = base.mark_line(strokeWidth=1.5).encode(x("accuracy_x"), y("accuracy_y"), detail="model:N", order="number:Q")
    whiskers = base.mark_rule(opacity=0.6).encode(x("low_x"), y("low_y"), x2="high_x", y2="high_y")
    dots = base.mark_point(filled=True, size=40, opacity=1).encode(
        x("accuracy_x"),
        y("accuracy_y"),
        shape=alt.Shape("model:N", scale=shapes, legend=None),
        tooltip=[
            alt.Tooltip("spoke:N", title="shifts"),
            alt.Tooltip("model:N"),
            tip("accuracy"),
            *interval_tips(),
            tip("capability"),
        ],
    )
    chart = alt.layer(rings, spokes, guess, shape, whiskers, line, dots, numbers)
    return chart.properties(width=SIDE, height=SIDE).to_dict(validate=False)
