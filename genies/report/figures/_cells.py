"""Coloured cells with a number in each, under names along the top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from genies.report.drawing import colored_cells, sized

CELL = 26
"""Pixels of a column on narrow screens, where a matrix scrolls."""
MOST_NUMBERS = 24
"""Columns beyond which numbers would overlap."""


def of_shifts(base: alt.Chart, across: str, columns: list[str], shifts: list[str], tooltip: list) -> alt.Chart:
    """Places of cells with a row per shift.

    Args:
        base: with the field ``shift``.
        across: the field of the columns.
        columns: its values, from left to right.
        shifts: from top to bottom.
        tooltip: what pointing at a cell shows.
    """
    return _placed(base, across, columns, 180, tooltip, _y("shift", shifts, alt.Axis(labelLimit=330)))


def matrix(
    base: alt.Chart, across: str, columns: list[str], sources: list[str], value: str, steps: Sequence[float],
    tooltip: list,
) -> tuple[dict[str, Any], dict[str, Any]]:  # fmt: skip
    """A row per source: as it is drawn, and as on narrow screens, where it scrolls.

    Args:
        base: with the field ``source``.
        across: the field of the columns.
        columns: its values, from left to right.
        sources: from top to bottom.
        value: the field that colour and number show.
        steps: edges of the colours.
        tooltip: what pointing at a cell shows.
    """
    down = _y("source", sources, alt.Axis(domain=False, ticks=False, labelLimit=160))
    placed = _placed(base, across, columns, 110, tooltip, down)
    layers = colored_cells(placed, value, steps, numbers=len(columns) <= MOST_NUMBERS)
    wide = sized(layers, 20 * len(sources) + 10, independent=["color"])
    return wide, wide | {"width": CELL * len(columns)}


def _placed(base: alt.Chart, across: str, columns: list[str], longest: int, tooltip: list, y: alt.Y) -> alt.Chart:
    axis = alt.Axis(orient="top", labelAngle=-40, labelAlign="left", domain=False, ticks=False, labelLimit=longest)
    x = alt.X(f"{across}:N", sort=None, scale=alt.Scale(domain=columns), axis=axis, title=None)
    return base.encode(x=x, y=y, tooltip=tooltip)


def _y(field: str, names: list[str], axis: alt.Axis) -> alt.Y:
    return alt.Y(f"{field}:N", sort=None, scale=alt.Scale(domain=names), title=None, axis=axis)
