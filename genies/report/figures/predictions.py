"""Accuracies predicted without target labels against those that were reached."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from genies.evaluation.prediction_worth import chosen
from genies.report.drawing import (
    Figure,
    Figures,
    Kind,
    data_source,
    rows_of,
    scales,
    sized,
    tip,
    words,
)
from genies.report.predicted import NAMES
from genies.report.subject import Subject

KIND = Kind("predictions", rank=0)
SIDE = 420


def draw(figures: Figures, subject: Subject) -> None:
    """A dot per cell with its 90 % interval, a figure per model; none where no cell has a prediction."""
    table = subject.tables["predictions"].drop_nulls(["predicted", "accuracy"])
    figures.data["predictions"], figures.data["predictions-exact"] = [], [{"from": 0, "to": 1}]
    for index, model in enumerate(table["model"].unique(maintain_order=True)):
        errors = subject.tables["prediction_errors"].filter(pl.col("intervention").is_null(), model=model)
        own = table.filter(model=model)
        predictor = chosen(errors.to_dicts()) or own["predictor"][0]
        own = own.filter(predictor=predictor)
        methods = [name for name in subject.order if name in set(own["intervention"])]
        rows = own.filter(own["intervention"].is_in(methods)).to_dicts()
        figures.data["predictions"] += [{**_shown(row), "index": index} for row in rows]
        figures.keys["predictions"] = list(dict.fromkeys([*figures.keys.get("predictions", []), *methods]))
        figures.add(
            "predictions",
            Figure(
                f"figure-predictions-{index}",
                str(model),
                "A dot per method and shift: the accuracy predicted without labels of the target (across), by "
                f"{NAMES.get(predictor, predictor)}, and the accuracy reached (up). On the slanted line they are "
                "equal. Lines are the intervals.",
                _layers(index, figures.keys["predictions"]),
            ),
        )


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    names = ("intervention", "accuracy", "predicted", "predicted_low", "predicted_high")
    trivial = ("mean_elsewhere", "source_accuracy")
    return {"shift": f"{row['source']} → {row['target']}", **{name: row[name] for name in (*names, *trivial)}}


def _layers(index: int, methods: list[str]) -> dict[str, Any]:
    scale = alt.Scale(domain=[0, 1])
    axis = {"scale": scale, "axis": alt.Axis(format=".4~f", values=[0, 0.25, 0.5, 0.75, 1], grid=True)}
    colors, shapes = scales(methods)
    exact = (
        alt.Chart(data_source("predictions-exact"))
        .mark_rule(color="var(--soft)", strokeDash=[4, 3])
        .encode(x=alt.X("from:Q", **axis), y=alt.Y("from:Q", **axis), x2=alt.X2("to:Q"), y2=alt.Y2("to:Q"))
    )
    base = rows_of("predictions", index).encode(
        y=alt.Y("accuracy:Q", title="accuracy reached", **axis),
        color=alt.Color("intervention:N", scale=colors, legend=None),
        tooltip=[
            *words("shift", "intervention"),
            tip("accuracy", "reached"),
            tip("predicted"),
            tip("predicted_low", "interval from"),
            tip("predicted_high", "interval to"),
            tip("mean_elsewhere", "mean on other shifts"),
            tip("source_accuracy", "accuracy on the source"),
        ],
    )
    intervals = base.mark_rule(opacity=0.12).encode(
        x=alt.X("predicted_low:Q", title="accuracy predicted", **axis), x2=alt.X2("predicted_high:Q")
    )
    dots = base.mark_point(filled=True, size=36, opacity=1).encode(
        x=alt.X("predicted:Q", **axis), shape=alt.Shape("intervention:N", scale=shapes, legend=None)
    )
    return sized([exact, intervals, dots], SIDE)
