"""Accuracy by the number of labelled pairs of the target."""

from __future__ import annotations

from typing import Any

import polars as pl

from genies.evaluation.tables.few_labels import CHOICES, NONE, RANDOM, UNCERTAIN
from genies.report.drawing import Figure, Figures, Kind
from genies.report.figures._lines import lines, mean_rows
from genies.report.sensitivity import common_counts
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
    table = subject.tables["few_labels"]
    figures.data["few_labels"], figures.keys["few_labels"] = [], list(KINDS.values())
    for index, ((model, name), rows) in enumerate(table.group_by("model", "intervention", maintain_order=True)):
        counts = common_counts(rows)
        figures.data["few_labels"] += [{**row, "index": index} for row in _rows(rows, counts)]
        figures.add(
            "few_labels",
            Figure(
                f"figure-few-labels-{index}",
                f"{name}, {model}",
                "Lines with 95 % intervals: mean accuracy by the number of target pairs; the dashed line is guessing.",
                lines("few_labels", index, list(KINDS.values()), ["0", *map(str, counts)], "pairs of the target"),
            ),
        )


def _rows(rows: pl.DataFrame, counts: list[int]) -> list[dict[str, Any]]:
    none = rows.filter(chosen=NONE)
    return [
        row
        for choice in CHOICES
        for count in (0, *counts)
        for row in mean_rows(KINDS[choice], str(count), rows.filter(chosen=choice, examples=count) if count else none)
    ]
