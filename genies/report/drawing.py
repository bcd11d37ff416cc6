"""What the report's figures have in common: their class, colours, shapes, sizes and the parts that several draw.

Names of models, interventions and distributions are data wherever they occur; no expression is built from them. Rows
and filters go by index instead. Colours are CSS variables of the page, so that figures follow light and dark themes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt

from genies.evaluation.averages import EXAMPLES, NEW_SHIFTS

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
ACCURACY_STEPS = tuple(round(0.05 + 0.1 * step, 2) for step in range(10))
"""Edges of the eleven colours of accuracies; the colour in the middle, 0.45 to 0.55, stands for guessing."""
CORRELATION_STEPS = tuple(round(-0.9 + 0.2 * step, 1) for step in range(10))
"""Edges of the eleven colours of correlations, the middle one around 0."""

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
    "legend": {"labelColor": "var(--ink)", "labelFontSize": 12},
    "text": {"color": "var(--ink)", "fontSize": 12},
}


@dataclass(frozen=True)
class Figure:
    """One drawing: its specification for wide screens, another for narrow ones where it needs one, and its texts.

    Attributes:
        id: of its element on the page, and the name of its files.
        title: above it.
        description: for those who cannot see it.
        wide: its specification.
        narrow: another one for narrow screens.
        note: below the title; what a reader must know of this figure alone.
    """

    id: str
    title: str
    description: str
    wide: dict[str, Any]
    narrow: dict[str, Any] | None = None
    note: str = ""


MODEL = "model"
"""Names the parameter that holds the number of the model to show."""
SECTIONS = (
    "leaderboard",
    "shifts",
    "surface",
    "cues",
    "predictions",
    "categories",
    "correlations",
    "calibration",
    "scores",
    "sensitivity",
    "directions",
    "sites",
    "training",
)
"""Sections of the page that show figures, by their ids."""


@dataclass(frozen=True)
class Kind:
    """Where figures of a kind stand on the page.

    Attributes:
        section: one of ``SECTIONS``.
        rank: order within the section.
        heading: above the figures; empty for none.
        text: what they show, below the heading.
        panels: whether they stand side by side where there is room.
        titled: whether each has its title.
        scrolls: whether each scrolls sideways where it is wider than the screen.
        by_model: whether they show one model at a time, that whose number their parameter ``MODEL`` holds.
    """

    section: str
    rank: int
    heading: str = ""
    text: str = ""
    panels: bool = True
    titled: bool = True
    scrolls: bool = False
    by_model: bool = False

    def __post_init__(self) -> None:
        if self.section not in SECTIONS:
            raise ValueError(f"{self.section} is no section with figures; choose one of {', '.join(SECTIONS)}")


@dataclass
class Figures:
    """All figures of a page with the tables that they share (rows as JSON values, by name).

    Attributes:
        data: the tables.
        spokes: what the numbers around the radars stand for.
        keys: what the colours and shapes of a kind's figures stand for, by its name; those of ``scales``, in order.
        kinds: of figures, by name, in the order of each section.
        models: in the order of the tables.
    """

    data: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    spokes: list[str] = field(default_factory=list)
    keys: dict[str, list[str]] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    models: list[str] = field(default_factory=list)
    _drawn: dict[str, list[Figure]] = field(default_factory=dict)

    def add(self, kind: str, figure: Figure) -> None:
        """Add a figure of a kind, by the kind's name, that of its module."""
        if kind not in self.kinds:
            raise ValueError(f"{kind} is no kind of figure; those are {', '.join(sorted(self.kinds))}")
        self._drawn.setdefault(kind, []).append(figure)

    def __getitem__(self, kind: str) -> list[Figure]:
        """The figures of a kind."""
        return self._drawn.get(kind, [])

    def of_section(self, section: str) -> list[tuple[Kind, list[Figure], list[str]]]:
        """The kinds of figures of a section of the page that have any, in order, with figures and key."""
        own = {name: kind for name, kind in self.kinds.items() if kind.section == section and self[name]}
        return [(kind, self[name], self.keys.get(name, [])) for name, kind in own.items()]

    def by_kind(self) -> list[tuple[Kind, Figure]]:
        """All figures, each with its kind."""
        return [(self.kinds[name], figure) for name, figures in self._drawn.items() for figure in figures]

    def all(self) -> list[Figure]:
        return [figure for figures in self._drawn.values() for figure in figures]


def data_source(name: str) -> alt.NamedData:
    return alt.NamedData(name=name)


def rows_of(name: str, index: int) -> alt.Chart:
    """A chart of those rows of a table that belong to one of several figures."""
    return alt.Chart(data_source(name)).transform_filter(f"datum.index === {index}")


