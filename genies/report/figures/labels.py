"""Accuracy on probing shifts against that on extreme ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import altair as alt
import polars as pl

from genies.evaluation.averages import DISTINCT
from genies.report.drawing import Figure, Figures, Kind, data_source, scales, sized, tip, words
from genies.report.subject import Subject

KIND = Kind("leaderboard", rank=1, panels=False)

HEIGHT = 420
NAME_HEIGHT = 13
LETTER = 6.5
"""Pixels of the figure, of a name in it, and of a letter across at most."""
AWAY = 7
"""Pixels between a dot and its name."""
WIDE, NARROW = (560, 640, 720, 840, 960, 1100), (270, 300, 330, 380, 440, 520)
"""Pixels that the figure may be across on wide screens, and on narrow ones."""
SHIFTED = (0, -0.5, 0.5, -0.9, 0.9)
"""How far below its dot a name may be, in its heights; the first of these that has room."""
X, Y = "generalization_accuracy", "generalization_accuracy_probing"


def draw(figures: Figures, subject: Subject) -> None:
    """Mean accuracy on probing shifts against that on extreme ones; where a run has both kinds."""
    both = _both_kinds(subject.tables["leaderboard"])
    if not len(both):
        return
    rows = [{**row, "size": subject.models.index(row["model"])} for row in both.iter_rows(named=True)]
    ends = [value for name in both.columns[2:] for value in both[name].drop_nulls()]
    domain = [math.floor(10 * min(ends)) / 10, math.ceil(10 * max(ends)) / 10]
    for names, widths in (("wide", WIDE), ("narrow", NARROW)):
        _name_last_models(rows, domain, names, widths)
    figures.data["labels"] = rows
    figures.add(
        "labels",
        Figure(
            "figure-labels",
            "Extreme against probing shifts",
            "Dots with 95 % intervals for new shifts: mean accuracy of each intervention on extreme and on probing "
            "shifts. A dot has its name where there is room for one; pointing at it shows it.",
            _labels(subject.models, domain, "wide"),
            _labels(subject.models, domain, "narrow"),
        ),
    )


def _both_kinds(leaderboard: pl.DataFrame) -> pl.DataFrame:
    """Mean accuracies of each model and intervention on both kinds of shifts, with their intervals."""
    distinct = leaderboard.filter(averaged_over=DISTINCT)
    keys = ["model", "intervention"]
    columns = [*keys, *(f"{X}{end}" for end in ("", "_low", "_high"))]
    extreme, probing = (distinct.filter(label=label).select(columns) for label in ("extreme", "probing"))
    return extreme.join(probing, on=keys, suffix="_probing", maintain_order="left")


def _labels(models: list[str], domain: list[float], names: str) -> dict[str, Any]:
    colors, shapes = scales(models)
    place = {"scale": alt.Scale(domain=domain), "axis": alt.Axis(format=".4~f", grid=True, tickCount=6)}
    data = alt.Chart(data_source("labels"))
    base = data.encode(
        color=alt.Color("model:N", scale=colors, legend=None),
        tooltip=[*words("model", "intervention"), tip(X, "extreme"), tip(Y, "probing")],
    )
    x = alt.X(f"{X}:Q", title="mean accuracy, extreme shifts", **place)
    y = alt.Y(f"{Y}:Q", title="mean accuracy, probing shifts", **place)
    across = base.mark_rule(opacity=0.4).encode(x=alt.X(f"{X}_low:Q", title="", **place), x2=alt.X2(f"{X}_high:Q"), y=y)
    upright = base.mark_rule(opacity=0.4).encode(
        x=x, y=alt.Y(f"{X}_low_probing:Q", **place), y2=alt.Y2(f"{X}_high_probing:Q")
    )
    shape = alt.Shape("model:N", scale=shapes, legend=None)
    marks = base.mark_point(filled=True, size=70, opacity=1).encode(x=x, y=y, shape=shape)
    # With several models, a line from the first to the last of each intervention.
    through = data.mark_line(color="var(--soft)", strokeWidth=1, opacity=0.6).encode(
        x=x, y=y, detail=alt.Detail("intervention:N"), order=alt.Order("size:Q")
    )
    texts = [
        base.mark_text(align=align, dx=away, fontSize=NAME_HEIGHT - 2, baseline="middle")
        .transform_filter(f"isValid(datum.{names}_{side})")
        .encode(x=x, y=alt.Y(f"{names}_{side}:Q", **place), text=alt.Text("intervention:N"))
        for side, align, away in (("right", "left", AWAY), ("left", "right", -AWAY))
    ]
    return sized([across, upright, through, marks, *texts], HEIGHT)


@dataclass(frozen=True)
class _Name:
    """Where a name is, next to a dot: pixels from the left and the top, at one width of the figure.

    Attributes:
        dot: place of its dot.
        left, right: its ends.
        middle: its height.
    """

    dot: tuple[float, float]
    left: float
    right: float
    middle: float

    def distance(self, dot: tuple[float, float]) -> float:
        """From the name's box to a dot."""
        across = max(self.left - dot[0], dot[0] - self.right, 0.0)
        return math.hypot(across, max(abs(dot[1] - self.middle) - NAME_HEIGHT / 2, 0.0))

    def overlaps(self, other: _Name) -> bool:
        level = abs(self.middle - other.middle) < NAME_HEIGHT
        return level and self.left < other.right + LETTER and other.left < self.right + LETTER


