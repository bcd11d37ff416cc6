"""What an intervention says of the pairs of a target, as intervals and tests read it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from genies.evaluation.metrics import correctness
from genies.evaluation.uncertainty import accuracy_interval, clustered_variance

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
        advantage: score of the best response minus that of the worse one, float64 (n,); None where a score is missing.
    """

    correct: np.ndarray
    cluster: np.ndarray
    probability: np.ndarray
    by_seed: np.ndarray | None = None
    example: np.ndarray | None = None
    drawn_set: np.ndarray | None = None
    advantage: np.ndarray | None = None

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

    @property
    def seeds(self) -> int:
        """How many seeds, or sets of shots, ``seed_variance`` is estimated from."""
        return len(self.draws) if self.drawn_set is None else len(np.unique(self.drawn_set))

    @property
    def interval(self) -> tuple[float, float]:
        """The accuracy's, of 95 %; see ``accuracy_interval``."""
        return accuracy_interval(self.correct, self.cluster, seed_variance=self.seed_variance, seeds=self.seeds)

    def same_pairs(self, other: Scored) -> bool:
        """Whether the same pairs were ranked, in the same clusters.

        Clusters are numbered alike whatever the examples are, so that these have to be the same ones, where they are
        known.
        """
        if not np.array_equal(self.cluster, other.cluster):
            return False
        return self.example is None or other.example is None or np.array_equal(self.example, other.example)

    def where(self, chosen: np.ndarray) -> Scored:
        """What it says of some of the pairs, bool (n,)."""
        by_seed = None if self.by_seed is None else self.by_seed[:, chosen]
        parts = (self.example, self.drawn_set, self.advantage)
        optional = [None if part is None else part[chosen] for part in parts]
        return Scored(self.correct[chosen], self.cluster[chosen], self.probability[chosen], by_seed, *optional)


def variance_over_sets(correct: np.ndarray, cluster: np.ndarray, drawn_set: np.ndarray) -> float:
    """What the choice of sets adds to the variance of the mean accuracy, each pair being judged by one of them.

    The accuracies on the pairs of single sets differ by those pairs and by the sets; what their own pairs do not
    account for is the variance between sets (a one-way analysis of variance by moments; Searle, Casella and McCulloch,
    Variance Components, 1992, section 3.6). Sets of a single cluster say nothing of it, but have their weight in the
    mean.

    Args:
        correct: how right each pair is ranked, float (n,).
        cluster: the cluster that each pair belongs to, int64 (n,).
        drawn_set: the set that it was judged by, int64 (n,).
    """
    numbers, sizes = np.unique(drawn_set, return_counts=True)
    accuracies, errors = _by_set(correct, cluster, drawn_set, numbers)
    return _between(accuracies, errors) * float(np.sum((sizes / len(correct)) ** 2))


def set_variance_of_difference(one: Scored, other: Scored) -> tuple[float, int]:
    """What the choice of sets adds to the variance of the difference of two accuracies, whose pairs share the sets.

    A set that helps both accuracies alike cancels. Differences within single sets vary by their pairs, and beyond these
    by what a set does to one accuracy and not to the other, as in ``variance_over_sets``. The weight of a set is the
    mean of its shares of both sides' pairs. That the shares differ is chance of the pairs, which are dealt to sets by
    their texts, and lies in the variance over pairs.

    Args:
        one: what an intervention says of some pairs.
        other: what it says of pairs of other clusters.

    Returns:
        The variance, and how many sets there are; (0, 1) where there is one for all.
    """
    if one.drawn_set is None or other.drawn_set is None:
        return 0.0, 1
    numbers = np.union1d(one.drawn_set, other.drawn_set)
    a, error_a = _by_set(one.correct, one.cluster, one.drawn_set, numbers)
    b, error_b = _by_set(other.correct, other.cluster, other.drawn_set, numbers)
    shares = [np.mean(drawn == numbers[:, None], axis=1) for drawn in (one.drawn_set, other.drawn_set)]
    return _between(a - b, error_a + error_b) * float(np.sum(np.mean(shares, axis=0) ** 2)), len(numbers)


def _by_set(
    correct: np.ndarray, cluster: np.ndarray, drawn_set: np.ndarray, numbers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy on the pairs of each set and its variance over clusters, float64 (sets,); NaN with fewer than two."""
    found = np.full((2, len(numbers)), np.nan)
    for row, number in enumerate(numbers):
        own = drawn_set == number
        of_set = np.unique(cluster[own], return_inverse=True)[1]
        if len(of_set) and of_set.max() > 0:
            found[:, row] = correct[own].mean(), clustered_variance(correct[own], of_set)
    return found[0], found[1]


def _between(values: np.ndarray, errors: np.ndarray) -> float:
    """Variance of values, NaN left out, beyond the mean of their own variances; 0 where it is less, or of one value."""
    known = ~np.isnan(values)
    if known.sum() < 2:
        return 0.0
    return max(0.0, float(np.var(values[known], ddof=1) - errors[known].mean()))


def scored(pairs: pl.DataFrame) -> Scored:
    """What an evaluation says of the pairs of one target, columns as in ``evaluations.PAIR_COLUMNS``."""
    probability, cluster, example = (pairs[name].to_numpy() for name in ("probability", "cluster", "example"))
    difference = pairs["score_best"] - pairs["score_worse"]
    advantage = None if difference.null_count() else difference.to_numpy()
    if pairs["repeated_over"][0] != "seeds":
        sets = None if pairs["drawn_set"].null_count() else pairs["drawn_set"].to_numpy()
        return Scored(correctness(probability), cluster, probability, None, example, sets, advantage)
    by_seed = np.ascontiguousarray(np.array(pairs["repeats"].to_list(), np.float64).T)
    correct = np.mean([correctness(drawn) for drawn in by_seed], axis=0)
    return Scored(correct, cluster, probability, by_seed, example, advantage=advantage)
