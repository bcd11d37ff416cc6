"""Mean accuracy by model size."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from genies.evaluation.averages import ALL_LABELS, DISTINCT
from genies.report.drawing import Figure, Figures, Kind, interval_tips, rows_of, sized, tip
from genies.report.sizes import UNITS, family, parameters
from genies.report.subject import Subject

KIND = Kind(
    "leaderboard",
    rank=2,
    heading="By model size",
    text="Mean accuracy of each intervention on extreme shifts (circles, solid lines) and on probing ones "
    "(squares, dashed lines), with 95 % intervals for new shifts, by the number of parameters that a "
    "model's name states. Lines join models whose names differ in that alone. Where shifts have other labels, the mean "
    "is over all of them.",
)

LABELS = ("extreme", "probing")
HEIGHT = 170


def draw(figures: Figures, subject: Subject) -> None:
    """Mean accuracy by size, a figure per intervention that models of different sizes were run with."""
    sizes = {model: size for model in subject.models if (size := parameters(model))}
    columns = ["model", "intervention", "label", *(f"generalization_accuracy{end}" for end in ("", "_low", "_high"))]
    means = subject.tables["leaderboard"].filter(pl.col("model").is_in(list(sizes)), averaged_over=DISTINCT)
    labels = [label for label in LABELS if label in set(means["label"])] or [ALL_LABELS]
    means = means.filter(pl.col("label").is_in(labels))
    figures.data["sizes"] = []
    for index, intervention in enumerate(subject.order):
        rows = means.filter(intervention=intervention).select(columns).to_dicts()
        if len({sizes[row["model"]] for row in rows}) < 2:
            continue
        # Only models of one family, of names that differ in the size alone, are joined by a line.
        figures.data["sizes"] += [
            {**row, "index": index, "size": sizes[row["model"]], "family": family(row["model"])} for row in rows
        ]
        figures.add(
            "sizes",
            Figure(
                f"figure-size-{index}",
                intervention,
                f"Mean accuracy with 95 % intervals for new shifts, by model size: {' and '.join(labels)} shifts.",
                _by_size(index, sorted({sizes[row["model"]] for row in rows}), labels),
            ),
        )


def _by_size(index: int, sizes: list[int], labels: list[str]) -> dict[str, Any]:
    def by_label(channel: type, values: list[Any]) -> Any:
        return channel("label:N", scale=alt.Scale(domain=labels, range=values[: len(labels)]), legend=None)

    axis = alt.Axis(values=sizes, labelExpr="labels[datum.value]", grid=False, labelOverlap=True)
    span = alt.Scale(type="log", domain=[sizes[0] / 1.2, sizes[-1] * 1.2], nice=False)
    x = alt.X("size:Q", title="parameters", scale=span, axis=axis)
    up = {"scale": alt.Scale(domain=[0, 1]), "axis": alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format=".4~f", grid=True)}
    y = alt.Y("generalization_accuracy:Q", title="mean accuracy", **up)
    base = rows_of("sizes", index).encode(x=x, color=by_label(alt.Color, ["var(--model-1)", "var(--model-0)"]))
    lines = base.mark_line(strokeWidth=1.5).encode(
        y=y, strokeDash=by_label(alt.StrokeDash, [[1, 0], [5, 3]]), detail=alt.Detail("family:N")
    )
    intervals = base.mark_rule(opacity=0.6, strokeWidth=1.5, clip=True).encode(
        y=alt.Y("generalization_accuracy_low:Q", **up), y2=alt.Y2("generalization_accuracy_high:Q")
    )
    dots = base.mark_point(filled=True, size=50, opacity=1).encode(
        y=y,
        shape=by_label(alt.Shape, ["circle", "square"]),
        tooltip=[
            alt.Tooltip("model:N"),
            alt.Tooltip("label:N", title="shifts"),
            tip("generalization_accuracy", "mean accuracy"),
            *interval_tips("generalization_accuracy"),
        ],
    )
    names = {str(size): _shown(size) for size in sizes}
    return sized([lines, intervals, dots], HEIGHT, params=[alt.param(name="labels", value=names)])


def _shown(size: int) -> str:
    unit = next(unit for unit in ("t", "b", "m", "k", "") if size >= UNITS.get(unit, 1))
    return f"{size / UNITS.get(unit, 1):.3g}{unit.upper()}"
