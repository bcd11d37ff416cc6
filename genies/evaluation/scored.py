"""What an intervention says of the pairs of a target, as intervals and tests read it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from genies.evaluation.metrics import correctness

Key = tuple[str, str, str, str]
"""(model, intervention, source, target)."""


@dataclass(frozen=True)
class Scored:
    """What an intervention says of the pairs of a target.

    Attributes:
        correct: how right each pair is ranked: 1, 0, or 0.5 for a tie; a mean over seeds where there are several;
            float64 (n,).
        cluster: the cluster that each pair belongs to, int64 (n,).
        probability: of the best response, float64 (n,); likewise.
        by_seed: the probabilities under each of k seeds, float64 (k, n); None where there is one.
        example: the example of each pair in its file, int64 (n,); None where that is not known.
    """

    correct: np.ndarray
    cluster: np.ndarray
    probability: np.ndarray
    by_seed: np.ndarray | None = None
    example: np.ndarray | None = None

    @property
    def draws(self) -> np.ndarray:
        """Probabilities under every seed, float64 (k, n)."""
        return self.probability[None] if self.by_seed is None else self.by_seed

    @property
    def seed_variance(self) -> float:
        """Variance s²/k that the choice of k seeds adds to the mean accuracy; 0 where there is one seed."""
        accuracies = [correctness(drawn).mean() for drawn in self.draws]
        return float(np.var(accuracies, ddof=1) / len(accuracies)) if len(accuracies) > 1 else 0.0

    def where(self, chosen: np.ndarray) -> Scored:
        """What it says of some of the pairs, bool (n,)."""
        by_seed = None if self.by_seed is None else self.by_seed[:, chosen]
        example = None if self.example is None else self.example[chosen]
        return Scored(self.correct[chosen], self.cluster[chosen], self.probability[chosen], by_seed, example)


def scored(pairs: pl.DataFrame) -> Scored:
    """What an evaluation says of the pairs of one target, columns as in ``evaluations.PAIR_COLUMNS``."""
    probability, cluster, example = (pairs[name].to_numpy() for name in ("probability", "cluster", "example"))
    if pairs["repeated_over"][0] != "seeds":
        return Scored(correctness(probability), cluster, probability, example=example)
    by_seed = np.ascontiguousarray(np.array(pairs["repeats"].to_list(), np.float64).T)
    return Scored(np.mean([correctness(drawn) for drawn in by_seed], axis=0), cluster, probability, by_seed, example)
