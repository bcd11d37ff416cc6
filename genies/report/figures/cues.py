"""How accurate each method is where a rival rule is wrong, shift by shift."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from genies.report.drawing import ACCURACY_STEPS, Figure, Figures, Kind, colored_cells, rows_of, sized, tip, words
from genies.report.figures._cells import of_shifts
from genies.report.subject import Subject

KIND = Kind("cues", rank=0, panels=False)
TIPS = {
    "conflict_accuracy": "accuracy where the rival is wrong",
    "conflict_low": "95 % from",
    "conflict_high": "95 % to",
    "agree_accuracy": "accuracy where it is right",
    "follows": "ranked alike",
}


def draw(figures: Figures, subject: Subject) -> None:
    """Accuracy where the rival is wrong, one figure per model and rival: a row per shift, a column per method."""
    figures.data["cues"] = []
    columns = ["model", "intervention", "source", "target", "rival", *TIPS, "agree_pairs", "conflict_pairs"]
    table = subject.tables["cues"].drop_nulls("conflict_accuracy").select(columns)
    for index, ((model, rival), rows) in enumerate(table.group_by("model", "rival", maintain_order=True)):
        shifts = [f"{source} → {target}" for source, target in _places(rows)]
        figures.data["cues"] += [
            {**row, "index": index, "shift": f"{row['source']} → {row['target']}"}
            for row in rows.with_columns(pl.selectors.float().round(4)).iter_rows(named=True)
        ]
        known = set(rows["intervention"])
        figures.add(
            "cues",
            Figure(
                f"figure-cues-{index}",
                f"{rival}, {model}",
                f"A row per shift, a column per method: its accuracy on the pairs that {rival} ranks wrong.",
                _layers(index, shifts, [name for name in subject.order if name in known]),
            ),
        )


def _places(rows: pl.DataFrame) -> list[tuple[str, str]]:
    return list(rows.select("source", "target").unique(maintain_order=True).iter_rows())


def _layers(index: int, shifts: list[str], methods: list[str]) -> dict[str, Any]:
    tooltip = [
        *words("intervention", "shift"),
        *(tip(name, title) for name, title in TIPS.items()),
        alt.Tooltip("agree_pairs:Q", title="pairs on which it is right"),
        alt.Tooltip("conflict_pairs:Q", title="pairs on which it is wrong"),
    ]
    base = of_shifts(rows_of("cues", index), "intervention", methods, shifts, tooltip)
    return sized(colored_cells(base, "conflict_accuracy", ACCURACY_STEPS), 20 * len(shifts), independent=["color"])
