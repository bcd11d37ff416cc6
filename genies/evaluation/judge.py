"""What a fitted intervention says of the pairs of a target, checked, as rows of an evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from genies.data.reading import SplitPairs
from genies.errors import StoreError
from genies.interventions.base import Intervention, Pairs

if TYPE_CHECKING:
    import polars as pl

    from genies.interventions.text import TextPairs


def checked_prediction(
    intervention: Intervention, pairs: Pairs | TextPairs, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Probability that the first response is the better one, float64 (n,), and scores of both, float64 (n, 2).

    Args:
        intervention: fitted.
        pairs: n pairs.
        where: what they are, for messages.

    Raises:
        StoreError: the intervention gives something that is no probability, or no score.
    """
    return _checked(intervention, *intervention.predict(pairs), len(pairs), where)


def _checked(
    intervention: Intervention, probability: np.ndarray, scores: np.ndarray, count: int, where: str
) -> tuple[np.ndarray, np.ndarray]:
    probability, scores = (np.asarray(values, np.float64) for values in (probability, scores))
    name = type(intervention).__name__
    if probability.shape != (count,) or scores.shape != (count, 2):
        raise StoreError(f"{name} on {where}: gives shapes {probability.shape}, {scores.shape} for {count} pairs")
    if not (np.all(probability >= 0) and np.all(probability <= 1)) or np.isnan(scores).any():
        raise StoreError(f"{name} on {where}: gives a probability outside [0, 1] or a score that is not a number")
    return probability, scores


def checked_repeats(intervention: Intervention, pairs: Pairs | TextPairs, where: str) -> np.ndarray | None:
    """Probabilities when what the fit drew is drawn again, float64 (k, n); None where it draws nothing.

    Raises:
        StoreError: as ``checked_prediction``.
    """
    repeats = intervention.predict_repeats(pairs)
    if repeats is None:
        return None
    repeats = np.asarray(repeats, np.float64)
    if repeats.ndim != 2 or repeats.shape[1] != len(pairs) or not np.all((repeats >= 0) & (repeats <= 1)):
        raise StoreError(f"{type(intervention).__name__} on {where}: its repeats are no probabilities of the pairs")
    return repeats


def places(target: SplitPairs) -> dict[str, Any]:
    """What says which pair a row is about: columns target, example, pair, cluster and answer of ``PAIR_COLUMNS``."""
    numbers = np.array([target.framed.place(pair) for pair in target.pairs], np.int64).reshape(-1, 2)
    return {
        "target": [target.name] * len(numbers),
        "example": numbers[:, 0],
        "pair": numbers[:, 1],
        "cluster": target.cluster,
        "answer": [target.framed.answer(pair) for pair in target.pairs],
    }


def judge(intervention: Intervention, pairs: Pairs | TextPairs, target: SplitPairs) -> pl.DataFrame:
    """A row per test pair, columns as in ``genies.evaluation.evaluations.PAIR_COLUMNS``.

    Args:
        intervention: fitted.
        pairs: the target's pairs as the intervention reads them, in the target's order.
        target: what they are.

    Raises:
        StoreError: the intervention gives something that is no probability, or no score.
    """
    probability, scores = intervention.predict(pairs)
    return judged(intervention, probability, scores, pairs, target)


def judged(
    intervention: Intervention,
    probability: np.ndarray,
    scores: np.ndarray,
    pairs: Pairs | TextPairs,
    target: SplitPairs,
) -> pl.DataFrame:
    """The same for what ``predict`` has said of the pairs: probabilities (n,), and scores (n, 2)."""
    import polars as pl

    from genies.evaluation.evaluations import PAIR_COLUMNS

    probability, scores = _checked(intervention, probability, scores, len(pairs), target.name)
    repeats = checked_repeats(intervention, pairs, target.name)
    sets = intervention.drawn_sets(pairs)
    first, nothing = target.best_first, [None] * len(pairs)
    return pl.DataFrame(
        {
            **places(target),
            "probability": np.where(first, probability, 1 - probability),
            "score_best": np.where(first, scores[:, 0], scores[:, 1]),
            "score_worse": np.where(first, scores[:, 1], scores[:, 0]),
            "repeated_over": [None if repeats is None else intervention.repeated_over] * len(pairs),
            "repeats": nothing if repeats is None else np.where(first, repeats, 1 - repeats).T.tolist(),
            "drawn_set": nothing if sets is None else sets,
            "stated_accuracy": [intervention.published_accuracy(pairs)] * len(pairs),
            "stated_RMS_calibration_error": nothing,
        },
        schema=PAIR_COLUMNS,
    )
