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


def checked_text_scores(
    intervention: Intervention, pairs: Pairs | TextPairs, where: str, scores: np.ndarray | None = None
) -> np.ndarray | None:
    """Scores of the single texts (first, second), float64 (n, 2); None where the intervention has none.

    Args:
        intervention: fitted.
        pairs: n pairs.
        where: what they are, for messages.
        scores: what its ``decision_function`` gave of them, where that is known already.

    Raises:
        StoreError: the intervention gives something that is no score.
    """
    if intervention.no_text_scores:
        return None
    found = np.asarray(intervention.score_texts(pairs, scores), np.float64)
    if found.shape != (len(pairs), 2) or np.isnan(found).any():
        raise StoreError(
            f"{type(intervention).__name__} on {where}: its scores of texts are no numbers of shape ({len(pairs)}, 2)"
        )
    return found


def places(target: SplitPairs) -> dict[str, Any]:
    """What says which pair a row is about: the columns of ``PAIR_COLUMNS`` up to answer, and the texts' numbers."""
    numbers = np.array([target.framed.place(pair) for pair in target.pairs], np.int64).reshape(-1, 2)
    texts = np.array([target.framed.texts(pair) for pair in target.pairs], np.int64).reshape(-1, 2)
    return {
        "target": [target.name] * len(numbers),
        "example": numbers[:, 0],
        "pair": numbers[:, 1],
        "cluster": target.cluster,
        "answer": [target.framed.answer(pair) for pair in target.pairs],
        "best_text": texts[:, 0],
        "worse_text": texts[:, 1],
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
    of_texts = checked_text_scores(intervention, pairs, target.name, scores)
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
            **_of_texts(intervention, of_texts, first),
        },
        schema=PAIR_COLUMNS,
    )


def _of_texts(intervention: Intervention, scores: np.ndarray | None, first: np.ndarray) -> dict[str, Any]:
    """Columns of an evaluation that are about scores of texts, (n, 2) or None; ``first`` as in ``SplitPairs``."""
    if scores is None:
        nothing = dict.fromkeys(("best_text_score", "worse_text_score", "text_scores_compare"), [None] * len(first))
        return {**nothing, "no_text_scores": [intervention.no_text_scores] * len(first)}
    return {
        "best_text_score": np.where(first, scores[:, 0], scores[:, 1]),
        "worse_text_score": np.where(first, scores[:, 1], scores[:, 0]),
        "text_scores_compare": [intervention.text_scores_compare] * len(first),
        "no_text_scores": [None] * len(first),
    }
