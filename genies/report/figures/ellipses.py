"""Mean accuracy against mean capability, an ellipse per category of shifts."""

from __future__ import annotations

import math
from typing import Any

import altair as alt
import polars as pl

from genies.evaluation.averages import CAPABILITY
from genies.report.drawing import (
    MODEL,
    RANDOM_ACCURACY,
    Figure,
    Figures,
    Kind,
    dashes,
    group_name,
    interval_tips,
    rows_of,
    scales,
    sized,
    tip,
)
from genies.report.subject import Subject

KIND = Kind(
    "categories",
    rank=1,
    heading="Accuracy against capability",
    text="An ellipse per category of shifts. Its centre is mean capability (across) and mean accuracy (up), and "
    "its half-widths are their 95 % intervals. On the slanted line nothing is lost by the shift, and the further an "
    "ellipse lies below it, the less of what the model could do was elicited. The dotted line is guessing. Solid "
    "outlines are intervals for new shifts, dashed ones for the same shifts with new examples, where a category has "
    "too few shifts. An ellipse without width has a capability that counts as given; a dot without an ellipse has too "
    "few shifts for an interval.",
    by_model=True,
)

ACCURACY = "generalization_accuracy"
HEIGHT = 260
ROOM = 0.02
"""Between the axes and what is nearest to them."""
CORNERS = 48
"""Of the polygon that stands for an ellipse."""


def draw(figures: Figures, subject: Subject) -> None:
    """Accuracy against capability by category, a figure per intervention; none where no capability is known."""
    table = subject.tables["elicitation_by_category"].filter(pl.col(CAPABILITY).is_not_null())
    # What only guesses says nothing here.
    told = table.filter((pl.col(ACCURACY) != RANDOM_ACCURACY).any().over("model", "intervention"))
    if not len(told):
        return
    names = {place: group_name(*place) for place in told.select("label", "category").unique(maintain_order=True).rows()}
    categories = list(dict.fromkeys(names.values()))
    figures.data["ellipses"] = []
    figures.keys["ellipses"] = categories
    spans = (_span(told, CAPABILITY), _span(told, ACCURACY))
    for index, intervention in enumerate(name for name in subject.order if name in set(told["intervention"])):
        own = told.filter(intervention=intervention)
        figures.data["ellipses"] += [
            {"index": index, "model": row["model"], "model_number": subject.models.index(row["model"])}
            | {"category": names[row["label"], row["category"]]}
            | {name: row[name] for name in ("shifts", "interval_over")}
            | _ends(row, CAPABILITY, "capability")
            | _ends(row, ACCURACY, "accuracy")
            for row in own.iter_rows(named=True)
        ]
        figures.add(
            "ellipses",
            Figure(
                f"figure-ellipses-{index}",
                intervention,
                "An ellipse per category of shifts: mean accuracy by mean capability, with their 95 % intervals.",
                _ellipses(index, categories, *spans),
            ),
        )


def _span(table: pl.DataFrame, name: str) -> list[float]:
    """Ends of an axis that all means and intervals of a metric lie within, in tenths and a little away."""
    values = pl.concat([table[f"{name}{end}"] for end in ("", "_low", "_high")], rechunk=True).drop_nulls()
    return [math.floor(10 * (min(values) - ROOM)) / 10, min(1.0, math.ceil(10 * (max(values) + ROOM)) / 10)]


def _ends(row: dict[str, Any], name: str, shown: str) -> dict[str, float | None]:
    """A mean with the ends of its interval, and with the half-widths of its ellipse to both sides."""
    mean, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    known = low is not None and high is not None
    return {
        shown: mean,
        f"{shown}_low": low,
        f"{shown}_high": high,
        f"{shown}_down": mean - low if known else 0.0,
        f"{shown}_up": high - mean if known else 0.0,
    }


def _ellipses(index: int, categories: list[str], across: list[float], up: list[float]) -> dict[str, Any]:
    colors, shapes = scales(categories)
    axis = alt.Axis(format=".4~f", tickCount=5, grid=True)
    x_scale, y_scale = alt.Scale(domain=across, nice=False), alt.Scale(domain=up, nice=False)
    x = {"title": "mean capability", "scale": x_scale, "axis": axis}
    y = {"title": "mean accuracy", "scale": y_scale, "axis": axis}
    shown = rows_of("ellipses", index).transform_filter(f"datum.model_number === {MODEL}")
    corners = shown.transform_calculate(corner=f"sequence(0, {CORNERS + 1})").transform_flatten(["corner"])
    for name, way in (("capability", "cos"), ("accuracy", "sin")):
        part = f"{way}(datum.corner * 2 * PI / {CORNERS})"
        width = f"({part} < 0 ? datum.{name}_down : datum.{name}_up)"
        corners = corners.transform_calculate(**{f"{name}_at": f"datum.{name} + {width} * {part}"})
    outlines = corners.mark_line(filled=True, fillOpacity=0.1, strokeWidth=1.5, clip=True).encode(
        x=alt.X("capability_at:Q", **x),
        y=alt.Y("accuracy_at:Q", **y),
        stroke=alt.Stroke("category:N", scale=colors, legend=None),
        fill=alt.Fill("category:N", scale=colors, legend=None),
        strokeDash=dashes("interval_over:N"),
        detail=alt.Detail("category:N"),
        order=alt.Order("corner:Q"),
    )
    centres = shown.mark_point(filled=True, size=45, opacity=1).encode(
        x=alt.X("capability:Q", **x),
        y=alt.Y("accuracy:Q", **y),
        color=alt.Color("category:N", scale=colors, legend=None),
        shape=alt.Shape("category:N", scale=shapes, legend=None),
        tooltip=_tooltip(),
    )
    layers = [*_lines(across, up, x, y), outlines, centres]
    return sized(layers, HEIGHT, params=[alt.param(name=MODEL, value=0)])


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("category:N", title="shifts"),
        alt.Tooltip("model:N"),
        tip("accuracy", "mean accuracy"),
        *interval_tips("accuracy"),
        tip("capability", "mean capability"),
        *interval_tips("capability"),
        alt.Tooltip("shifts:Q", title="number of shifts"),
        alt.Tooltip("interval_over:N", title="intervals for"),
    ]


def _lines(across: list[float], up: list[float], x: dict[str, Any], y: dict[str, Any]) -> list[alt.Chart]:
    """The diagonal, where accuracy is all of the capability, and the height of guessing."""
    low, high = max(across[0], up[0]), min(across[1], up[1])
    ends = [{"capability": value, "accuracy": value} for value in (low, high)]
    diagonal = alt.Chart(alt.InlineData(values=ends)).mark_line(color="var(--soft)", strokeWidth=1.5)
    lines = [diagonal.encode(x=alt.X("capability:Q", **x), y=alt.Y("accuracy:Q", **y))] if low < high else []
    if up[0] < RANDOM_ACCURACY < up[1]:
        guess = alt.Chart(alt.InlineData(values=[{"accuracy": RANDOM_ACCURACY}]))
        lines.append(guess.mark_rule(strokeDash=[2, 3], color="var(--soft)").encode(y=alt.Y("accuracy:Q", **y)))
    return lines
