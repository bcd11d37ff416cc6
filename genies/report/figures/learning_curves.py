"""Accuracy by the number of training pairs."""

from __future__ import annotations

from typing import Any

import polars as pl

from genies.report.drawing import Figures, Kind
from genies.report.figures._lines import mean_rows, panels
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
    varied = ("number of training pairs", "training pairs")
    panels(figures, subject.tables["learning_curves"], "learning_curves", KINDS, _points, varied)


def _points(rows: pl.DataFrame) -> tuple[list[str], list[dict[str, Any]]]:
    places = {**{str(size): rows.filter(size=size) for size in common_sizes(rows)}, ALL: all_pairs(rows)}
    return [*places], [
        row
        for place, of_size in places.items()
        for kind, cells in ((TARGETS, of_size.filter(~ON_SOURCE)), (SOURCES, of_size.filter(ON_SOURCE)))
        for row in mean_rows(kind, place, cells)
    ]
