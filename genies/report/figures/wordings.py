"""Accuracy under other wordings of what a probe's views ask."""

from __future__ import annotations

from typing import Any

import polars as pl

from genies.report.drawing import Figure, Figures, Kind
from genies.report.figures._lines import lines, mean_rows
from genies.report.sensitivity import ON_SOURCE
from genies.report.subject import Subject

KIND = Kind(
    "sensitivity",
    rank=2,
    heading="Other wordings of the question",
    text="Mean accuracy of fits that are made and tested under the published wording of what a probe's views ask, and "
    "under others with the same sense: on the targets of the shifts, and on the sources' own test pairs. Intervals are "
    "for new shifts, where there are enough sources; between wordings of one probe, these share their shifts and "
    "examples. wording_variance.csv says how much of the variance is that of wordings, of seeds, and of examples.",
)
TARGETS, SOURCES = KINDS = ["targets of shifts", "sources' own test pairs"]
PUBLISHED = "published"


def draw(figures: Figures, subject: Subject) -> None:
    """A panel per probe, in it a point per wording for shifts and one for the sources themselves."""
    table = subject.tables["wordings"]
    figures.data["wordings"], figures.keys["wordings"] = [], KINDS
    for index, ((model, name), rows) in enumerate(table.group_by("model", "intervention", maintain_order=True)):
        numbers = rows["wording"].unique().sort().to_list()
        figures.data["wordings"] += [{**row, "index": index} for row in _rows(rows, numbers)]
        figures.add(
            "wordings",
            Figure(
                f"figure-wordings-{index}",
                f"{name}, {model}",
                "Points with 95 % intervals: mean accuracy by wording of the question; the dashed line is guessing.",
                lines("wordings", index, KINDS, [*map(_place, numbers)], "wording", joined=False),
            ),
        )


def _rows(rows: pl.DataFrame, numbers: list[int]) -> list[dict[str, Any]]:
    return [
        row
        for number in numbers
        for kind, on in ((TARGETS, ~ON_SOURCE), (SOURCES, ON_SOURCE))
        for row in mean_rows(kind, _place(number), rows.filter(on, wording=number))
    ]


def _place(number: int) -> str:
    return str(number) if number else PUBLISHED
