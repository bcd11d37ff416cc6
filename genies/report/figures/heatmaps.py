"""Accuracy of every intervention on every shift."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import altair as alt
import polars as pl

from genies.evaluation.evaluations import PLACE
from genies.report.drawing import (
    ACCURACY_STEPS,
    Figure,
    Figures,
    Kind,
    colored_cells,
    data_source,
    group_name,
    sized,
    tip,
    words,
)
from genies.report.subject import Subject

KIND = Kind("shifts", rank=0, panels=False)

NUMBERS = {
    "generalization_accuracy": "accuracy",
    "generalization_accuracy_low": "95 % from",
    "generalization_accuracy_high": "95 % to",
    "baseline_accuracy": "baseline",
    "target_tuned_capability": "capability",
    "capability_low": "capability, 95 % from",
    "capability_high": "capability, 95 % to",
    "elicitation": "elicitation",
    "elicitation_low": "elicitation, 95 % from",
    "elicitation_high": "elicitation, 95 % to",
    "chance_adjusted_elicitation": "chance-adjusted elicitation",
    "chance_adjusted_elicitation_low": "chance-adjusted, 95 % from",
    "chance_adjusted_elicitation_high": "chance-adjusted, 95 % to",
    "differential_elicitation": "differential elicitation",
    "differential_elicitation_low": "differential, 95 % from",
    "differential_elicitation_high": "differential, 95 % to",
    "accuracy_least": "over seeds from",
    "accuracy_most": "over seeds to",
    "calibration_error": "calibration error",
    "calibration_error_by_chance": "by chance up to",
}
"""Numbers that a cell tells when pointed at, and what they are called there."""
TEXTS = {
    "target_tuned_capability_intervention": "capability by",
    "capability_chosen_by": "chosen by",
    "capability_chosen_from": "chosen from",
    "remarks": "remarks",
}
"""Likewise of texts."""
NAMES = ("source", "target", "label", "category", "intervention")
NAME = {"align": "left", "baseline": "middle", "dy": 2, "limit": 330}
"""Names and headings beside and above cells."""


def draw(figures: Figures, subject: Subject) -> None:
    """Accuracy of every shift and intervention, one figure per model; rows in groups of one category."""
    tables = subject.tables
    spread = tables["seeds"].filter(over="shift").select(*PLACE, "accuracy_least", "accuracy_most")
    details = tables.metrics.join(tables["intervals"], on=PLACE, how="left", maintain_order="left")
    details = details.join(spread, on=PLACE, how="left", maintain_order="left")
    for number, model in enumerate(subject.models):
        own = details.filter(pl.col("model") == model)
        rows = _rows(own)
        known = [name for name in (*NAMES, *NUMBERS, *TEXTS, "test_pairs") if own[name].null_count() < len(own)]
        figures.data[f"headings-{number}"] = rows.headings
        figures.data[f"shifts-{number}"] = rows.names
        figures.data[f"cells-{number}"] = [
            {**row, **rows.cells[row["source"], row["target"]], **_remarks(row)}
            for row in own.select(known).with_columns(pl.selectors.float().round(4)).iter_rows(named=True)
        ]
        order = own["intervention"].unique(maintain_order=True).to_list()
        description = "A row per shift, a column per intervention; colour and number are the generalization accuracy."
        if "remarks" in known:
            description += " A frame marks a cell with a remark."
        wide = _wide(number, order, known, rows.wide_labels)
        narrow = _narrow(number, order, known, rows.narrow)
        figures.add("heatmaps", Figure(f"figure-heatmap-{number}", model, description, wide, narrow))


@dataclass
class _Rows:
    """Where a heatmap's rows stand: indices in the wide layout, and in the narrow one, where names have own rows."""

    cells: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    headings: list[dict[str, Any]] = field(default_factory=list)
    names: list[dict[str, Any]] = field(default_factory=list)
    wide_labels: list[str] = field(default_factory=list)
    narrow: int = 0


