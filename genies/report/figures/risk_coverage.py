"""Accuracy on the pairs of which a method is sure, by the share of pairs that it decides."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from genies.evaluation.tables.risk_coverage import PERCENT
from genies.report.drawing import Figure, Figures, Kind, rows_of, scales, sized, tip
from genies.report.subject import Subject

KIND = Kind("scores", rank=1, heading="Accuracy by coverage", text="Means over shifts.")


def draw(figures: Figures, subject: Subject) -> None:
    """Accuracy by coverage, one figure per intervention, in it a line per model; means over shifts."""
    figures.data["risk_coverage"] = []
    shifts = subject.tables.metrics.select("source", "target").unique()
    table = subject.tables["risk_coverage"].join(shifts, on=["source", "target"], how="semi", maintain_order="left")
    columns = [pl.mean(f"accuracy_at_{percent}").alias(str(percent)) for percent in PERCENT.values()]
    means = table.group_by("intervention", "model", maintain_order=True).agg(*columns, pl.mean("area", "gain"))
    for index, intervention in enumerate(name for name in subject.order if name in set(means["intervention"])):
        for row in means.filter(intervention=intervention).iter_rows(named=True):
            figures.data["risk_coverage"] += [
                {
                    "model": row["model"],
                    "index": index,
                    "coverage": coverage,
                    "accuracy": row[str(percent)],
                    "area": row["area"],
                    "gain": row["gain"],
                }
                for coverage, percent in PERCENT.items()
            ]
        figures.add(
            "risk_coverage",
            Figure(
                f"figure-risk-coverage-{index}",
                intervention,
                "Lines with dots: accuracy on the surest pairs, by the share of pairs that is decided.",
                _layers(index, subject.models),
            ),
        )


def _layers(index: int, models: list[str]) -> dict[str, Any]:
    colors, shapes = scales(models)
    base = rows_of("risk_coverage", index).encode(
        x=alt.X(
            "coverage:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(values=[0, 0.5, 1], format=".4~f", grid=False)
        ),
        y=alt.Y(
            "accuracy:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(values=[0, 0.5, 1], format=".4~f", grid=True)
        ),
        color=alt.Color("model:N", scale=colors, legend=None),
        tooltip=[
            alt.Tooltip("model:N"),
            tip("coverage", "share of pairs decided"),
            tip("accuracy"),
            tip("area", "mean over all coverages"),
            tip("gain", "less the accuracy on all pairs"),
        ],
    )
    marks = base.mark_point(filled=True, size=40, opacity=1).encode(
        shape=alt.Shape("model:N", scale=shapes, legend=None)
    )
    return sized([base.mark_line(strokeWidth=2), marks], 150)
