"""Whether a run's tables can be shown: they are plain files, which people filter, join and edit.

Values that every run has must be there, no row may occur twice, and tables about the same things must not contradict
each other: a sentence made from them would claim what the run does not show. Cells that a run may leave
empty are not looked at here; the page shows a dash for them or leaves them out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from genies.errors import StoreError
from genies.evaluation.averages import ALL_LABELS, DISTINCT, EXAMPLES, NEW_SHIFTS
from genies.evaluation.table import Rows, Table
from genies.evaluation.tables.comparisons import NOT_TESTED, VERDICTS
from genies.evaluation.tables.elicitation_by_category import MEANS
from genies.report.contradictions import contradictions, first
from genies.report.words import counted

REMEDY = "restore the tables, or delete them and make them again"
METHOD = ("model", "intervention")
SHARES = (
    "generalization_accuracy", "baseline_accuracy", "source_ID_accuracy", "target_tuned_capability", "accuracy",
    "calibration_error", "brier", "confidence", "p_adjusted", "before", "after",
    "auroc", "pair_accuracy", "recall_5", "recall_1", "false_positives_5", "false_positives_1", "area",
)  # fmt: skip
"""Columns of any table that lie within 0 and 1, as do the ends of their intervals."""
LONGEST = 60
"""Characters of a row's names that an error shows."""


def check(frames: Mapping[str, pl.DataFrame], folder: Path, tables: Mapping[str, Table]) -> None:
    """Refuse tables that cannot be shown.

    Args:
        frames: tables by name.
        folder: where they were read from.
        tables: their declarations, by their names.

    Raises:
        StoreError: names the file, the row (that of the header is row 1) and what is wrong with it.
    """
    for name, table in tables.items():
        for row, wrong in _wrong(frames[name], table.rows) if table.rows else ():
            raise _refusal(folder, table, frames[name], row, wrong)
    if not len(frames["generalization_metrics"]):
        path = folder / tables["generalization_metrics"].file
        raise StoreError(f"{path}: has no rows, so there is nothing to show; {REMEDY}")
    for name, row, wrong in (*_verdicts(frames), *_strangers(frames), *_other_shifts(frames), *contradictions(frames)):
        raise _refusal(folder, tables[name], frames[name], row, wrong)


def check_samples(samples: Any, path: Path) -> None:
    """Refuse samples that cannot be shown: what ``samples.json`` holds.

    Raises:
        StoreError: names the file and the target.
    """
    if not isinstance(samples, dict):
        raise StoreError(f"{path}: is not as the workflow writes it; restore it, or delete it and make it again")
    for target, sample in samples.items():
        if not _can_be_shown(sample):
            raise StoreError(
                f"{path}: {target} is not as the workflow writes it; restore it, or delete it and make it again"
            )


def _can_be_shown(sample: Any) -> bool:
    if not isinstance(sample, dict) or not all(isinstance(sample.get(name), list) for name in ("columns", "pairs")):
        return False
    columns, pairs = sample["columns"], sample["pairs"]
    return all(isinstance(column, list) and len(column) == 3 for column in columns) and all(
        isinstance(pair, dict)
        and all(isinstance(pair.get(name), str) for name in ("prompt", "best", "worse"))
        and isinstance(pair.get("verdicts"), list)
        and len(pair["verdicts"]) == len(columns)
        for pair in pairs
    )


def _refusal(folder: Path, table: Table, frame: pl.DataFrame, row: int, wrong: str) -> StoreError:
    keys = table.rows.keys if table.rows else ()
    names = ", ".join(str(frame[name][row]) for name in keys if frame[name][row] is not None)
    named = f" ({names[:LONGEST]}{'…' if len(names) > LONGEST else ''})" if names else ""
    return StoreError(f"{folder / table.file}, row {row + 2}{named}: {wrong}; {REMEDY}")


def _wrong(frame: pl.DataFrame, rows: Rows) -> Iterator[tuple[int, str]]:
    yield from _empty(frame, rows)
    yield from _twice(frame, rows)
    yield from _odd_numbers(frame)
    yield from _odd_ends(frame)


def _empty(frame: pl.DataFrame, rows: Rows) -> Iterator[tuple[int, str]]:
    """Rows that leave empty what no run does."""
    of_these = pl.col(rows.where).is_null() if rows.where else pl.lit(True)
    for name in (*rows.present, *rows.own):
        lacks = pl.col(name).is_null() & (of_these if name in rows.own else pl.lit(True))
        if (row := first(frame, lacks)) is not None:
            yield row, f"{name} is empty"


def _twice(frame: pl.DataFrame, rows: Rows) -> Iterator[tuple[int, str]]:
    """Rows that repeat an earlier one."""
    if not rows.repeats and (row := first(frame, ~pl.struct(rows.keys).is_first_distinct())) is not None:
        yield row, f"an earlier row has the same {', '.join(rows.keys)}"


