"""What an intervention says of the pairs of a target, as intervals and tests read it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from genies.evaluation.metrics import correctness
from genies.evaluation.uncertainty import clustered_variance

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
        drawn_set: which of several drawn sets each pair was judged by, int64 (n,); None where there is one for all.
    """

    correct: np.ndarray
    cluster: np.ndarray
    probability: np.ndarray
    by_seed: np.ndarray | None = None
    example: np.ndarray | None = None
    drawn_set: np.ndarray | None = None

    @property
    def draws(self) -> np.ndarray:
        """Probabilities under every seed, float64 (k, n)."""
        return self.probability[None] if self.by_seed is None else self.by_seed

    @property
    def seed_variance(self) -> float:
        """What the choice of k seeds adds to the variance of the mean accuracy, s²/k, and that of sets; 0 for one."""
        if self.drawn_set is not None:
            return variance_over_sets(self.correct, self.cluster, self.drawn_set)
        accuracies = [correctness(drawn).mean() for drawn in self.draws]
        return float(np.var(accuracies, ddof=1) / len(accuracies)) if len(accuracies) > 1 else 0.0

    def where(self, chosen: np.ndarray) -> Scored:
        """What it says of some of the pairs, bool (n,)."""
        by_seed = None if self.by_seed is None else self.by_seed[:, chosen]
        example, sets = (None if part is None else part[chosen] for part in (self.example, self.drawn_set))
        return Scored(self.correct[chosen], self.cluster[chosen], self.probability[chosen], by_seed, example, sets)


def variance_over_sets(correct: np.ndarray, cluster: np.ndarray, drawn_set: np.ndarray) -> float:
    """What the choice of sets adds to the variance of the mean accuracy, each pair being judged by one of them.

    The accuracies on the pairs of single sets differ by those pairs and by the sets; what their own pairs do not
    account for is the variance between sets (a one-way analysis of variance by moments; Searle, Casella and McCulloch,
    Variance Components, 1992, section 3.6). Sets of a single cluster say nothing of it.

    Args:
        correct: how right each pair is ranked, float (n,).
        cluster: the cluster that each pair belongs to, int64 (n,).
        drawn_set: the set that it was judged by, int64 (n,).
    """
    accuracies, errors, sizes = [], [], []
    for number in np.unique(drawn_set):
        own = drawn_set == number
        of_set = np.unique(cluster[own], return_inverse=True)[1]
        if of_set.max() > 0:
            accuracies.append(correct[own].mean())
            errors.append(clustered_variance(correct[own], of_set))
            sizes.append(own.sum())
    if len(accuracies) < 2:
        return 0.0
    between = max(0.0, float(np.var(accuracies, ddof=1) - np.mean(errors)))
    return between * float(np.sum(np.square(sizes)) / np.sum(sizes) ** 2)


def scored(pairs: pl.DataFrame) -> Scored:
    """What an evaluation says of the pairs of one target, columns as in ``evaluations.PAIR_COLUMNS``."""
    probability, cluster, example = (pairs[name].to_numpy() for name in ("probability", "cluster", "example"))
    if pairs["repeated_over"][0] != "seeds":
        sets = None if pairs["drawn_set"].null_count() else pairs["drawn_set"].to_numpy()
        return Scored(correctness(probability), cluster, probability, example=example, drawn_set=sets)
    by_seed = np.ascontiguousarray(np.array(pairs["repeats"].to_list(), np.float64).T)
    return Scored(np.mean([correctness(drawn) for drawn in by_seed], axis=0), cluster, probability, by_seed, example)
