"""Intervals of metrics that no formula covers: the bootstrap over examples (Efron and Tibshirani, 1993, chapter 13).

Whole examples are drawn, since the pairs of one example are not independent. What is measured on one distribution is
drawn together, so that an accuracy and the baseline's, or the capability's on the same examples, vary together.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import polars as pl

from genies.data.pairs import text_seed
from genies.evaluation.scored import Key, Scored

RESAMPLES = 10_000
BLOCK = 2**22
"""Counts that are drawn, or multiplied, at a time: as NumPy draws them, each has eight bytes."""
FILE = "intervals.csv"
ESTIMATED = ("elicitation", "differential_elicitation")
COLUMNS = {
    **dict.fromkeys(("model", "intervention", "source", "target"), pl.String),
    **{f"{name}{end}": pl.Float64 for name in ESTIMATED for end in ("_low", "_high")},
}
"""Columns of ``intervals.csv``: 95 % intervals over test examples of each row of the metrics; null where unknown."""


def intervals(
    metrics: pl.DataFrame,
    scores: Mapping[Key, Scored],
    seed: int = 0,
    baseline: str = "zero_shot",
    resamples: int = RESAMPLES,
) -> pl.DataFrame:
    """Percentile intervals of elicitation and differential elicitation, columns as in ``COLUMNS``.

    A capability whose examples are not known counts as given. So does the choice of the best intervention. Where two
    interventions were tested on different examples of a target, their draws are independent.

    Args:
        metrics: a row per model, intervention and shift, as in ``genies.evaluation.tables.METRIC_COLUMNS``.
        scores: how right every pair was ranked.
        seed: of the draws; a distribution's depend on its name and the seed alone.
        baseline: the intervention that differential elicitation is measured from.
        resamples: number of draws.
    """
    draws = _Draws(scores, seed, resamples)
    rows = []
    for (target,), of_target in metrics.group_by("target", maintain_order=True):
        for row in of_target.iter_rows(named=True):
            place = {name: row[name] for name in ("model", "intervention", "source")}
            rows.append({**place, "target": target, **_row(draws, row, baseline)})
    return pl.DataFrame(rows, schema=COLUMNS)


def _row(draws: _Draws, row: dict, baseline: str) -> dict[str, float]:
    model, source, target, reference = (row[name] for name in ("model", "source", "target", "target_reference"))
    accuracy = draws.accuracy((model, row["intervention"], source, target))
    if accuracy is None or not row["target_tuned_capability"]:
        return {}
    best = row["target_tuned_capability_intervention"]
    capability = draws.accuracy((model, best, reference, reference))
    if capability is None:
        capability = np.float64(row["target_tuned_capability"])
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {"elicitation": accuracy / capability}
        base = draws.accuracy((model, baseline, source, target))
        if base is not None:
            found["differential_elicitation"] = (accuracy - base) / capability
    result = {}
    for name, values in found.items():
        if np.isfinite(values).all():
            low, high = np.quantile(values, [0.025, 0.975])
            result |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    return result


class _Draws:
    """Accuracies over draws of examples; those of a target and a reference are kept, of 20,000 examples 0.2 GB each."""

    def __init__(self, scores: Mapping[Key, Scored], seed: int, resamples: int) -> None:
        self._scores = scores
        self._seed = seed
        self._resamples = resamples
        self._weights = lru_cache(maxsize=2)(self._drawn)
        self.accuracy = lru_cache(maxsize=256)(self._accuracy)

    def _drawn(self, distribution: str, examples: int) -> np.ndarray:
        """How often each example is drawn, uint8 (resamples, examples); even 20 times is one in 10¹⁸."""
        generator = np.random.default_rng(text_seed(self._seed, distribution))
        share = np.full(examples, 1 / examples)
        drawn = np.empty((self._resamples, examples), np.uint8)
        for rows in self._blocks(examples):
            drawn[rows] = generator.multinomial(examples, share, len(drawn[rows]))
        return drawn

    def _blocks(self, examples: int) -> list[slice]:
        rows = max(1, BLOCK // examples)
        return [slice(begin, begin + rows) for begin in range(0, self._resamples, rows)]

    def _accuracy(self, key: Key) -> np.ndarray | None:
        """Accuracy in each draw, float64 (resamples,); None where the pairs are not known."""
        scored = self._scores.get(key)
        if scored is None:
            return None
        cluster = np.unique(scored.cluster, return_inverse=True)[1]
        weights = self._weights(key[3], int(cluster.max()) + 1)
        sums = np.stack([np.bincount(cluster, scored.correct), np.bincount(cluster)], 1).astype(np.float32)
        drawn = [weights[rows].astype(np.float32) @ sums for rows in self._blocks(weights.shape[1])]
        right, pairs = np.concatenate(drawn).astype(np.float64).T
        return right / pairs
