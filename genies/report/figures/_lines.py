"""Mean accuracy over shifts by something that is varied, a line per kind of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import altair as alt
import polars as pl

from genies.evaluation.uncertainty import clustered_mean, supports_new_shifts
from genies.report.drawing import (
    RANDOM_ACCURACY,
    Figure,
    Figures,
    interval_tips,
    rows_of,
    scales,
    sized,
    tip,
    words,
)


def mean_rows(kind: str, place: str, cells: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """The point of a line: the mean accuracy of some cells, with an interval where they say something of new shifts.

    Args:
        kind: what the line is called.
        place: where the point is.
        cells: with columns ``source`` and ``accuracy``; none give no point.
    """
    if len(cells):
        found = clustered_mean(cells["accuracy"].to_numpy(), cells["source"].to_numpy())
        supported = supports_new_shifts(found.degrees_of_freedom)
        low, high = (found.interval() if supported else None) or (None, None)
        yield {"kind": kind, "place": place, "accuracy": found.mean, "low": low, "high": high, "cells": len(cells)}


def panels(
    figures: Figures,
    table: pl.DataFrame,
    data: str,
    kinds: list[str],
    points: Callable[[pl.DataFrame], tuple[list[str], list[dict[str, Any]]]],
    varied: tuple[str, str],
) -> None:
    """Add a panel per probe and model of a table.

    Args:
        figures: what they are added to.
        table: with columns ``model`` and ``intervention``.
        data: the figures' name, and that of their rows.
        kinds: names of the lines.
        points: places of the points of a panel, from left to right, and their rows, from its rows of the table.
        varied: what is varied, as the caption and the axis below say it.
    """
    figures.data[data], figures.keys[data] = [], kinds
    caption = f"Lines with 95 % intervals: mean accuracy by {varied[0]}; the dashed line is guessing."
    for index, ((model, name), rows) in enumerate(table.group_by("model", "intervention", maintain_order=True)):
        places, drawn = points(rows)
        figures.data[data] += [{**row, "index": index} for row in drawn]
        panel = lines(data, index, kinds, places, varied[1])
        figures.add(data, Figure(f"figure-{data.replace('_', '-')}-{index}", f"{name}, {model}", caption, panel))


def lines(
    data: str, index: int, kinds: list[str], places: Sequence[str], title: str, joined: bool = True
) -> dict[str, Any]:
    """A panel with a line per kind and the intervals of its points.

    Args:
        data: the table of the rows.
        index: of the panel among them.
        kinds: names of the lines.
        places: of the points, from left to right.
        title: of the axis below.
        joined: whether a line joins the points, whose places then must have an order.
    """
    colors, shapes = scales(kinds)
    base = rows_of(data, index).encode(
        x=alt.X("place:O", sort=None, scale=alt.Scale(domain=list(places)), title=title, axis=alt.Axis(labelAngle=0)),
        color=alt.Color("kind:N", scale=colors, legend=None),
        tooltip=[*words("kind", "place"), tip("accuracy", "mean accuracy"), *interval_tips(), alt.Tooltip("cells:Q")],
    )
    y = {"scale": alt.Scale(domain=[0, 1]), "axis": alt.Axis(values=[0, 0.5, 1], format=".4~f", grid=True)}
    guessing = alt.Chart(alt.InlineData(values=[{"accuracy": RANDOM_ACCURACY}]))
    floor = guessing.mark_rule(strokeDash=[4, 3], color="var(--soft)").encode(y=alt.Y("accuracy:Q", **y))
    intervals = base.mark_rule(clip=True).encode(y=alt.Y("low:Q", title="mean accuracy", **y), y2=alt.Y2("high:Q"))
    drawn = base.mark_line(strokeWidth=1.5).encode(y=alt.Y("accuracy:Q", **y))
    marks = base.mark_point(filled=True, size=40, opacity=1).encode(
        y=alt.Y("accuracy:Q", **y), shape=alt.Shape("kind:N", scale=shapes, legend=None)
    )
    return sized([floor, intervals, *([drawn] if joined else []), marks], 170)