def _name_last_models(rows: list[dict[str, Any]], domain: Sequence[float], names: str, widths: Sequence[int]) -> None:
    """Add ``<names>_left`` or ``_right`` to the row of each intervention's last model: the height of its name there.

    A name is only where, at each width, its own dot is the nearest to it, it lies within the figure and upon no other.

    Args:
        rows: of the figure's data, changed in place.
        domain: ends of both axes.
        names: ``wide`` or ``narrow``.
        widths: of the figure in pixels.
    """
    known = [row for row in rows if None not in (row[X], row[Y])]
    last = {row["intervention"]: row for row in sorted(known, key=lambda row: row["size"])}
    extent = domain[1] - domain[0]
    dots = {width: [_pixels(row, domain, width) for row in known] for width in widths}
    placed: dict[int, list[_Name]] = {width: [] for width in widths}
    for row in sorted(last.values(), key=lambda row: row[Y], reverse=True):
        own = known.index(row)
        for shift, side in product(SHIFTED, ("right", "left")):
            found = {width: _name(row["intervention"], dots[width][own], side, shift) for width in widths}
            if all(_fits(found[width], own, dots[width], placed[width], width) for width in widths):
                row[f"{names}_{side}"] = row[Y] - shift * NAME_HEIGHT * extent / HEIGHT
                for width in widths:
                    placed[width].append(found[width])
                break


def _pixels(row: dict[str, Any], domain: Sequence[float], width: int) -> tuple[float, float]:
    across, up = ((row[name] - domain[0]) / (domain[1] - domain[0]) for name in (X, Y))
    return across * width, (1 - up) * HEIGHT


def _name(text: str, dot: tuple[float, float], side: str, shift: float) -> _Name:
    length = LETTER * len(text)
    left = dot[0] + AWAY if side == "right" else dot[0] - AWAY - length
    return _Name(dot, left, left + length, dot[1] + shift * NAME_HEIGHT)


def _fits(name: _Name, own: int, dots: Sequence[tuple[float, float]], placed: Sequence[_Name], width: int) -> bool:
    others = [dot for number, dot in enumerate(dots) if number != own]
    within = name.left >= 0 and name.right <= width
    return (
        within
        and all(name.distance(name.dot) < name.distance(dot) for dot in others)
        and not any(name.overlaps(one) for one in placed)
    )
