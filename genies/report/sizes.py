"""Sizes of models: their order on the page, and accuracy by size.

A model's size is what its name states, as in ``llama-7b`` or ``pythia-1.4b-deduped``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

from genies.evaluation.tables import DISTINCT
from genies.report.drawing import Figure, Figures, data_source, sized

_SIZE = re.compile(r"(?<![a-z0-9.])(?:(\d{1,3})x)?(\d{1,6}(?:\.\d{1,6})?)([kmbt])(?![a-z0-9])", re.IGNORECASE)
_UNITS = {"k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
LABELS = ("extreme", "probing")
HEIGHT = 170


def parameters(model: str) -> int | None:
    """How many parameters a model has by its name (``8x7b`` counts as 56 billion); None where that states no size."""
    found = _SIZE.search(model)
    if not found:
        return None
    experts, count, unit = found.groups()
    return round(int(experts or 1) * float(count) * _UNITS[unit.lower()]) or None


def by_size(models: Sequence[str]) -> list[str]:
    """The models from small to large; one whose size is unknown keeps its place in the list."""
    known = iter(sorted((model for model in models if parameters(model)), key=parameters))
    return [next(known) if parameters(model) else model for model in models]


def add_sizes(figures: Figures, leaderboard: pl.DataFrame, models: list[str], order: list[str]) -> None:
    """Mean accuracy by size, a figure per intervention that models of different sizes were run with."""
    sizes = {model: parameters(model) for model in models if parameters(model)}
    columns = ["model", "intervention", "label", *(f"generalization_accuracy{end}" for end in ("", "_low", "_high"))]
    means = leaderboard.filter(
        pl.col("label").is_in(LABELS), pl.col("model").is_in(list(sizes)), averaged_over=DISTINCT
    )
    figures.data["sizes"] = []
    for index, intervention in enumerate(order):
        rows = means.filter(intervention=intervention).select(columns).to_dicts()
        if len({sizes[row["model"]] for row in rows}) < 2:
            continue
        # Only models of one family, of names that differ in the size alone, are joined by a line.
        figures.data["sizes"] += [
            {**row, "index": index, "size": sizes[row["model"]], "family": _SIZE.sub("", row["model"], count=1)}
            for row in rows
        ]
        figures.sizes.append(
            Figure(
                f"figure-size-{index}",
                intervention,
                "Mean accuracy with 95 % intervals for new shifts, by model size: a line for extreme shifts, another "
                "for probing ones.",
                _by_size(index, sorted({sizes[row["model"]] for row in rows})),
            )
        )


def _by_size(index: int, sizes: list[int]) -> dict[str, Any]:
    def by_label(channel: type, values: list[Any]) -> Any:
        return channel("label:N", scale=alt.Scale(domain=list(LABELS), range=values), legend=None)

    axis = alt.Axis(values=sizes, labelExpr="labels[datum.value]", grid=False, labelOverlap=True)
    span = alt.Scale(type="log", domain=[sizes[0] / 1.2, sizes[-1] * 1.2], nice=False)
    x = alt.X("size:Q", title="parameters", scale=span, axis=axis)
    up = {"scale": alt.Scale(domain=[0, 1]), "axis": alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format=".4~f", grid=True)}
    y = alt.Y("generalization_accuracy:Q", title="mean accuracy", **up)
    base = (
        alt.Chart(data_source("sizes"))
        .transform_filter(f"datum.index === {index}")
        .encode(x=x, color=by_label(alt.Color, ["var(--model-1)", "var(--model-0)"]))
    )
    lines = base.mark_line(strokeWidth=1.5).encode(
        y=y, strokeDash=by_label(alt.StrokeDash, [[1, 0], [5, 3]]), detail="family:N"
    )
    intervals = base.mark_rule(opacity=0.6, strokeWidth=1.5, clip=True).encode(
        y=alt.Y("generalization_accuracy_low:Q", **up), y2="generalization_accuracy_high:Q"
    )
    dots = base.mark_point(filled=True, size=50, opacity=1).encode(
        y=y,
        shape=by_label(alt.Shape, ["circle", "square"]),
        tooltip=[
            alt.Tooltip("model:N"),
            alt.Tooltip("label:N", title="shifts"),
            alt.Tooltip("generalization_accuracy:Q", title="mean accuracy", format=".3f"),
            alt.Tooltip("generalization_accuracy_low:Q", title="95 % from", format=".3f"),
            alt.Tooltip("generalization_accuracy_high:Q", title="95 % to", format=".3f"),
        ],
    )
    names = {str(size): _shown(size) for size in sizes}
    return sized(alt.layer(lines, intervals, dots).add_params(alt.param(name="labels", value=names)), HEIGHT)


def _shown(size: int) -> str:
    unit = next(unit for unit in ("t", "b", "m", "k", "") if size >= _UNITS.get(unit, 1))
    return f"{size / _UNITS.get(unit, 1):.3g}{unit.upper()}"
