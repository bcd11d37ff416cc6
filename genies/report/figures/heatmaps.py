"""Accuracy of every intervention on every shift."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import altair as alt
import polars as pl

from genies.evaluation.evaluations import PLACE
from genies.evaluation.metrics import CHANCE
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
from genies.report.words import counted

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
CAPABILITY = ("capability", "capability of the model")
"""Names of the last column; the second where an intervention has the first."""
BELOW, AT, ABOVE = "▾", "≈", "▴"
"""Marks of cells: the interval lies below chance, or contains it; the accuracy is above the capability."""
MEAN = "mean over shifts"
LONGEST, LETTER = 180, 5
"""Pixels of the longest name above a column, and of a letter of it, which is slanted, across."""
NAMES = ("source", "target", "label", "category", "intervention")
NAME = {"align": "left", "baseline": "middle", "dy": 2, "limit": 330}
"""Names and headings beside and above cells."""


def draw(figures: Figures, subject: Subject) -> None:
    """Accuracy of every shift and intervention, one figure per model.

    Columns go by the leaderboard, the capability stands behind them; the first row has means over shifts, the others
    are in groups of one category.
    """
    tables = subject.tables
    spread = tables["seeds"].filter(over="shift").select(*PLACE, "accuracy_least", "accuracy_most")
    details = tables.metrics.join(tables["intervals"], on=PLACE, how="left", maintain_order="left")
    details = details.join(spread, on=PLACE, how="left", maintain_order="left")
    for number, model in enumerate(subject.models):
        own = details.filter(pl.col("model") == model)
        rows = _rows(own)
        known = [name for name in (*NAMES, *NUMBERS, *TEXTS, "test_pairs") if own[name].null_count() < len(own)]
        order = subject.overall.filter(pl.col("model") == model)["intervention"].to_list()
        figures.data[f"headings-{number}"] = rows.headings
        figures.data[f"shifts-{number}"] = rows.names
        figures.data[f"cells-{number}"] = [
            {**row, **rows.cells[row["source"], row["target"]], **_remarks(row), "mark": _mark(row)}
            for row in own.select(known).with_columns(pl.selectors.float().round(4)).iter_rows(named=True)
        ]
        last = CAPABILITY[CAPABILITY[0] in order]
        figures.data[f"besides-{number}"] = besides = [*_means(subject, model), *_capabilities(own, rows, last)]
        description = "A row per shift, a column per intervention; colour and number are the generalization accuracy."
        if "remarks" in known:
            description += " A frame marks a cell with a remark."
        columns = [*order, *([last] if any(row["intervention"] == last for row in besides) else [])]
        wide = _wide(number, columns, known, rows.wide_labels)
        narrow = _narrow(number, columns, known, rows.narrow)
        figures.add("heatmaps", Figure(f"figure-heatmap-{number}", model, description, wide, narrow))


def _means(subject: Subject, model: str) -> list[dict[str, Any]]:
    """The first row: each intervention's mean over all distinct shifts."""
    means = subject.overall.filter(pl.col("model") == model)
    means = means.select("intervention", "generalization_accuracy", "shifts")
    return [
        {"intervention": name, "generalization_accuracy": round(mean, 4), "told": f"mean over {shifts} shifts",
         "wide": 0, "narrow": 1}
        for name, mean, shifts in means.iter_rows()
    ]  # fmt: skip


def _capabilities(own: pl.DataFrame, rows: _Rows, column: str) -> list[dict[str, Any]]:
    """The last column: the capability on each shift where it is known, and its mean over these."""
    columns = ["source", "target", "target_tuned_capability", "target_tuned_capability_intervention"]
    known = own.select(columns).unique(maintain_order=True).drop_nulls("target_tuned_capability")
    if not len(known):
        return []
    # Where one method was left out of those that it is chosen from, a shift has two.
    shifts = known.group_by("source", "target").agg(pl.max("target_tuned_capability"))
    mean = {
        "intervention": column,
        "generalization_accuracy": round(shifts.select(pl.mean("target_tuned_capability")).item(), 4),
        "told": f"mean over {counted(len(shifts), 'shift')}",
        "wide": 0,
        "narrow": 1,
    }
    return [mean, *(
        {"intervention": column, "generalization_accuracy": round(capability, 4),
         "told": f"by {name}" if name else "as given", **rows.cells[source, target]}
        for source, target, capability, name in known.iter_rows()
    )]  # fmt: skip


