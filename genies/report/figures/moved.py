"""How far each probe moved from a base to a tuned model, by the labels and by every rival rule."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from genies.evaluation.tables.comparisons import HIGHER, LOWER
from genies.report.drawing import (
    CORRELATION_STEPS,
    Figure,
    Figures,
    Kind,
    colored_cells,
    rows_of,
    sized,
    tip,
    words,
)
from genies.report.figures._cells import of_shifts
from genies.report.subject import Subject

KIND = Kind(
    "cues",
    rank=1,
    heading="Which direction moved",
    text="Differences between a probe on a tuned model and the same probe on the model that it was tuned from: of its "
    "accuracy, and of the share of pairs that it ranks as a rival rule does. A star marks what is more than noise, "
    "judged together for all probes on the shift. All numbers are in moved.csv.",
    panels=False,
)
BY_LABELS = "accuracy"
TIPS = {
    "before": "before",
    "after": "after",
    "difference": "difference",
    "difference_low": "95 % from",
    "difference_high": "95 % to",
    "score_correlation": "correlation of scores",
}


def draw(figures: Figures, subject: Subject) -> None:
    """One figure per tuned model and probe: a row per shift, a column for accuracy and for every rival."""
    figures.data["moved"] = []
    beyond = pl.col("verdict").is_in([HIGHER, LOWER])
    table = subject.tables["moved"].with_columns(
        rule=pl.col("rival").fill_null(BY_LABELS),
        shift=pl.concat_str("source", "target", separator=" → "),
        star=pl.when(beyond).then(pl.lit("*")).otherwise(pl.lit("")),
    )
    for index, ((model, name), rows) in enumerate(table.group_by("model", "intervention", maintain_order=True)):
        columns = ["intervention", "shift", "rule", "star", "pairs", *TIPS]
        own = rows.select(columns).with_columns(pl.selectors.float().round(4))
        figures.data["moved"] += [{**row, "index": index} for row in own.iter_rows(named=True)]
        shifts, rules = (own[column].unique(maintain_order=True).to_list() for column in ("shift", "rule"))
        title = f"{name}: {rows['base'][0]} → {model}"
        described = "A row per shift; a column for the accuracy, and one for each rival that the probe may follow."
        figures.add("moved", Figure(f"figure-moved-{index}", title, described, _layers(index, shifts, rules)))


def _layers(index: int, shifts: list[str], rules: list[str]) -> dict[str, Any]:
    tips = (tip(name, title) for name, title in TIPS.items())
    tooltip = [*words("intervention", "shift", "rule"), *tips, alt.Tooltip("pairs:Q")]
    base = of_shifts(rows_of("moved", index), "rule", rules, shifts, tooltip)
    cells = colored_cells(base, "difference", CORRELATION_STEPS, mark="star")
    return sized(cells, 20 * len(shifts), independent=["color"])
