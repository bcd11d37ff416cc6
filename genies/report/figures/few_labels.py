"""Accuracy by the number of labelled pairs of the target."""

from __future__ import annotations

from typing import Any

import polars as pl

from genies.evaluation.tables.few_labels import CHOICES, NONE, RANDOM, UNCERTAIN
from genies.report.drawing import Figures, Kind
from genies.report.figures._lines import mean_rows, panels
from genies.report.sensitivity import ON_SOURCE, common_counts
from genies.report.subject import Subject

KIND = Kind(
    "sensitivity",
    rank=1,
    heading="A few labels of the target",
    text="Mean accuracy on the targets of shifts when so many pairs of the target's training split are mixed into the "
    "source's training pairs: drawn at random, or those between which the fit on the source is least sure. Intervals "
    "are for new shifts, where there are enough sources. How often each pair counts is the column copies of "
    "few_labels.csv.",
)
KINDS = {RANDOM: "at random", UNCERTAIN: "least sure"}


def draw(figures: Figures, subject: Subject) -> None:
    """A panel per probe, in it a line per choice."""
    varied = ("the number of target pairs", "pairs of the target")
    labels = subject.tables["few_labels"].filter(~ON_SOURCE)
    panels(figures, labels, "few_labels", list(KINDS.values()), _points, varied)


def _points(rows: pl.DataFrame) -> tuple[list[str], list[dict[str, Any]]]:
    none, counts = rows.filter(chosen=NONE), (0, *common_counts(rows))
    return [*map(str, counts)], [
        row
        for choice in CHOICES
        for count in counts
        for row in mean_rows(KINDS[choice], str(count), rows.filter(chosen=choice, examples=count) if count else none)
    ]
