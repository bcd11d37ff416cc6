"""Figures of the report as Vega-Lite specifications, without their data: the page brings each table along once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import altair as alt
import polars as pl

from genies.evaluation.correlation import correlations
from genies.evaluation.tables import ALL_LABELS, DISTINCT, PLACE
from genies.report.drawing import RANDOM_ACCURACY, Figure, Figures, data_source, group_name, model_scales, sized
from genies.report.radar import add_radars
from genies.report.sizes import add_sizes
from genies.report.tables import Tables

ACCURACY_STEPS = tuple(round(0.05 + 0.1 * step, 2) for step in range(10))
"""Edges of the eleven colours of the heatmap; the colour in the middle, 0.45 to 0.55, stands for guessing."""
ELICITATION_LIMIT = 1.25
"""Where the axis of elicitation ends; intervals over few shifts reach beyond."""
CORRELATION_STEPS = tuple(round(-0.9 + 0.2 * step, 1) for step in range(10))
"""Edges of the eleven colours of correlations, the middle one around 0."""
MATRIX_CELL = 26
"""Pixels of a column of a matrix on narrow screens, where it scrolls."""
LABELS_HEIGHT = 420
LABEL_HEIGHT = 13
"""Pixels of the figure of extreme against probing shifts, and of a name in it."""
HEATMAP_COLUMNS = (
    "intervention",
    "label",
    "category",
    "source",
    "target",
    "generalization_accuracy",
    "generalization_accuracy_low",
    "generalization_accuracy_high",
    "baseline_accuracy",
    "target_tuned_capability",
    "capability_low",
    "capability_high",
    "target_tuned_capability_intervention",
    "capability_chosen_by",
    "capability_chosen_from",
    "elicitation",
    "elicitation_low",
    "elicitation_high",
    "chance_adjusted_elicitation",
    "chance_adjusted_elicitation_low",
    "chance_adjusted_elicitation_high",
    "differential_elicitation",
    "differential_elicitation_low",
    "differential_elicitation_high",
    "accuracy_least",
    "accuracy_most",
    "calibration_error",
    "calibration_error_by_chance",
    "test_pairs",
    "remarks",
)


def draw(tables: Tables) -> Figures:
    """Every figure of the report, with models in the order of the tables."""
    metrics, leaderboard = tables.metrics, tables.leaderboard
    models = metrics["model"].unique(maintain_order=True).to_list()
    overall = leaderboard.filter((pl.col("label") == ALL_LABELS) & (pl.col("averaged_over") == DISTINCT))
    ranked = overall["intervention"].unique(maintain_order=True).to_list()
    figures = Figures()
    _leaderboard(figures, overall, tables.seeds, models, ranked)
    _labels(figures, leaderboard, models)
    add_sizes(figures, leaderboard, models, ranked)
    add_radars(figures, metrics, models, ranked)
    _heatmaps(figures, tables, models)
    _matrices(figures, tables.cells, metrics)
    _categories(figures, tables.by_category, models, ranked)
    _correlations(figures, metrics, models, ranked)
    _reliabilities(figures, tables.reliability, models, ranked)
    _sites(figures, tables.sites)
    _heads(figures, tables.sites)
    _trainings(figures, tables.training)
    return figures


def _dots(
    data: str, metric: str, x: alt.X, models: list[str], order: list[str], tooltip: list[alt.Tooltip], index: int | None
) -> tuple[alt.Chart, alt.Chart]:
    """Intervals and dots of ``metric``, a row per intervention, within it one per model."""
    colors, shapes = model_scales(models)
    base = alt.Chart(data_source(data))
    if index is not None:
        base = base.transform_filter(f"datum.index === {index}")
    base = base.encode(
        y=alt.Y("intervention:N", sort=None, scale=alt.Scale(domain=order), title=None, axis=alt.Axis(labelLimit=160)),
        yOffset=alt.YOffset("model:N", sort=None, scale=alt.Scale(domain=models)),
        color=alt.Color("model:N", scale=colors, legend=None),
        tooltip=tooltip,
    )
    intervals = base.mark_rule(strokeWidth=2, clip=True).encode(x=x, x2=alt.X2(f"{metric}_high"))
    dots = base.mark_point(filled=True, size=60, opacity=1, clip=True).encode(
        x=alt.X(f"{metric}:Q"), shape=alt.Shape("model:N", scale=shapes, legend=None)
    )
    return intervals, dots


def _dots_height(models: list[str], order: list[str]) -> int:
    return len(order) * max(24, 12 * len(models))


def _leaderboard(
    figures: Figures, overall: pl.DataFrame, seeds: pl.DataFrame, models: list[str], order: list[str]
) -> None:
    """Mean accuracy with its interval for new shifts; where there were several seeds, behind it their range."""
    spread = seeds.filter(over=ALL_LABELS).select("model", "intervention", "seeds", "accuracy_least", "accuracy_most")
    if len(spread):
        overall = overall.join(spread, on=["model", "intervention"], how="left", maintain_order="left")
    figures.data["leaderboard"] = overall.to_dicts()
    tooltip = [
        alt.Tooltip("model:N"),
        alt.Tooltip("intervention:N"),
        alt.Tooltip("generalization_accuracy:Q", title="mean accuracy", format=".3f"),
        alt.Tooltip("generalization_accuracy_low:Q", title="95 % from", format=".3f"),
        alt.Tooltip("generalization_accuracy_high:Q", title="95 % to", format=".3f"),
        alt.Tooltip("shifts:Q", title="shifts"),
    ]
    axis = alt.Axis(format=".4~f", values=[0, 0.25, 0.5, 0.75, 1], grid=True)
    x = alt.X(
        "generalization_accuracy_low:Q", title="generalization accuracy", scale=alt.Scale(domain=[0, 1]), axis=axis
    )
    intervals, dots = _dots("leaderboard", "generalization_accuracy", x, models, order, tooltip, None)
    layers = [_line(RANDOM_ACCURACY), intervals, dots, _line_label(RANDOM_ACCURACY, "random 0.5")]
    if len(spread):
        ranges = intervals.mark_rule(strokeWidth=9, opacity=0.3, clip=True)
        layers.insert(1, ranges.encode(x="accuracy_least:Q", x2="accuracy_most"))
    figures.leaderboard.append(
        Figure(
            "figure-leaderboard",
            "Generalization accuracy, mean over shifts",
            "Dots with 95 % intervals for new shifts: mean generalization accuracy of each intervention; guessing "
            "gives 0.5.",
            sized(alt.layer(*layers), _dots_height(models, order)),
        )
    )


def _line(x: float) -> alt.Chart:
    """A dashed vertical line, the floor that answering at random gives."""
    return (
        alt.Chart(alt.InlineData(values=[{"x": x}])).mark_rule(strokeDash=[4, 3], color="var(--soft)").encode(x="x:Q")
    )


def _line_label(x: float, text: str) -> alt.Chart:
    mark = {"align": "center", "baseline": "bottom", "fontSize": 11, "color": "var(--soft)", "dy": -3}
    return (
        alt.Chart(alt.InlineData(values=[{"x": x, "text": text}]))
        .mark_text(**mark)
        .encode(x="x:Q", y=alt.value(0), text="text:N")
    )


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


def _heatmaps(figures: Figures, tables: Tables, models: list[str]) -> None:
    """Accuracy of every shift and intervention, one figure per model; rows in groups of one category."""
    spread = tables.seeds.filter(over="shift").select(*PLACE, "accuracy_least", "accuracy_most")
    details = tables.metrics.join(tables.intervals, on=PLACE, how="left", maintain_order="left")
    details = details.join(spread, on=PLACE, how="left", maintain_order="left")
    for number, model in enumerate(models):
        own = details.filter(pl.col("model") == model)
        rows = _rows(own)
        known = [name for name in HEATMAP_COLUMNS if own[name].null_count() < len(own)]
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
        figures.heatmaps.append(
            Figure(
                f"figure-heatmap-{number}",
                model,
                description,
                _heatmap(number, order, known, rows.wide_labels),
                _narrow_heatmap(number, order, known, rows.narrow),
            )
        )


def _remarks(row: dict[str, Any]) -> dict[str, Any]:
    """Whether a cell of the heatmap is framed, and why; a tooltip would show null as a word."""
    remarks = row.get("remarks")
    return {"framed": int(remarks is not None), "remarks": remarks or "none"}


def _heatmap_layers(
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
    cells = alt.Chart(data_source(f"cells-{number}")).encode(x=x, y=y, tooltip=_heatmap_tooltip(known))
    steps = {"domain": list(ACCURACY_STEPS), "type": "threshold"}
    fill = alt.Scale(range=[f"var(--heat-{i})" for i in range(11)], **steps)
    ink = alt.Scale(range=[f"var(--heat-ink-{i})" for i in range(11)], **steps)
    value = "generalization_accuracy:Q"
    return [
        cells.mark_rect().encode(color=alt.Color(value, scale=fill, legend=None)),
        cells.mark_text(fontSize=11).encode(
            text=alt.Text(value, format=".2f"), color=alt.Color(value, scale=ink, legend=None)
        ),
        # A frame takes no room, of which cells have little on a phone.
        cells.mark_rect(filled=False, stroke="var(--ink)", strokeWidth=1).encode(
            strokeOpacity=alt.StrokeOpacity("framed:Q", scale=None)
        ),
        alt.Chart(data_source(f"headings-{number}"))
        .mark_text(align="left", baseline="middle", fontWeight="bold", dy=2, limit=330)
        .encode(x=alt.value(0), y=y, text="text:N"),
    ]


def _heatmap_tooltip(known: list[str]) -> list[alt.Tooltip]:
    """What a cell tells when pointed at, of the columns that hold anything."""
    titles = {
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
    texts = {
        "target_tuned_capability_intervention": "capability by",
        "capability_chosen_by": "chosen by",
        "capability_chosen_from": "chosen from",
        "remarks": "remarks",
    }
    names = ("source", "target", "label", "category", "intervention")
    return [
        *(alt.Tooltip(f"{name}:N") for name in names),
        *(alt.Tooltip(f"{name}:Q", title=title, format=".3f") for name, title in titles.items() if name in known),
        *(alt.Tooltip(f"{name}:N", title=title) for name, title in texts.items() if name in known),
        alt.Tooltip("test_pairs:Q", title="test pairs"),
    ]


def _heatmap(number: int, order: list[str], known: list[str], labels: list[str]) -> dict[str, Any]:
    axis = alt.Axis(domain=False, ticks=False, labelExpr="labels[datum.value]", labelLimit=330, labelFontSize=11.5)
    layers = _heatmap_layers(number, order, known, "wide", len(labels), axis)
    chart = alt.layer(*layers).resolve_scale(color="independent")
    return sized(chart.add_params(alt.param(name="labels", value=labels)), 20 * len(labels))


def _narrow_heatmap(number: int, order: list[str], known: list[str], rows: int) -> dict[str, Any]:
    """Names of shifts stand above their cells, so that the cells have the whole width of a phone."""
    layers = _heatmap_layers(number, order, known, "narrow", rows, None)
    names = (
        alt.Chart(data_source(f"shifts-{number}"))
        .mark_text(align="left", baseline="middle", fontSize=11, dy=2, limit=330)
        .encode(x=alt.value(0), y=alt.Y("narrow:O"), text="text:N")
    )
    chart = alt.layer(*layers, names).resolve_scale(color="independent")
    return sized(chart, 17 * rows)


def _correlations(figures: Figures, metrics: pl.DataFrame, models: list[str], order: list[str]) -> None:
    """How alike every two models generalize, a figure per intervention; none for a single model."""
    between = correlations(metrics).filter(pl.col("of").is_in(models), pl.col("with").is_in(models))
    figures.data["correlations"] = []
    for index, intervention in enumerate(order):
        rows = between.filter(intervention=intervention).drop("intervention").to_dicts()
        if not rows:
            continue
        mirrored = [{**row, "of": row["with"], "with": row["of"]} for row in rows]
        figures.data["correlations"] += [{**row, "index": index} for row in (*rows, *mirrored)]
        known = {row["of"] for row in (*rows, *mirrored)}
        figures.correlations.append(
            Figure(
                f"figure-correlation-{index}",
                intervention,
                "A row and a column per model; colour and number are the correlation of their accuracies over shifts.",
                _correlation(index, [model for model in models if model in known]),
            )
        )


def _correlation(index: int, models: list[str]) -> dict[str, Any]:
    steps = {"domain": list(CORRELATION_STEPS), "type": "threshold"}
    fill = alt.Scale(range=[f"var(--heat-{i})" for i in range(11)], **steps)
    ink = alt.Scale(range=[f"var(--heat-ink-{i})" for i in range(11)], **steps)
    scale = alt.Scale(domain=models, paddingInner=0.04)
    plain = {"domain": False, "ticks": False, "labelLimit": 110}
    base = (
        alt.Chart(data_source("correlations"))
        .transform_filter(f"datum.index === {index}")
        .encode(
            x=alt.X("with:N", sort=None, scale=scale, axis=alt.Axis(labelAngle=-40, **plain), title=None),
            y=alt.Y("of:N", sort=None, scale=scale, axis=alt.Axis(**plain), title=None),
            tooltip=[
                alt.Tooltip("of:N", title="model"),
                alt.Tooltip("with:N", title="with"),
                alt.Tooltip("r:Q", format=".3f"),
                alt.Tooltip("low:Q", title="95 % from", format=".3f"),
                alt.Tooltip("high:Q", title="95 % to", format=".3f"),
                alt.Tooltip("shifts:Q"),
            ],
        )
    )
    cells = base.mark_rect().encode(color=alt.Color("r:Q", scale=fill, legend=None))
    numbers = base.mark_text(fontSize=11).encode(
        text=alt.Text("r:Q", format=".2f"), color=alt.Color("r:Q", scale=ink, legend=None)
    )
    return sized(alt.layer(cells, numbers).resolve_scale(color="independent"), 26 * len(models))


def _categories(figures: Figures, by_category: pl.DataFrame, models: list[str], order: list[str]) -> None:
    """Mean elicitation of each intervention, one figure per category; none where no capability is known."""
    known = by_category.filter(pl.col("elicitation").is_not_null())
    figures.data["categories"] = []
    for index, ((label, category), rows) in enumerate(known.group_by("label", "category", maintain_order=True)):
        figures.data["categories"] += [{**row, "index": index} for row in rows.iter_rows(named=True)]
        count = rows["shifts"].max()
        over = {"new shifts": "for new shifts", "examples": "over test examples"}
        kinds = " and ".join(over[kind] for kind in rows["interval_over"].drop_nulls().unique(maintain_order=True))
        intervals = f" with 95 % intervals {kinds}" if kinds else ""
        figures.categories.append(
            Figure(
                f"figure-category-{index}",
                f"{group_name(label, category)} ({count} shift{'' if count == 1 else 's'})",
                f"Dots{intervals}: mean elicitation of each intervention.",
                _category(index, models, order),
            )
        )


def _category(index: int, models: list[str], order: list[str]) -> dict[str, Any]:
    tooltip = [
        alt.Tooltip("model:N"),
        alt.Tooltip("intervention:N"),
        alt.Tooltip("elicitation:Q", title="mean elicitation", format=".3f"),
        alt.Tooltip("elicitation_low:Q", title="95 % from", format=".3f"),
        alt.Tooltip("elicitation_high:Q", title="95 % to", format=".3f"),
        alt.Tooltip("random_elicitation:Q", title="guessing elicits", format=".3f"),
        alt.Tooltip("shifts:Q"),
    ]
    scale = alt.Scale(domain=[0, ELICITATION_LIMIT])
    axis = alt.Axis(values=[0, 0.25, 0.5, 0.75, 1, 1.25], format=".4~f", grid=True)
    x = alt.X("elicitation_low:Q", title="elicitation", scale=scale, axis=axis)
    floor = alt.Chart(data_source("categories")).transform_filter(f"datum.index === {index}")
    # Capability, and so what guessing elicits, differs between models: a band from the least to the most of them.
    band = floor.mark_rect(color="var(--soft)", opacity=0.25).encode(
        x="min(random_elicitation):Q", x2="max(random_elicitation)"
    )
    line = floor.mark_rule(strokeDash=[4, 3], color="var(--soft)").encode(x="mean(random_elicitation):Q")
    intervals, dots = _dots("categories", "elicitation", x, models, order, tooltip, index)
    chart = alt.layer(band, line, intervals, dots)
    return sized(chart, _dots_height(models, order))


def _labels(figures: Figures, leaderboard: pl.DataFrame, models: list[str]) -> None:
    """Mean accuracy on probing shifts against that on extreme ones; where a run has both kinds."""
    distinct = leaderboard.filter(averaged_over=DISTINCT)
    keys = ["model", "intervention"]
    columns = [*keys, *(f"generalization_accuracy{end}" for end in ("", "_low", "_high"))]
    extreme, probing = (distinct.filter(label=label).select(columns) for label in ("extreme", "probing"))
    both = extreme.join(probing, on=keys, suffix="_probing", maintain_order="left")
    if not len(both):
        return
    rows = [{**row, "size": models.index(row["model"])} for row in both.iter_rows(named=True)]
    figures.data["labels"] = rows
    colors, shapes = model_scales(models)
    ends = [value for name in both.columns[2:] for value in both[name].drop_nulls()]
    domain = [math.floor(10 * min(ends)) / 10, math.ceil(10 * max(ends)) / 10]
    _name_last_models(rows, domain[1] - domain[0])
    place = {"scale": alt.Scale(domain=domain), "axis": alt.Axis(format=".4~f", grid=True, tickCount=6)}
    base = alt.Chart(data_source("labels")).encode(
        color=alt.Color("model:N", scale=colors, legend=None),
        tooltip=[
            alt.Tooltip("model:N"),
            alt.Tooltip("intervention:N"),
            alt.Tooltip("generalization_accuracy:Q", title="extreme", format=".3f"),
            alt.Tooltip("generalization_accuracy_probing:Q", title="probing", format=".3f"),
        ],
    )
    x = alt.X("generalization_accuracy:Q", title="mean accuracy, extreme shifts", **place)
    y = alt.Y("generalization_accuracy_probing:Q", title="mean accuracy, probing shifts", **place)
    across = base.mark_rule(opacity=0.4).encode(
        x=alt.X("generalization_accuracy_low:Q", title="", **place), x2="generalization_accuracy_high:Q", y=y
    )
    upright = base.mark_rule(opacity=0.4).encode(
        x=x, y=alt.Y("generalization_accuracy_low_probing:Q", **place), y2="generalization_accuracy_high_probing:Q"
    )
    dots = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=x, y=y, shape=alt.Shape("model:N", scale=shapes, legend=None)
    )
    # With several models, a line from the first to the last of each intervention.
    through = (
        alt.Chart(data_source("labels"))
        .mark_line(color="var(--soft)", strokeWidth=1, opacity=0.6)
        .encode(x=x, y=y, detail="intervention:N", order="size:Q")
    )
    names = (
        base.mark_text(align="left", dx=7, fontSize=LABEL_HEIGHT - 2)
        .transform_filter("isValid(datum.name_at)")
        .encode(x=x, y=alt.Y("name_at:Q", **place), text="intervention:N")
    )
    figures.labels.append(
        Figure(
            "figure-labels",
            "Extreme against probing shifts",
            "Dots with 95 % intervals for new shifts: mean accuracy of each intervention on extreme and on probing "
            "shifts.",
            sized(alt.layer(across, upright, through, dots, names), LABELS_HEIGHT),
        )
    )


def _name_last_models(rows: list[dict[str, Any]], extent: float) -> None:
    """Add ``name_at`` to the row of each intervention's last model: how high its name stands, so that none overlap.

    Args:
        rows: of the figure's data, changed in place.
        extent: of both axes.
    """
    last = {row["intervention"]: row for row in sorted(rows, key=lambda row: row["size"])}
    height, width = extent * LABEL_HEIGHT / LABELS_HEIGHT, extent / 4
    x, y = "generalization_accuracy", "generalization_accuracy_probing"
    placed: list[dict[str, Any]] = []
    for row in sorted((r for r in last.values() if None not in (r[x], r[y])), key=lambda r: r[y], reverse=True):
        near = [other["name_at"] for other in placed if abs(other[x] - row[x]) < width]
        row["name_at"] = min([row[y] + height / 2, *(at - height for at in near)])
        placed.append(row)


def _matrices(figures: Figures, cells: pl.DataFrame, metrics: pl.DataFrame) -> None:
    """Accuracy of every source and target, a figure per model and intervention that was tested on all of them."""
    shifts = metrics.select("source", "target").unique()
    for index, ((model, intervention), own) in enumerate(cells.group_by("model", "intervention", maintain_order=True)):
        sources, targets = (sorted(own[name].unique()) for name in ("source", "target"))
        # Without the full matrix there are the shifts, and each source on itself.
        if len(own) < len(sources) * len(targets) or len(own) <= len(shifts) + len(sources):
            continue
        columns = ("source", "target", "accuracy", "low", "high", "test_pairs")
        figures.data[f"matrix-{index}"] = own.select(columns).to_dicts()
        figures.matrices.append(
            Figure(
                f"figure-matrix-{index}",
                f"{intervention}, {model}",
                "A row per source, a column per target; colour and number are the accuracy.",
                _matrix(index, sources, targets),
                _matrix(index, sources, targets) | {"width": MATRIX_CELL * len(targets)},
            )
        )


def _matrix(index: int, sources: list[str], targets: list[str]) -> dict[str, Any]:
    steps = {"domain": list(ACCURACY_STEPS), "type": "threshold"}
    fill = alt.Scale(range=[f"var(--heat-{i})" for i in range(11)], **steps)
    ink = alt.Scale(range=[f"var(--heat-ink-{i})" for i in range(11)], **steps)
    across = alt.Axis(orient="top", labelAngle=-40, labelAlign="left", domain=False, ticks=False, labelLimit=110)
    base = alt.Chart(data_source(f"matrix-{index}")).encode(
        x=alt.X("target:N", sort=None, scale=alt.Scale(domain=targets), axis=across, title=None),
        y=alt.Y("source:N", sort=None, scale=alt.Scale(domain=sources), title=None,
                axis=alt.Axis(domain=False, ticks=False, labelLimit=160)),
        tooltip=[
            alt.Tooltip("source:N"),
            alt.Tooltip("target:N"),
            alt.Tooltip("accuracy:Q", format=".3f"),
            alt.Tooltip("low:Q", title="95 % from", format=".3f"),
            alt.Tooltip("high:Q", title="95 % to", format=".3f"),
            alt.Tooltip("test_pairs:Q", title="test pairs"),
        ],
    )  # fmt: skip
    layers = [base.mark_rect().encode(color=alt.Color("accuracy:Q", scale=fill, legend=None))]
    if len(targets) <= 24:  # more numbers than that would overlap
        text = alt.Text("accuracy:Q", format=".2f")
        layers.append(
            base.mark_text(fontSize=11).encode(text=text, color=alt.Color("accuracy:Q", scale=ink, legend=None))
        )
    return sized(alt.layer(*layers).resolve_scale(color="independent"), 20 * len(sources) + 10)


def _reliabilities(figures: Figures, reliability: pl.DataFrame, models: list[str], order: list[str]) -> None:
    """Accuracy by confidence, one figure per intervention, in it a line per model."""
    figures.data["reliability"] = []
    known = [name for name in order if len(reliability.filter(intervention=name))]
    for index, intervention in enumerate(known):
        rows = reliability.filter(intervention=intervention)
        figures.data["reliability"] += [{**row, "index": index} for row in rows.iter_rows(named=True)]
        figures.reliability.append(
            Figure(
                f"figure-reliability-{index}",
                intervention,
                "Dots with 95 % intervals: how often it is right, by how sure it is; the dashed line is calibration.",
                _reliability(index, models),
            )
        )


def _reliability(index: int, models: list[str]) -> dict[str, Any]:
    colors, shapes = model_scales(models)
    scale = alt.Scale(domain=[0.5, 1])
    tooltip = [
        alt.Tooltip("model:N"),
        alt.Tooltip("confidence:Q", title="mean confidence", format=".3f"),
        alt.Tooltip("accuracy:Q", format=".3f"),
        alt.Tooltip("low:Q", title="95 % from", format=".3f"),
        alt.Tooltip("high:Q", title="95 % to", format=".3f"),
        alt.Tooltip("pairs:Q"),
    ]
    base = (
        alt.Chart(data_source("reliability"))
        .transform_filter(f"datum.index === {index}")
        .encode(
            x=alt.X("confidence:Q", scale=scale, axis=alt.Axis(values=[0.5, 0.75, 1], format=".4~f", grid=False)),
            color=alt.Color("model:N", scale=colors, legend=None),
            tooltip=tooltip,
        )
    )
    y = {"scale": alt.Scale(domain=[0, 1]), "axis": alt.Axis(values=[0, 0.5, 1], format=".4~f", grid=True)}
    intervals = base.mark_rule().encode(y=alt.Y("low:Q", title="accuracy", **y), y2="high:Q")
    dots = base.mark_point(filled=True, size=50, opacity=1).encode(
        y=alt.Y("accuracy:Q", **y), shape=alt.Shape("model:N", scale=shapes, legend=None)
    )
    ends = [{"confidence": 0.5, "accuracy": 0.5}, {"confidence": 1, "accuracy": 1}]
    diagonal = (
        alt.Chart(alt.InlineData(values=ends))
        .mark_line(strokeDash=[4, 3], color="var(--soft)", strokeWidth=1)
        .encode(x=alt.X("confidence:Q", scale=scale), y=alt.Y("accuracy:Q", **y))
    )
    return sized(alt.layer(diagonal, intervals, dots), 150)


def _sites(figures: Figures, sites: pl.DataFrame) -> None:
    """How many sites of each layer the fits on each source chose, a figure per model and intervention."""
    figures.data["sites"] = []
    keys = ["model", "intervention", "source", "layer"]
    counted = sites.group_by(keys, maintain_order=True).agg(pl.len().alias("chosen"), pl.col("accuracy").max())
    for index, ((model, intervention), rows) in enumerate(
        counted.group_by("model", "intervention", maintain_order=True)
    ):
        figures.data["sites"] += [{**row, "index": index} for row in rows.iter_rows(named=True)]
        figures.sites.append(
            Figure(
                f"figure-sites-{index}",
                f"{intervention}, {model}",
                "A row per source, a column per layer; the number is how many sites of the layer the fit chose.",
                _layers(index, sorted(rows["source"].unique()), int(rows["layer"].max())),
            )
        )


def _layers(index: int, sources: list[str], last: int) -> dict[str, Any]:
    base = (
        alt.Chart(data_source("sites"))
        .transform_filter(f"datum.index === {index}")
        .encode(
            x=alt.X("layer:O", scale=alt.Scale(domain=list(range(last + 1))), axis=alt.Axis(labelAngle=0)),
            y=alt.Y("source:N", sort=None, scale=alt.Scale(domain=sources), title=None, axis=alt.Axis(labelLimit=150)),
            tooltip=[
                alt.Tooltip("source:N"),
                alt.Tooltip("layer:O"),
                alt.Tooltip("chosen:Q", title="sites chosen"),
                alt.Tooltip("accuracy:Q", title="best on validation pairs", format=".3f"),
            ],
        )
    )
    depth = alt.Opacity("chosen:Q", scale=alt.Scale(range=[0.25, 0.75]), legend=None)
    cells = base.mark_rect(color="var(--model-0)").encode(opacity=depth)
    numbers = base.mark_text(fontSize=11, color="var(--ink)").encode(text="chosen:Q")
    return sized(alt.layer(cells, numbers), 20 * len(sources))


def _heads(figures: Figures, sites: pl.DataFrame) -> None:
    """How many sources chose each attention head, a figure per model and intervention that chooses heads."""
    figures.data["heads"] = []
    chosen = sites.filter(pl.col("head").is_not_null())
    for index, ((model, intervention), rows) in enumerate(
        chosen.group_by("model", "intervention", maintain_order=True)
    ):
        counted = rows.group_by("layer", "head").agg(pl.col("source").n_unique().alias("sources"), pl.max("accuracy"))
        figures.data["heads"] += counted.sort("layer", "head").with_columns(index=pl.lit(index)).to_dicts()
        figures.heads.append(
            Figure(
                f"figure-heads-{index}",
                f"{intervention}, {model}",
                "A row per layer, a column per attention head; the darker, the more sources chose the head.",
                _head_grid(index, int(rows["layer"].max()), int(rows["head"].max()), rows["source"].n_unique()),
            )
        )


def _head_grid(index: int, last_layer: int, last_head: int, sources: int) -> dict[str, Any]:
    heads, layers = list(range(last_head + 1)), list(range(last_layer, -1, -1))
    across = alt.Axis(labelAngle=0, labelOverlap=True, labelFontSize=10)
    up = alt.Axis(labelOverlap=True, labelFontSize=10)
    cells = (
        alt.Chart(data_source("heads"))
        .transform_filter(f"datum.index === {index}")
        .mark_rect(color="var(--model-0)")
        .encode(
            x=alt.X("head:O", scale=alt.Scale(domain=heads, paddingInner=0.06), axis=across),
            y=alt.Y("layer:O", scale=alt.Scale(domain=layers, paddingInner=0.06), axis=up),
            opacity=alt.Opacity("sources:Q", scale=alt.Scale(domain=[0, sources], range=[0.15, 1]), legend=None),
            tooltip=[
                alt.Tooltip("layer:O"),
                alt.Tooltip("head:O"),
                alt.Tooltip("sources:Q", title=f"sources of {sources}"),
                alt.Tooltip("accuracy:Q", title="best on validation pairs", format=".3f"),
            ],
        )
    )
    return sized(alt.layer(cells), max(40, 11 * len(layers)))


def _trainings(figures: Figures, training: pl.DataFrame) -> None:
    """Loss by step, one figure per model and trained intervention, in it a line per source."""
    figures.data["training"] = []
    for index, ((model, intervention), rows) in enumerate(
        training.group_by("model", "intervention", maintain_order=True)
    ):
        figures.data["training"] += [
            {**row, "index": index} for row in rows.select("source", "step", "loss").iter_rows(named=True)
        ]
        figures.training.append(
            Figure(
                f"figure-training-{index}",
                f"{intervention}, {model}",
                "A line per source: mean loss of each optimizer step, and the loss of guessing.",
                _training(index),
            )
        )


def _training(index: int) -> dict[str, Any]:
    base = alt.Chart(data_source("training")).transform_filter(f"datum.index === {index}")
    tooltip = [alt.Tooltip("source:N"), alt.Tooltip("step:Q"), alt.Tooltip("loss:Q", format=".3f")]
    lines = base.mark_line(strokeWidth=1.5, opacity=0.6, color="var(--model-0)").encode(
        x=alt.X("step:Q", axis=alt.Axis(grid=False, tickMinStep=1)),
        y=alt.Y("loss:Q", title="loss (nats per pair)", scale=alt.Scale(domainMin=0)),
        detail="source:N",
        tooltip=tooltip,
    )
    floor = (
        alt.Chart(alt.InlineData(values=[{"loss": math.log(2)}]))
        .mark_rule(strokeDash=[4, 3], color="var(--soft)")
        .encode(y="loss:Q")
    )
    return sized(alt.layer(floor, lines), 180)
