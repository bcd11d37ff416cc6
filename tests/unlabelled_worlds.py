"""Planted worlds of shifts in which accuracy does, or does not, follow what unlabelled verdicts say."""

from __future__ import annotations

import numpy as np
import polars as pl

from genies.evaluation.prediction import Cells, Predictions
from genies.evaluation.scored import Key, Scored

METHODS = ("mms", "lora", "logistic")


def judged(right: np.ndarray, generator: np.random.Generator) -> Scored:
    """Verdicts on pairs that are right or wrong, with confidences that say nothing."""
    confidence = 0.5 + 0.5 * generator.random(len(right))
    return Scored(right.astype(float), np.arange(len(right)), np.where(right, confidence, 1 - confidence))


def world(shifts: int, pairs: int, follows: float, seed: int) -> tuple[pl.DataFrame, dict[Key, Scored]]:
    """Metrics and scores of ``METHODS`` and zero_shot on unrelated shifts.

    Each pair has a cue, which zero_shot follows, right on a share of the target's pairs that is the same everywhere,
    0.7. A method follows the cue on some share of the pairs of a target, and its opposite on the others, so that
    accuracy, from about 0.3 to 0.7, is linear in its agreement with zero_shot. With ``follows`` 0 the cue's own share
    varies by shift between 0.3 and 0.7 the same way, and methods follow it always: accuracy varies, agreement does not.
    """
    generator = np.random.default_rng(seed)
    rows, scores = [], {}
    for number in range(shifts):
        source, target = f"s{number}", f"t{number}"
        level = generator.random()
        for place in (source, target):
            at_home = place == source
            cue = generator.random(pairs) < (0.7 if at_home or follows else 0.3 + 0.4 * level)
            scores["m", "zero_shot", source, place] = judged(cue, generator)
            for name in METHODS:
                share = 0.95 if at_home or not follows else np.clip(level + generator.normal(0, 0.05), 0, 1)
                agrees = generator.random(pairs) < share
                scores["m", name, source, place] = judged(np.where(agrees, cue, ~cue), generator)
        for name in ("zero_shot", *METHODS):
            rows.append(
                {
                    "model": "m", "intervention": name, "source": source, "target": target, "target_reference": target,
                    "generalization_accuracy": scores["m", name, source, target].correct.mean(),
                    "source_ID_accuracy": scores["m", name, source, source].correct.mean(),
                }
            )  # fmt: skip
    return pl.DataFrame(rows), scores


def predictions(shifts: int, pairs: int, follows: float, seed: int) -> Predictions:
    metrics, scores = world(shifts, pairs, follows, seed)
    return Predictions(Cells.of(metrics, pl.DataFrame(), scores))
