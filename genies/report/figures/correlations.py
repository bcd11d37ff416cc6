"""How alike models generalize."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from genies.evaluation.tables.correlations import correlations
from genies.report.drawing import (
    CORRELATION_STEPS,
    Figure,
    Figures,
    Kind,
    colored_cells,
    interval_tips,
    rows_of,
    sized,
    tip,
)
from genies.report.subject import Subject

KIND = Kind(
    "correlations",
    rank=0,
    text="Between models, a figure per intervention: blue where they gain and lose on the same shifts, orange "
    "where on opposite ones.",
)


def draw(figures: Figures, subject: Subject) -> None:
    """How alike every two models generalize, a figure per intervention; none for a single model."""
    models = subject.models
    between = correlations(subject.tables.metrics).filter(pl.col("of").is_in(models), pl.col("with").is_in(models))
    figures.data["correlations"] = []
    for index, intervention in enumerate(subject.order):
        rows = between.filter(intervention=intervention).drop("intervention").to_dicts()
        if not rows:
            continue
        mirrored = [{**row, "of": row["with"], "with": row["of"]} for row in rows]
        figures.data["correlations"] += [{**row, "index": index} for row in (*rows, *mirrored)]
        known = {row["of"] for row in (*rows, *mirrored)}
        figures.add(
            "correlations",
            Figure(
                f"figure-correlation-{index}",
                intervention,
                "A row and a column per model; colour and number are the correlation of their accuracies over shifts.",
                _correlation(index, [model for model in models if model in known]),
            ),
        )


def _correlation(index: int, models: list[str]) -> dict[str, Any]:
    scale = alt.Scale(domain=models, paddingInner=0.04)
    plain = {"domain": False, "ticks": False, "labelLimit": 110}
    base = rows_of("correlations", index).encode(
        x=alt.X("with:N", sort=None, scale=scale, axis=alt.Axis(labelAngle=-40, **plain), title=None),
        y=alt.Y("of:N", sort=None, scale=scale, axis=alt.Axis(**plain), title=None),
        tooltip=[
            alt.Tooltip("of:N", title="model"),
            alt.Tooltip("with:N", title="with"),
            tip("r"),
            *interval_tips(),
            alt.Tooltip("shifts:Q"),
        ],
    )
    layers = colored_cells(base, "r", CORRELATION_STEPS)
    return sized(layers, 26 * len(models), independent=["color"])
