"""Accuracy by the number of training pairs."""

from __future__ import annotations

from typing import Any

import polars as pl

from genies.report.drawing import Figure, Figures, Kind
from genies.report.figures._lines import lines, mean_rows
from genies.report.sensitivity import ON_SOURCE, all_pairs, common_sizes
from genies.report.subject import Subject

KIND = Kind(
    "sensitivity",
    rank=0,
    heading="Fewer training pairs",
    text="Mean accuracy of fits on that many training pairs, drawn by seed, and on all of them: on the targets of the "
    "shifts, and on the sources' own test pairs. Intervals are for new shifts, where there are enough sources; "
    "learning_curves.csv has those for other draws and other test examples.",
)
TARGETS, SOURCES = KINDS = ["targets of shifts", "sources' own test pairs"]
ALL = "all"


def draw(figures: Figures, subject: Subject) -> None:
    """A panel per probe, in it a line for shifts and one for the sources themselves."""
    table = subject.tables["learning_curves"]
    figures.data["learning_curves"], figures.keys["learning_curves"] = [], KINDS
    for index, ((model, name), rows) in enumerate(table.group_by("model", "intervention", maintain_order=True)):
        sizes = common_sizes(rows)
        figures.data["learning_curves"] += [{**row, "index": index} for row in _rows(rows, sizes)]
        figures.add(
            "learning_curves",
            Figure(
                f"figure-learning-curves-{index}",
                f"{name}, {model}",
                "Lines with 95 % intervals: mean accuracy by number of training pairs; the dashed line is guessing.",
                lines("learning_curves", index, KINDS, [*map(str, sizes), ALL], "training pairs"),
            ),
        )


def _rows(rows: pl.DataFrame, sizes: list[int]) -> list[dict[str, Any]]:
    places = {**{str(size): rows.filter(size=size) for size in sizes}, ALL: all_pairs(rows)}
    return [
        row
        for place, of_size in places.items()
        for kind, cells in ((TARGETS, of_size.filter(~ON_SOURCE)), (SOURCES, of_size.filter(ON_SOURCE)))
        for row in mean_rows(kind, place, cells)
    ]
