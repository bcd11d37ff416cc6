"""Accuracy on probing shifts against that on extreme ones."""

from __future__ import annotations

import math
from typing import Any

import altair as alt
import polars as pl

from genies.evaluation.averages import DISTINCT
from genies.report.drawing import Figure, Figures, Kind, data_source, scales, sized, tip, words
from genies.report.subject import Subject

KIND = Kind("leaderboard", rank=1, panels=False)

HEIGHT = 420
NAME_HEIGHT = 13
"""Pixels of the figure, and of a name in it."""
X, Y = "generalization_accuracy", "generalization_accuracy_probing"


def draw(figures: Figures, subject: Subject) -> None:
    """Mean accuracy on probing shifts against that on extreme ones; where a run has both kinds."""
    both = _both_kinds(subject.tables["leaderboard"])
    if not len(both):
        return
    rows = [{**row, "size": subject.models.index(row["model"])} for row in both.iter_rows(named=True)]
    ends = [value for name in both.columns[2:] for value in both[name].drop_nulls()]
    domain = [math.floor(10 * min(ends)) / 10, math.ceil(10 * max(ends)) / 10]
    _name_last_models(rows, domain[1] - domain[0])
    figures.data["labels"] = rows
    figures.add(
        "labels",
        Figure(
            "figure-labels",
            "Extreme against probing shifts",
            "Dots with 95 % intervals for new shifts: mean accuracy of each intervention on extreme and on probing "
            "shifts.",
            _labels(subject.models, domain),
        ),
    )


def _both_kinds(leaderboard: pl.DataFrame) -> pl.DataFrame:
    """Mean accuracies of each model and intervention on both kinds of shifts, with their intervals."""
    distinct = leaderboard.filter(averaged_over=DISTINCT)
    keys = ["model", "intervention"]
    columns = [*keys, *(f"{X}{end}" for end in ("", "_low", "_high"))]
    extreme, probing = (distinct.filter(label=label).select(columns) for label in ("extreme", "probing"))
    return extreme.join(probing, on=keys, suffix="_probing", maintain_order="left")


def _labels(models: list[str], domain: list[float]) -> dict[str, Any]:
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
    names = (
        base.mark_text(align="left", dx=7, fontSize=NAME_HEIGHT - 2)
        .transform_filter("isValid(datum.name_at)")
        .encode(x=x, y=alt.Y("name_at:Q", **place), text=alt.Text("intervention:N"))
    )
    return sized([across, upright, through, marks, names], HEIGHT)


def _name_last_models(rows: list[dict[str, Any]], extent: float) -> None:
    """Add ``name_at`` to the row of each intervention's last model: how high its name stands, so that none overlap.

    Args:
        rows: of the figure's data, changed in place.
        extent: of both axes.
    """
    last = {row["intervention"]: row for row in sorted(rows, key=lambda row: row["size"])}
    height, width = extent * NAME_HEIGHT / HEIGHT, extent / 4
    placed: list[dict[str, Any]] = []
    for row in sorted((r for r in last.values() if None not in (r[X], r[Y])), key=lambda r: r[Y], reverse=True):
        near = [other["name_at"] for other in placed if abs(other[X] - row[X]) < width]
        row["name_at"] = min([row[Y] + height / 2, *(at - height for at in near)])
        placed.append(row)