def color_and_sign(number: int) -> tuple[int, int]:
    """Numbers of the colour and of the shape of one of several names; of 64, no two have both in common."""
    return number % len(MODEL_COLORS), (number + number // len(MODEL_COLORS)) % len(MODEL_SHAPES)


def scales(names: list[str]) -> tuple[alt.Scale, alt.Scale]:
    """Colour and shape of each name; up to eight, both say the same, so that neither is needed."""
    places = [color_and_sign(number) for number in range(len(names))]
    colors, shapes = [MODEL_COLORS[color] for color, _ in places], [MODEL_SHAPES[sign] for _, sign in places]
    return alt.Scale(domain=names, range=colors), alt.Scale(domain=names, range=shapes)


def layered(
    layers: Sequence[alt.Chart],
    width: int | str,
    height: int,
    params: Sequence[alt.Parameter] = (),
    independent: Sequence[str] = (),
) -> dict[str, Any]:
    """The specification of charts on top of each other.

    ``alt.layer`` would copy every chart several times, which takes longer than all else that a figure takes.

    Args:
        layers: the lowest first.
        width: pixels, or ``container``.
        height: pixels.
        params: of all layers together.
        independent: channels in which each layer has a scale of its own.
    """
    datasets: dict[str, Any] = {}
    # The second argument says where Altair is: below the top, where it adds neither schema nor configuration.
    units = [layer.to_dict(validate=False, context={"top_level": False, "datasets": datasets}) for layer in layers]
    spec: dict[str, Any] = {"$schema": alt.SCHEMA_URL, "layer": units, "width": width, "height": height}
    if params:
        spec["params"] = [parameter.param.to_dict(validate=False) for parameter in params]
    if independent:
        spec["resolve"] = {"scale": dict.fromkeys(independent, "independent")}
    return {**spec, "datasets": datasets} if datasets else spec


def sized(layers: Sequence[alt.Chart], height: int, **options: Any) -> dict[str, Any]:
    """``layered`` charts as wide as their element; pixels, because Vega-Lite warns of steps in such charts."""
    return layered(layers, "container", height, **options)


def group_name(label: str, category: str) -> str:
    return category if label == category else f"{label} · {category}"


def tip(name: str, title: str | None = None) -> alt.Tooltip:
    """A tooltip of a field with three decimals."""
    options = {} if title is None else {"title": title}
    return alt.Tooltip(f"{name}:Q", format=".3f", **options)


def interval_tips(name: str = "") -> list[alt.Tooltip]:
    """Tooltips of the ends of a 95 % interval, ``<name>_low`` and ``<name>_high``."""
    before = f"{name}_" if name else ""
    return [tip(f"{before}low", "95 % from"), tip(f"{before}high", "95 % to")]


def words(*names: str) -> list[alt.Tooltip]:
    """Tooltips of fields that hold texts."""
    return [alt.Tooltip(f"{name}:N") for name in names]


def dashes(shorthand: str) -> alt.StrokeDash:
    """Solid lines for intervals over new shifts, dashed ones for those over examples, by a field that says which."""
    return alt.StrokeDash(
        shorthand, scale=alt.Scale(domain=[NEW_SHIFTS, EXAMPLES], range=[[1, 0], [4, 3]]), legend=None
    )


def dots(
    base: alt.Chart, metric: str, x: alt.X, models: list[str], order: list[str], tooltip: list[alt.Tooltip]
) -> tuple[alt.Chart, alt.Chart]:
    """Intervals and dots of ``metric``, a row per intervention, within it one per model."""
    colors, shapes = scales(models)
    base = base.encode(
        y=alt.Y("intervention:N", sort=None, scale=alt.Scale(domain=order), title=None, axis=alt.Axis(labelLimit=160)),
        yOffset=alt.YOffset("model:N", sort=None, scale=alt.Scale(domain=models)),
        color=alt.Color("model:N", scale=colors, legend=None),
        tooltip=tooltip,
    )
    intervals = base.mark_rule(strokeWidth=2, clip=True).encode(x=x, x2=alt.X2(f"{metric}_high"))
    marks = base.mark_point(filled=True, size=60, opacity=1, clip=True).encode(
        x=alt.X(f"{metric}:Q"), shape=alt.Shape("model:N", scale=shapes, legend=None)
    )
    return intervals, marks


def dots_height(models: list[str], order: list[str]) -> int:
    return len(order) * max(24, 12 * len(models))


def colored_cells(
    base: alt.Chart, value: str, steps: Sequence[float], numbers: bool = True, mark: str = ""
) -> list[alt.Chart]:
    """Rectangles in eleven colours, and in them their numbers with two decimals.

    Args:
        base: with the places of the rectangles.
        value: the field that colour and number show.
        steps: edges of the colours.
        numbers: whether there is room for them.
        mark: a field with a sign that stands behind the number; none without it.
    """
    options = {"domain": list(steps), "type": "threshold"}
    fill, ink = (alt.Scale(range=[f"var(--{name}-{i})" for i in range(11)], **options) for name in ("heat", "heat-ink"))
    layers = [base.mark_rect().encode(color=alt.Color(f"{value}:Q", scale=fill, legend=None))]
    if numbers:
        text = alt.Text(f"{value}:Q", format=".2f")
        color = alt.Color(f"{value}:Q", scale=ink, legend=None)
        layers.append(base.mark_text(fontSize=11).encode(text=text, color=color))
        if mark:
            layers.append(base.mark_text(fontSize=9, dx=16).encode(text=alt.Text(f"{mark}:N"), color=color))
    return layers
