"""Which method has the highest mean accuracy, and whether its lead is noise, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from genies.evaluation.averages import EXAMPLES
from genies.evaluation.metrics import BASELINE
from genies.evaluation.tables.comparisons import HIGHER, LOWER, NOT_TESTED
from genies.evaluation.uncertainty import supports_new_shifts
from genies.report.intervals import TOO_FEW_SOURCES, of_mean
from genies.report.words import ROUNDING, counted, number, span

METRIC = "generalization_accuracy"

Row = Mapping[str, Any]


def best_method(block: list[Row], comparisons: pl.DataFrame, of: str = "", base: Sequence[Row] = ()) -> str:
    """Which of these interventions has the highest mean accuracy, and whether its lead is noise.

    Args:
        block: rows of the leaderboard.
        comparisons: over the same shifts.
        of: which methods these are, where there are others.
        base: the row of the untouched model, which every best method is compared with.
    """
    best, equally = block[0], equal(block, METRIC)
    name, shifts = best["intervention"], counted(best["shifts"], "shift")
    accuracy = of_mean(best, METRIC, chance=True)
    if len(block) == 1:
        text = f"{name} is the only method{of.removeprefix('methods')}; its mean accuracy over {shifts} is {accuracy}."
    else:
        whose = f"Of the {of}, {have(equally)}" if of else have(equally)
        text = f"{whose} the highest mean accuracy over {shifts}: {accuracy}."
    if not supports_new_shifts(best["degrees_of_freedom"]):
        text += f" {TOO_FEW_SOURCES}"
    over = sorted({row["shifts"] for row in block})
    if len(over) > 1:
        text += (
            f" The methods were tested on different shifts, {over[0]} to {over[-1]} of them, so their means differ for "
            "that reason, too."
        )
    behind = [row for row in block if row["intervention"] not in equally]
    others = {row["intervention"]: row[METRIC] for row in behind}
    whose = "its" if len(equally) == 1 else f"{name}'s"
    runner_up = list(others)[:1]
    others |= {row["intervention"]: row[METRIC] for row in base if row not in block}
    for other in dict.fromkeys([*runner_up, *(one for one in others if one == BASELINE)]):
        who = f"the runner-up, {other}" if other in runner_up else other
        named = f"{who} (the untouched model, {number(others[other])})," if other == BASELINE else f"{who},"
        text += f" {_lead(comparisons, name, other, named, whose)}"
    return text + _equals(behind, comparisons)


def equal(rows: Sequence[Row], name: str) -> list[str]:
    """The methods that have the figure of the first row."""
    return [row["intervention"] for row in rows if abs(row[name] - rows[0][name]) < ROUNDING]


def have(names: list[str]) -> str:
    """Subject and verb: ``mms has``, ``mms and lora have``."""
    return f"{names[0]} has" if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} have"


def _equals(others: Sequence[Row], comparisons: pl.DataFrame) -> str:
    """How many other methods may be the best one, too, where it is more than one; nothing where none was tested."""
    tested = len(comparisons.filter(pl.col("verdict") != NOT_TESTED))
    equals = sum(bool(row["may_be_best"]) for row in others) if tested else 0
    if 1 < equals == len(others):
        return f" None of the {len(others)} other methods is shown to be worse."
    return f" {equals} of the {len(others)} other methods may be as good." if equals > 1 else ""


def _lead(comparisons: pl.DataFrame, best: str, other: str, who: str, whose: str) -> str:
    """Whether the lead of the best intervention over another one is more than noise.

    On the shifts that both were tested on it may be behind.
    """
    either = pl.col("intervention").is_in([best, other]) & pl.col("other").is_in([best, other])
    rows = comparisons.filter(either).to_dicts()
    if not rows:
        return f"It was not compared with {other}."
    row = rows[0]
    sign = 1 if rows[0]["intervention"] == best else -1
    behind = sign * row["difference"] < -ROUNDING
    sign = -sign if behind else sign
    ends = ""
    if row["low"] is not None and row["verdict"] != NOT_TESTED:
        low, high = sorted((sign * row["low"], sign * row["high"]))
        over = "for new examples of these shifts" if row["interval_over"] == EXAMPLES else "for new shifts"
        ends = f" ({span(low, high)}, {over})"
    gap = f"{number(sign * row['difference'])}{ends}"
    shifts = f"on the {counted(row['shifts'], 'shift')} that both were tested on,"
    what = f"distance of {gap} behind {who} {shifts}" if behind else f"lead of {gap} over {who}"
    if row["verdict"] == NOT_TESTED:
        why = f": {row['remark']}" if row["remark"] else ", and its table does not say why"
        return f"Whether {whose} {what} is noise is not known{why}."
    noise = "is more than noise" if row["verdict"] in (HIGHER, LOWER) else "may be noise"
    return f"{'Its' if whose == 'its' else whose} {what} {noise}."