def _odd_numbers(frame: pl.DataFrame) -> Iterator[tuple[int, str]]:
    """Numbers that a share or a count cannot have."""
    for name, kind in frame.schema.items():
        stem = name.removesuffix("_low").removesuffix("_high").removesuffix("_examples")
        if kind.is_float() and stem in SHARES and (row := first(frame, ~pl.col(name).is_between(0, 1))) is not None:
            yield row, f"{name} is {frame[name][row]:g}, which does not lie within 0 and 1"
        if kind.is_integer() and (row := first(frame, pl.col(name) < 0)) is not None:
            yield row, f"{name} is {frame[name][row]}, which is below 0"


def _odd_ends(frame: pl.DataFrame) -> Iterator[tuple[int, str]]:
    """Intervals with one end, or with their ends in the wrong order."""
    for low in frame.columns:
        high = f"{low.removesuffix('low')}high"
        if not low.endswith("low") or high not in frame.columns:
            continue
        if (row := first(frame, pl.col(low).is_null() != pl.col(high).is_null())) is not None:
            yield row, f"of {low} and {high} one is empty"
        if (row := first(frame, pl.col(low) > pl.col(high))) is not None:
            yield row, f"{low} is larger than {high}"


def _verdicts(frames: Mapping[str, pl.DataFrame]) -> Iterator[tuple[str, int, str]]:
    """Verdicts that there are none of, or that have no p-value to rest on, and intervals that are for nothing known."""
    verdict, known = pl.col("verdict"), pl.col("p_adjusted").is_not_null()
    if (row := first(frames["comparisons"], ~verdict.is_in(VERDICTS))) is not None:
        yield "comparisons", row, f"verdict is none of {', '.join(VERDICTS)}"
    over = pl.col("interval_over")
    ends = {"comparisons": ("low",), "elicitation_by_category": [f"{name}_low" for name in MEANS]}
    for name, columns in ends.items():
        shown = pl.any_horizontal(pl.col(columns).is_not_null())
        odd = shown & ~over.is_in([NEW_SHIFTS, EXAMPLES]).fill_null(False)
        if (row := first(frames[name], odd)) is not None:
            yield name, row, f'interval_over must be "{NEW_SHIFTS}" or "{EXAMPLES}" where there is an interval'
    if (row := first(frames["comparisons"], known != (verdict != NOT_TESTED))) is not None:
        yield "comparisons", row, f'p_adjusted must be empty where the verdict is "{NOT_TESTED}", and only there'


def _strangers(frames: Mapping[str, pl.DataFrame]) -> Iterator[tuple[str, int, str]]:
    """Rows about a model and intervention that another table, which must have it, lacks."""
    metrics, board = "generalization_metrics", "leaderboard"
    overall = frames[board].filter(label=ALL_LABELS, averaged_over=DISTINCT)
    known = frames[metrics].select(METHOD).unique()
    others = ("leaderboard", "comparisons", "elicitation_by_category", "reliability")
    for name, must, of, where in (
        *((name, known, "intervention", metrics) for name in others),
        ("comparisons", known, "other", metrics),
        (metrics, overall.select(METHOD), "intervention", board),
    ):
        keys = ["model", of]
        theirs = must.rename({"intervention": of}).with_columns(there=pl.lit(True))
        joined = frames[name].join(theirs, on=keys, how="left", maintain_order="left")
        if (row := first(joined, pl.col("there").is_null())) is not None:
            stranger = f"this {of} ({frames[name][of][row]})"
            has_others = where == board and len(frames[board].filter(intervention=frames[name][of][row]))
            if has_others:
                lacking = f'label "{ALL_LABELS}" and averaged_over "{DISTINCT}"'
                yield name, row, f"{where}.csv has no row of {lacking} of {stranger}; keep those rows"
            else:
                yield name, row, f"{where}.csv has no row of {stranger}; filter all tables alike"


def _other_shifts(frames: Mapping[str, pl.DataFrame]) -> Iterator[tuple[str, int, str]]:
    """Means over other numbers of shifts than there are."""
    metrics, board = frames["generalization_metrics"], frames["leaderboard"]
    over_all = metrics.with_columns(label=pl.lit(ALL_LABELS))
    counts = pl.concat([metrics, over_all]).group_by(*METHOD, "label").agg(pl.len().alias("there"))
    joined = board.join(counts, on=[*METHOD, "label"], how="left", maintain_order="left")
    other = (pl.col("averaged_over") == DISTINCT) & pl.col("shifts").ne_missing(pl.col("there"))
    if (row := first(joined, other)) is not None:
        found = joined["there"][row] or 0
        mean = f"is a mean over {counted(board['shifts'][row], 'shift')}"
        yield "leaderboard", row, f"{mean}, but generalization_metrics.csv has {found} of them"
