"""Mean elicitation by category."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from genies.evaluation.averages import EXAMPLES, NEW_SHIFTS
from genies.report.drawing import (
    Figure,
    Figures,
    Kind,
    dashes,
    dots,
    dots_height,
    group_name,
    interval_tips,
    rows_of,
    sized,
    tip,
    words,
)
from genies.report.subject import Subject
from genies.report.words import counted

KIND = Kind("categories", rank=0)

LIMIT = 1.25
"""Where the axis of elicitation ends; intervals over few shifts reach beyond."""
OVER = {NEW_SHIFTS: "for new shifts", EXAMPLES: "for new examples"}


def draw(figures: Figures, subject: Subject) -> None:
    """Mean elicitation of each intervention, one figure per category; none where no capability is known."""
    known = subject.tables["elicitation_by_category"].filter(pl.col("elicitation").is_not_null())
    figures.data["categories"] = []
    for index, ((label, category), rows) in enumerate(known.group_by("label", "category", maintain_order=True)):
        figures.data["categories"] += [{**row, "index": index} for row in rows.iter_rows(named=True)]
        over = rows.filter(pl.col("elicitation_low").is_not_null())["interval_over"].unique(maintain_order=True)
        kinds = " and ".join(OVER[kind] for kind in over)
        intervals = f" with 95 % intervals {kinds}" if kinds else ""
        figures.add(
            "categories",
            Figure(
                f"figure-category-{index}",
                f"{group_name(label, category)} ({counted(max(rows['shifts']), 'shift')})",
                f"Dots{intervals}: mean elicitation of each intervention.",
                _category(index, subject.models, subject.order),
                note=_note(max(rows["shifts"]), max(rows["sources"]), over.to_list()),
            ),
        )


def _note(shifts: int, sources: int, over: list[str]) -> str:
    """What a category says where it has no interval for new shifts; else nothing."""
    if NEW_SHIFTS in over:
        return ""
    of = "" if shifts == 1 else f" of {counted(sources, 'source')}"
    if EXAMPLES not in over:
        return f"{counted(shifts, 'shift')}{of}: too few for an interval."
    return f"{counted(shifts, 'shift')}{of}: too few for an interval for new shifts. Dashed: new examples."


def _category(index: int, models: list[str], order: list[str]) -> dict[str, Any]:
    tooltip = [
        *words("model", "intervention"),
        tip("elicitation", "mean elicitation"),
        *interval_tips("elicitation"),
        tip("random_elicitation", "guessing elicits"),
        alt.Tooltip("shifts:Q"),
    ]
    axis = alt.Axis(values=[0, 0.25, 0.5, 0.75, 1, 1.25], format=".4~f", grid=True)
    x = alt.X("elicitation_low:Q", title="elicitation", scale=alt.Scale(domain=[0, LIMIT]), axis=axis)
    base = rows_of("categories", index)
    # Capability, and so what guessing elicits, differs between models: a band from the least to the most of them.
    band = base.mark_rect(color="var(--soft)", opacity=0.25).encode(
        x=alt.X("min(random_elicitation):Q"), x2=alt.X2("max(random_elicitation)")
    )
    line = base.mark_rule(strokeDash=[4, 3], color="var(--soft)").encode(x=alt.X("mean(random_elicitation):Q"))
    intervals, marks = dots(base, "elicitation", x, models, order, tooltip)
    return sized(
        [band, line, intervals.encode(strokeDash=dashes("interval_over:N")), marks], dots_height(models, order)
    )