def _mark(row: dict[str, Any]) -> str:
    """What stands behind the number of a cell: ``BELOW``, ``AT``, ``ABOVE`` or nothing."""
    low, high = row.get("generalization_accuracy_low"), row.get("generalization_accuracy_high")
    if low is not None and high is not None:
        if high < CHANCE:
            return BELOW
        if low <= CHANCE:
            return AT
    capability = row.get("target_tuned_capability")
    return ABOVE if capability is not None and row["generalization_accuracy"] > capability else ""


@dataclass
class _Rows:
    """Where a heatmap's rows stand: indices in the wide layout, and in the narrow one, where names have own rows."""

    cells: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    headings: list[dict[str, Any]] = field(default_factory=list)
    names: list[dict[str, Any]] = field(default_factory=list)
    wide_labels: list[str] = field(default_factory=list)
    narrow: int = 0


def _rows(metrics: pl.DataFrame) -> _Rows:
    """Rows of a heatmap: the mean, and the shifts of each category under its heading."""
    rows = _Rows(wide_labels=[MEAN], narrow=2)
    rows.names.append({"text": MEAN, "narrow": 0})
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
    number: int, order: list[str], known: list[str], row: str, rows: int, axis: alt.Axis | None, method: str = ""
) -> list[alt.Chart]:
    """Cells, their numbers and the headings of groups.

    Args:
        number: of the model.
        order: columns.
        known: what cells tell when pointed at.
        row: names the column of row indices.
        rows: how many there are.
        axis: of the rows.
        method: names the parameter that holds the only intervention to show; empty to show all.
    """
    y = alt.Y(f"{row}:O", scale=alt.Scale(domain=list(range(rows)), paddingInner=0.06), axis=axis, title=None)
    level = len(order) <= 5 and axis is not None
    across = alt.Axis(
        orient="top",
        labelAngle=0 if level else -40,
        labelAlign="center" if level else "left",
        domain=False,
        ticks=False,
        labelLimit=LONGEST,
    )
    # Columns are set by hand: sort=None would follow each layer's data.
    x = alt.X("intervention:N", sort=None, scale=alt.Scale(domain=order, paddingInner=0.04), axis=across, title=None)
    if method:
        x = alt.XDatum(" ", type="nominal", axis=None)
    cells = alt.Chart(data_source(f"cells-{number}")).encode(x=x, y=y, tooltip=_tooltip(known))
    besides = alt.Chart(data_source(f"besides-{number}")).encode(
        x=x, y=y, tooltip=[*words("intervention", "told"), tip("generalization_accuracy", "accuracy")]
    )
    if method:
        cells, besides = (chart.transform_filter(f"datum.intervention === {method}") for chart in (cells, besides))
    return [
        *colored_cells(besides, "generalization_accuracy", ACCURACY_STEPS),
        *colored_cells(cells, "generalization_accuracy", ACCURACY_STEPS, mark="mark"),
        # A frame takes no room, of which cells have little on a phone.
        cells.mark_rect(filled=False, stroke="var(--ink)", strokeWidth=1).encode(
            strokeOpacity=alt.StrokeOpacity("framed:Q", scale=None)
        ),
        alt.Chart(data_source(f"headings-{number}"))
        .mark_text(fontWeight="bold", **NAME)
        .encode(x=alt.XValue(0), y=y, text=alt.Text("text:N")),
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
    spec = sized(layers, 20 * len(labels), params=[alt.param(name="labels", value=labels)], independent=["color"])
    # The name of the last column leans out to the right.
    return {**spec, "padding": {"left": 5, "top": 5, "bottom": 5, "right": 5 + LETTER * len(order[-1])}}


def _narrow(number: int, order: list[str], known: list[str], rows: int) -> dict[str, Any]:
    """One column at a time, chosen from a list; names of shifts stand above its cells, so that both have room."""
    method = f"method_{number}"
    layers = _layers(number, order, known, "narrow", rows, None, method)
    shifts = alt.Chart(data_source(f"shifts-{number}")).mark_text(fontSize=11, **NAME)
    names = shifts.encode(x=alt.XValue(0), y=alt.Y("narrow:O"), text=alt.Text("text:N"))
    chosen = alt.param(name=method, value=order[0], bind=alt.binding_select(options=order, name="Intervention "))
    return sized([*layers, names], 17 * rows, params=[chosen], independent=["color"])
