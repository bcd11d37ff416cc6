"""Whether a run's tables can be shown: they are plain files, which people filter, join and edit.

Values that every run has must be there, no row may occur twice, and tables about the same things must not contradict
each other: a sentence made from them would claim what the run does not show. Cells that a run may leave
empty are not looked at here; the page shows a dash for them or leaves them out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from genies.errors import StoreError
from genies.evaluation.averages import ALL_LABELS, BLOCK, DISTINCT, EXAMPLES, NEW_SHIFTS
from genies.evaluation.evaluations import PLACE
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


@dataclass(frozen=True)
class Rule:
    """What the rows of a table must have.

    Attributes:
        keys: name a row; no two rows are alike in these.
        filled: columns that no row leaves empty.
        where: the rows that ``own`` is about, those in which this column is empty, or else all.
        own: columns that these rows do not leave empty either.
        repeats: whether rows may be alike in the keys after all.
    """

    keys: tuple[str, ...]
    filled: tuple[str, ...]
    where: str = ""
    own: tuple[str, ...] = ()
    repeats: bool = False


RULES: Mapping[str, Rule] = {
    "generalization_metrics": Rule(PLACE, (*PLACE, "label", "category", "generalization_accuracy")),
    "leaderboard": Rule(
        (*BLOCK, "intervention"), (*BLOCK, "intervention", "shifts", "entries", "generalization_accuracy")
    ),
    "comparisons": Rule(
        (*BLOCK, "source", "target", "intervention", "other"),
        (*METHOD, "other", "shifts", "difference", "verdict"),
        where="target",
        own=("label", "averaged_over"),
    ),
    "elicitation_by_category": Rule(
        ("model", "label", "category", "intervention"),
        ("model", "label", "category", "intervention", "shifts", "sources", "generalization_accuracy"),
    ),
    "intervals": Rule(PLACE, PLACE),
    "cells": Rule(PLACE, (*PLACE, "accuracy")),
    "reliability": Rule((*METHOD, "bin"), (*METHOD, "bin", "confidence", "accuracy", "pairs")),
    "seeds": Rule((*METHOD, "over", "source", "target"), (*METHOD, "over", "seeds")),
    "ties": Rule(PLACE, PLACE),
    "sets": Rule(PLACE, PLACE),
    "own_scores": Rule((*PLACE, "subset"), (*PLACE, "subset", "examples", "pairs", "accuracy")),
    "surface": Rule(PLACE, (*PLACE, "accuracy", "best")),
    "cues": Rule((*PLACE, "rival"), (*PLACE, "rival", "agree_pairs", "conflict_pairs", "undecided_pairs")),
    "moved": Rule((*PLACE, "rival"), (*PLACE, "base", "pairs", "before", "after", "difference", "verdict")),
    "nulls": Rule(PLACE, (*PLACE, "repeats", "low", "median", "high", "p", "p_adjusted", "accuracy")),
    "predictions": Rule(
        (*PLACE, "predictor"), (*PLACE, "predictor", "target_reference", "accuracy", "unrelated_shifts")
    ),
    "prediction_errors": Rule(
        ("model", "predictor", "intervention", "pairs"), ("model", "predictor", "shifts", "cells", "verdict")
    ),
    "prediction_alarms": Rule(
        ("model", "pairs", "below"), ("model", "predictor", "below", "cells", "others", "alarms")
    ),
    "learning_curves": Rule((*PLACE, "size"), (*PLACE, "size", "draws", "accuracy", "low", "high")),
    "few_labels": Rule(
        (*PLACE, "chosen", "examples"),
        (*PLACE, "chosen", "examples", "copies", "draws", "accuracy", "low", "high"),
    ),
    "wordings": Rule((*PLACE, "wording"), (*PLACE, "wording", "seeds", "accuracy", "low", "high")),
    "wording_variance": Rule(
        PLACE,
        (*METHOD, "shifts", "wordings", "seeds", "accuracy", "lowest", "highest"),
    ),
    "directions": Rule(
        ("model", "layer", "intervention", "source", "other", "other_source"),
        ("model", "layer", "intervention", "source", "other", "other_source", "agreement", "ceiling"),
    ),
    "direction_layers": Rule(
        (*METHOD, "layer"),
        (
            *METHOD,
            "layer",
            "sources",
            "own_accuracy",
            "effective",
            "effective_if_shared",
            "effective_if_unrelated",
            "p_related",
        ),
    ),
    "transfer": Rule((*PLACE, "layer"), (*PLACE, "layer", "predicted_accuracy", "accuracy", "remainder")),
    "erasure": Rule(
        PLACE, (*PLACE, "layer", "accuracy", "erased_accuracy", "loss", "random_loss", "random_loss_most", "draws", "p")
    ),
    "causal": Rule(
        ("model", "source", "target", "change", "strength"),
        (
            "model",
            "source",
            "target",
            "layer",
            "change",
            "texts",
            "lead",
            "effect",
            "random_effect",
            "random_low",
            "random_high",
            "draws",
            "p",
            "p_adjusted",
        ),
    ),
    "answers": Rule(PLACE, PLACE),
    "text_scores": Rule(PLACE, PLACE),
    "risk_coverage": Rule(PLACE, (*PLACE, "pairs", "accuracy_at_100", "area")),
    "best_of_n": Rule((*PLACE, "responses", "n"), (*PLACE, "responses", "n", "examples", "accuracy")),
    "claims": Rule(
        ("claim", "model", "figure", "over"),
        ("claim", "stated_for", "stated", "model", "figure", "recomputed", "over"),
    ),
    "texts": Rule(
        ("model", "distribution", "split", "intervention", "source"),
        ("model", "distribution", "split"),
        where="source",
        own=("examples", "available", "left_out", "shortened", "indistinct", "merged"),
    ),
    "checks": Rule(
        ("model", "distribution", "split"),
        ("model", "distribution", "split", "packed", "examples", "texts", "decisions", "decisions_changed"),
        repeats=True,
    ),
    "training": Rule((*METHOD, "source", "step"), (*METHOD, "source", "step", "loss")),
    "sites": Rule((*METHOD, "source", "layer", "head"), (*METHOD, "source", "layer")),
    "reward_models": Rule(
        (*METHOD, "source", "distribution"),
        (*METHOD, "source", "distribution", "format", "library", "texts", "elsewhere"),
    ),
    "costs": Rule(
        ("model", "stage", "intervention", "source", "distribution", "split"),
        ("model", "stage", "bytes"),
        repeats=True,
    ),
    "jobs": Rule(("rule", "model", "intervention", "job"), ("rule",), repeats=True),
    "overlap": Rule(
        ("source", "target"),
        ("source", "target", "examples", "seen", "same_prompt", "same_text", "other_label", "complete"),
    ),
}


def needed(table: str) -> frozenset[str]:
    """Columns of a table without which nothing can be said of a run; it may lack the others, as earlier ones do."""
    rule = RULES.get(table)
    return frozenset((*rule.keys, *rule.filled, *rule.own)) if rule else frozenset()


def check(frames: Mapping[str, pl.DataFrame], folder: Path, files: Mapping[str, str]) -> None:
    """Refuse tables that cannot be shown.

    Args:
        frames: tables by name.
        folder: where they were read from.
        files: names of their files, by their own.

    Raises:
        StoreError: names the file, the row (that of the header is row 1) and what is wrong with it.
    """
    for name, rule in RULES.items():
        frame = frames[name]
        for row, wrong in (*_empty(frame, rule), *_twice(frame, rule), *_odd_numbers(frame), *_odd_ends(frame)):
            raise _refusal(folder / files[name], frame, rule, row, wrong)
    if not len(frames["generalization_metrics"]):
        path = folder / files["generalization_metrics"]
        raise StoreError(f"{path}: has no rows, so there is nothing to show; {REMEDY}")
    for name, row, wrong in (*_verdicts(frames), *_strangers(frames), *_other_shifts(frames), *contradictions(frames)):
        raise _refusal(folder / files[name], frames[name], RULES[name], row, wrong)


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


def _refusal(path: Path, frame: pl.DataFrame, rule: Rule, row: int, wrong: str) -> StoreError:
    names = ", ".join(str(frame[name][row]) for name in rule.keys if frame[name][row] is not None)
    named = f" ({names[:LONGEST]}{'…' if len(names) > LONGEST else ''})" if names else ""
    return StoreError(f"{path}, row {row + 2}{named}: {wrong}; {REMEDY}")


def _empty(frame: pl.DataFrame, rule: Rule) -> Iterator[tuple[int, str]]:
    """Rows that leave empty what no run does."""
    of_these = pl.col(rule.where).is_null() if rule.where else pl.lit(True)
    for name in (*rule.filled, *rule.own):
        lacks = pl.col(name).is_null() & (of_these if name in rule.own else pl.lit(True))
        if (row := first(frame, lacks)) is not None:
            yield row, f"{name} is empty"


def _twice(frame: pl.DataFrame, rule: Rule) -> Iterator[tuple[int, str]]:
    """Rows that repeat an earlier one."""
    if not rule.repeats and (row := first(frame, ~pl.struct(rule.keys).is_first_distinct())) is not None:
        yield row, f"an earlier row has the same {', '.join(rule.keys)}"


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
