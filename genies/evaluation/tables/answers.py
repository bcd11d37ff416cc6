"""The framing ``truthfulness``: what Yes and No score apart, and whether the better response is called truer."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from genies.data.framing import ANSWERS
from genies.evaluation.evaluations import PLACE
from genies.evaluation.metrics import correctness
from genies.evaluation.scored import Scored, scored
from genies.evaluation.table import Rows, Table

TABLE = Table(
    "answers.csv",
    {
        **dict.fromkeys(("model", "intervention", "source", "target"), pl.String),
        "items": pl.Int64,
        **dict.fromkeys(
            ("always_no", "accuracy_yes", "accuracy_no", "higher", "higher_low", "higher_high"), pl.Float64
        ),
    },
    optional=True,
    rows=Rows(PLACE),
)
"""Columns of ``answers.csv``: a row per cell whose pairs are questions.

``always_no`` is the accuracy of answering No throughout. ``higher`` is the share of (best, worse) responses of one
example of which the best has the higher probability of Yes, a tie being half; a bias towards one of the answers does
not change it. Its 95 % interval is that of an accuracy: over clusters of examples, and over seeds or sets of shots."""


def row(pairs: pl.DataFrame) -> dict[str, Any] | None:
    """The answers to the questions of one cell, as ``TABLE`` has them; None where its pairs are no questions."""
    if pairs["answer"].null_count() or pairs["probability"].null_count():
        return None
    yes = (pairs["answer"] == ANSWERS[0]).to_numpy()
    judged = scored(pairs)
    best, worse = _compared(pairs["example"].to_numpy(), yes)
    # The probability of Yes is that of the right answer, or its complement.
    said_yes = np.where(yes, judged.draws, 1 - judged.draws)
    higher = _as_pairs(judged, best, 0.5 * (1 + said_yes[:, best] - said_yes[:, worse]))
    low, high = higher.interval if len(best) else (None, None)
    return {
        "items": len(pairs),
        "always_no": float(np.mean(~yes)),
        "accuracy_yes": float(judged.correct[yes].mean()) if yes.any() else None,
        "accuracy_no": float(judged.correct[~yes].mean()) if not yes.all() else None,
        "higher": float(higher.correct.mean()) if len(best) else None,
        "higher_low": low,
        "higher_high": high,
    }


def _as_pairs(judged: Scored, best: np.ndarray, probability: np.ndarray) -> Scored:
    """Comparisons within examples as pairs of their best responses' examples, seeds and sets.

    Args:
        judged: what is said of the questions.
        best: rows of the best responses' questions, int64 (n,).
        probability: above ½ where the best response has the higher probability of Yes, under each seed; float (k, n).
    """
    sets = None if judged.drawn_set is None else judged.drawn_set[best]
    by_seed = None if judged.by_seed is None else probability
    correct = np.mean([correctness(drawn) for drawn in probability], axis=0)
    return Scored(correct, judged.cluster[best], probability.mean(axis=0), by_seed, drawn_set=sets)


def _compared(example: np.ndarray, yes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the best and of the worse response of every comparison within an example, int64 (n,) each."""
    good: dict[int, list[int]] = {}
    for row in np.flatnonzero(yes).tolist():
        good.setdefault(int(example[row]), []).append(row)
    compared = [(row, other) for other in np.flatnonzero(~yes).tolist() for row in good.get(int(example[other]), ())]
    best, worse = np.array(compared, np.int64).reshape(-1, 2).T
    return best, worse
