"""Which cue a method follows: its accuracy where a rival rule is right, and where that rule is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from genies.evaluation.evaluations import PLACE
from genies.evaluation.metrics import BASELINE, NULL
from genies.evaluation.scored import Key, Scored
from genies.evaluation.table import Rows, Table

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

TABLE = Table(
    "cues.csv",
    {
        **dict.fromkeys(("model", "intervention", "source", "target", "rival"), pl.String),
        **{
            f"{part}_{column}": pl.Int64 if column == "pairs" else pl.Float64
            for part in ("agree", "conflict")
            for column in ("pairs", "accuracy", "low", "high")
        },
        "undecided_pairs": pl.Int64,
        **dict.fromkeys(("follows", "follows_low", "follows_high"), pl.Float64),
    },
    optional=True,
    rows=Rows((*PLACE, "rival"), ("agree_pairs", "conflict_pairs", "undecided_pairs")),
)
"""Columns of ``cues.csv``: a row per method, shift and rival rule, a surface baseline fitted on the same source, or
``zero_shot``, which is likelihood under the untouched model. ``agree`` is about the test pairs that the rival ranks
right, so that it agrees with the intended rule, ``conflict`` about those that it ranks wrong; it has no preference on
``undecided_pairs``. ``follows`` is the share of the other pairs that the method ranks as the rival does, which is high
for every good method where the rival is mostly right. A method that has learned the intended rule is as accurate on
either part; one that has learned the rival's cue is wrong where the two conflict."""


def rows(run: Measurements) -> pl.DataFrame:
    rivals = run.surface["intervention"].unique(maintain_order=True).to_list() if len(run.surface) else []
    return cues(run.metrics, run.scores, [*rivals, BASELINE])


def cues(metrics: pl.DataFrame, scores: Mapping[Key, Scored], rivals: Sequence[str]) -> pl.DataFrame:
    """Accuracies of methods on the two parts of every target, columns as in ``TABLE``.

    Args:
        metrics: of methods, as in ``tables.generalization_metrics.TABLE``.
        scores: how right every pair was ranked; shifts on which that is not known are left out.
        rivals: names of the interventions whose rules are rivals.
    """
    methods = metrics.filter(pl.col("intervention") != NULL)
    shifts = methods.select("model", "intervention", "source", "target").unique(maintain_order=True)
    found = []
    for model, intervention, source, target in shifts.iter_rows():
        own = scores.get((model, intervention, source, target))
        for rival in rivals:
            rule = scores.get((model, rival, source, target))
            if rival == intervention or own is None or rule is None or not np.array_equal(own.cluster, rule.cluster):
                continue
            names = {"model": model, "intervention": intervention, "source": source, "target": target, "rival": rival}
            found.append({**names, **split_by_rule(own, rule.correct)})
    return TABLE.frame(found)


def split_by_rule(scored: Scored, rule: np.ndarray) -> dict[str, Any]:
    """Accuracy of an intervention where a rule is right and where it is wrong, as ``TABLE`` has it.

    Args:
        scored: what the intervention says of the pairs.
        rule: how right the rule ranks each of them, float64 (n,); above ½ it counts as right, below as wrong.
    """
    columns: dict[str, Any] = {"undecided_pairs": int(np.count_nonzero(rule == 0.5))}
    for name, part in (("agree", rule > 0.5), ("conflict", rule < 0.5)):
        columns[f"{name}_pairs"] = int(np.count_nonzero(part))
        if part.any():
            columns |= _measured(f"{name}_accuracy", name, scored.where(part))
    if len((followed := followed_rule(scored, rule)).correct):
        columns |= _measured("follows", "follows", followed)
    return columns


def followed_rule(scored: Scored, rule: np.ndarray) -> Scored:
    """What an intervention says of the pairs on which a rule has a preference, as if the rule were right on all.

    Args:
        scored: what it says of the pairs.
        rule: how right the rule ranks each of them, float64 (n,).
    """
    right = rule > 0.5
    by_seed = None if scored.by_seed is None else np.where(right, scored.by_seed, 1 - scored.by_seed)
    correct = np.where(right, scored.correct, 1 - scored.correct)
    probability = np.where(right, scored.probability, 1 - scored.probability)
    return replace(scored, correct=correct, probability=probability, by_seed=by_seed).where(rule != 0.5)


def _measured(column: str, name: str, scored: Scored) -> dict[str, float]:
    low, high = scored.interval
    return {column: float(scored.correct.mean()), f"{name}_low": low, f"{name}_high": high}
