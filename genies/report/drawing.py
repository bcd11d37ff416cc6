"""What the report's figures have in common: their class, colours, shapes and sizes.

Names of models, interventions and distributions are data wherever they occur; no expression is built from them. Rows
and filters go by index instead. Colours are CSS variables of the page, so that figures follow light and dark themes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import altair as alt

RANDOM_ACCURACY = 0.5
MODEL_COLORS = tuple(f"var(--model-{number})" for number in range(8))
"""Okabe and Ito's palette (page.css), which the common kinds of colour blindness tell apart."""
MODEL_SHAPES = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "triangle-down",
    "cross",
    "triangle-right",
    "triangle-left",
)
MODEL_SIGNS = "●■▲◆▼✚▶◀"
"""The same shapes as characters, for keys."""

CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "domainColor": "var(--rule)",
        "gridColor": "var(--rule)",
        "labelColor": "var(--ink)",
        "labelFontSize": 12,
        "tickColor": "var(--rule)",
        "titleColor": "var(--soft)",
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
    "text": {"color": "var(--ink)", "fontSize": 12},
}


@dataclass(frozen=True)
class Figure:
    """One drawing: its specification for wide screens, another for narrow ones where it needs one, and its texts."""

    id: str
    title: str
    description: str
    wide: dict[str, Any]
    narrow: dict[str, Any] | None = None


@dataclass
class Figures:
    """All figures of a page with the tables that they share (rows as JSON values, by name)."""

    data: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    leaderboard: list[Figure] = field(default_factory=list)
    heatmaps: list[Figure] = field(default_factory=list)
    categories: list[Figure] = field(default_factory=list)
    labels: list[Figure] = field(default_factory=list)
    sizes: list[Figure] = field(default_factory=list)
    correlations: list[Figure] = field(default_factory=list)
    matrices: list[Figure] = field(default_factory=list)
    reliability: list[Figure] = field(default_factory=list)
    radars: list[Figure] = field(default_factory=list)
    spokes: list[str] = field(default_factory=list)
    """What the numbers around the radars stand for."""
    sites: list[Figure] = field(default_factory=list)
    heads: list[Figure] = field(default_factory=list)
    training: list[Figure] = field(default_factory=list)

    def all(self) -> list[Figure]:
        return [
            *self.leaderboard, *self.labels, *self.sizes, *self.radars, *self.heatmaps, *self.matrices,
            *self.categories, *self.correlations, *self.reliability, *self.sites, *self.heads, *self.training,
        ]  # fmt: skip


def data_source(name: str) -> alt.NamedData:
    return alt.NamedData(name=name)


def model_scales(models: list[str]) -> tuple[alt.Scale, alt.Scale]:
    """Colour and shape of each model; both say the same, so that neither is needed."""
    colors = [MODEL_COLORS[i % len(MODEL_COLORS)] for i in range(len(models))]
    shapes = [MODEL_SHAPES[i % len(MODEL_SHAPES)] for i in range(len(models))]
    return alt.Scale(domain=models, range=colors), alt.Scale(domain=models, range=shapes)


def sized(chart: alt.LayerChart, height: int) -> dict[str, Any]:
    """The specification of a chart as wide as its element; pixels, because Vega-Lite warns of steps in such charts."""
    return chart.properties(width="container", height=height).to_dict()


def group_name(label: str, category: str) -> str:
    return category if label == category else f"{label} · {category}"