def _rows(metrics: pl.DataFrame) -> _Rows:
    """Rows of a heatmap: the shifts of each category under its heading."""
    rows = _Rows()
    shifts = metrics.select("label", "category", "source", "target").unique(maintain_order=True)
    for (label, category), members in shifts.group_by("label", "category", maintain_order=True):
        heading = {"text": group_name(label, category), "wide": len(rows.wide_labels), "narrow": rows.narrow}
        rows.headings.append(heading)
        rows.wide_labels.append("")
        rows.narrow += 1
        for source, target in members.select("source", "target").iter_rows():
            name = f"{source} → {target}"
            rows.cells[source, target] = {"wide": len(rows.wide_labels), "narrow": rows.narrow + 1}
            rows.names.append({"text": name, "narrow": rows.narrow})
            rows.wide_labels.append(name)
            rows.narrow += 2
    return rows


def _remarks(row: dict[str, Any]) -> dict[str, Any]:
    """Whether a cell of the heatmap is framed, and why; a tooltip would show null as a word."""
    remarks = row.get("remarks")
    return {"framed": int(remarks is not None), "remarks": remarks or "none"}


def _layers(
    number: int, order: list[str], known: list[str], row: str, rows: int, axis: alt.Axis | None
) -> list[alt.Chart]:
    """Cells, their numbers and the headings of groups; ``row`` names the column of row indices."""
    y = alt.Y(f"{row}:O", scale=alt.Scale(domain=list(range(rows)), paddingInner=0.06), axis=axis, title=None)
    level = len(order) <= 5 and axis is not None
    across = alt.Axis(
        orient="top",
        labelAngle=0 if level else -40,
        labelAlign="center" if level else "left",
        domain=False,
        ticks=False,
        labelLimit=110,
    )
    # Columns are set by hand: sort=None would follow each layer's data.
    x = alt.X("intervention:N", sort=None, scale=alt.Scale(domain=order, paddingInner=0.04), axis=across, title=None)
    cells = alt.Chart(data_source(f"cells-{number}")).encode(x=x, y=y, tooltip=_tooltip(known))
    return [
        *colored_cells(cells, "generalization_accuracy", ACCURACY_STEPS),
        # A frame takes no room, of which cells have little on a phone.
        cells.mark_rect(filled=False, stroke="var(--ink)", strokeWidth=1).encode(
            strokeOpacity=alt.StrokeOpacity("framed:Q", scale=None)
        ),
        alt.Chart(data_source(f"headings-{number}"))
        .mark_text(fontWeight="bold", **NAME)
        .encode(x=alt.value(0), y=y, text="text:N"),
    ]


def _tooltip(known: list[str]) -> list[alt.Tooltip]:
    """What a cell tells when pointed at, of the columns that hold anything."""
    return [
        *words(*NAMES),
        *(tip(name, title) for name, title in NUMBERS.items() if name in known),
        *(alt.Tooltip(f"{name}:N", title=title) for name, title in TEXTS.items() if name in known),
        alt.Tooltip("test_pairs:Q", title="test pairs"),
    ]


def _wide(number: int, order: list[str], known: list[str], labels: list[str]) -> dict[str, Any]:
    axis = alt.Axis(domain=False, ticks=False, labelExpr="labels[datum.value]", labelLimit=330, labelFontSize=11.5)
    layers = _layers(number, order, known, "wide", len(labels), axis)
    chart = alt.layer(*layers).resolve_scale(color="independent")
    return sized(chart.add_params(alt.param(name="labels", value=labels)), 20 * len(labels))


def _narrow(number: int, order: list[str], known: list[str], rows: int) -> dict[str, Any]:
    """Names of shifts stand above their cells, so that the cells have the whole width of a phone."""
    layers = _layers(number, order, known, "narrow", rows, None)
    shifts = alt.Chart(data_source(f"shifts-{number}")).mark_text(fontSize=11, **NAME)
    names = shifts.encode(x=alt.value(0), y=alt.Y("narrow:O"), text="text:N")
    return sized(alt.layer(*layers, names).resolve_scale(color="independent"), 17 * rows)
