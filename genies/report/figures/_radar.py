"""What radars have in common: spokes, rings, and where the corners of a shape lie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import altair as alt
import polars as pl

from genies.evaluation.averages import new_shifts, within_range
from genies.evaluation.uncertainty import supports_new_shifts
from genies.report.drawing import RANDOM_ACCURACY, Figures, data_source, group_name, interval_tips, tip

MOST_SHIFTS = 16
"""With more shifts a spoke is a category."""
FEWEST_SPOKES = 3
REACH = 1.18
"""Where the drawing ends; accuracy 1 is at radius 1, the spokes' numbers are beyond it."""


@dataclass(frozen=True)
class Spokes:
    """Spokes of a run's radars.

    Attributes:
        rows: one per model, intervention and spoke, with accuracy, its interval and capability.
        names: of the spokes.
    """

    rows: list[dict[str, Any]]
    names: list[str]

    @property
    def make_a_radar(self) -> bool:
        return len(self.names) >= FEWEST_SPOKES and bool(self.rows)


def spokes_of(metrics: pl.DataFrame) -> Spokes:
    """The spokes of the interventions that were run on all shifts with known capabilities, guessing apart."""
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
    return Spokes(sorted(rows, key=lambda row: row["number"]), names)


def _mean(group: pl.DataFrame) -> dict[str, float | None]:
    accuracy = group["generalization_accuracy"]
    low, high = group["generalization_accuracy_low"][0], group["generalization_accuracy_high"][0]
    if len(group) > 1:
        name = "generalization_accuracy"
        found = new_shifts(group, name)
        supported = supports_new_shifts(found.degrees_of_freedom)
        low, high = (within_range(name, found.interval()) if supported else None) or (None, None)
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


def points(row: dict[str, Any], spokes: int) -> list[dict[str, Any]]:
    """The row with its places; the first spoke's comes twice, so that the line closes."""
    placed = dict(row)
    for name in ("accuracy", "low", "high", "capability"):
        if row[name] is not None:
            placed[f"{name}_x"], placed[f"{name}_y"] = _place(row[name], row["number"], spokes)
    return [placed, {**placed, "number": spokes}] if row["number"] == 0 else [placed]


def add_grid(figures: Figures, names: list[str]) -> None:
    """Add the tables of rings and of spokes, which all radars share."""
    figures.spokes = names
    figures.data["radar-grid"] = [
        {"radius": radius, "order": number, "x": x, "y": y}
        for radius in (0.25, 0.5, 0.75, 1)
        for number in range(len(names) + 1)
        for x, y in [_place(radius, number, len(names))]
    ]
    figures.data["radar-spokes"] = [
        {"name": str(number + 1), "x": x, "y": y, "text_x": 1.1 * x, "text_y": 1.1 * y}
        for number in range(len(names))
        for x, y in [_place(1, number, len(names))]
    ]


def place_of(name: str) -> dict[str, Any]:
    """Both encodings of the place that ``points`` gives to ``name``; that of the grid without a name."""
    scale = alt.Scale(domain=[-REACH, REACH], nice=False)
    before = f"{name}_" if name else ""
    return {"x": alt.X(f"{before}x:Q", scale=scale, axis=None), "y": alt.Y(f"{before}y:Q", scale=scale, axis=None)}


def grid_layers() -> tuple[list[alt.Chart], alt.Chart]:
    """Rings, the dashed one of guessing and spokes, which lie under everything; and the spokes' numbers."""
    grid = alt.Chart(data_source("radar-grid"))
    ring = {**place_of(""), "detail": alt.Detail("radius:Q"), "order": alt.Order("order:Q")}
    rings = grid.mark_line(color="var(--rule)", strokeWidth=1).encode(**ring)
    half = grid.transform_filter(alt.FieldEqualPredicate(field="radius", equal=RANDOM_ACCURACY))
    guess = half.mark_line(color="var(--soft)", strokeDash=[4, 3], strokeWidth=1.5).encode(**ring)
    ends = alt.Chart(data_source("radar-spokes"))
    spokes = ends.mark_rule(color="var(--rule)").encode(**place_of(""), x2=alt.X2Datum(0), y2=alt.Y2Datum(0))
    numbers = ends.mark_text(fontSize=11, color="var(--soft)").encode(**place_of("text"), text=alt.Text("name:N"))
    return [rings, spokes, guess], numbers


def tooltip(*texts: str) -> list[alt.Tooltip]:
    """What a corner tells when pointed at, of it and of some more fields that hold texts."""
    named = [alt.Tooltip(f"{name}:N") for name in texts]
    return [alt.Tooltip("spoke:N", title="shifts"), *named, tip("accuracy"), *interval_tips(), tip("capability")]
