"""Accuracy on clean test pairs: those of which the source's training split shows nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from genies.evaluation.metrics import correctness
from genies.evaluation.scored import Scored
from genies.evaluation.uncertainty import accuracy_interval, clustered_variance

FEWEST_PAIRS, FEWEST_CLUSTERS = 30, 20
"""With fewer clean pairs or clusters than these there is no clean figure."""
ROUNDING = 1e-12
"""A standard error that is smaller is none."""


@dataclass(frozen=True)
class Clean:
    """What clean pairs say of an intervention on a target; the fields are columns of ``cells.csv``.

    Attributes:
        clean_accuracy, clean_low, clean_high: accuracy on the clean pairs with its 95 % interval.
        clean_pairs, clean_clusters: how many there are.
        seen_difference, seen_difference_low, seen_difference_high: accuracy on the other pairs, the seen ones, minus
            that on the clean ones, with its 95 % interval; the ends are None where it cannot be told.
    """

    clean_accuracy: float | None = None
    clean_low: float | None = None
    clean_high: float | None = None
    clean_pairs: int | None = None
    clean_clusters: int | None = None
    seen_difference: float | None = None
    seen_difference_low: float | None = None
    seen_difference_high: float | None = None


def clean_figures(judged: Scored, seen: np.ndarray) -> Clean:
    """Compare the clean pairs of a target with the seen ones.

    A cluster with a seen pair counts as seen as a whole, so that the two sets have no cluster in common. Where all
    pairs are clean, the figures are those of the whole target, however few pairs it has.

    Args:
        judged: what the intervention says of the pairs.
        seen: whether the training split shows something of a pair's example, bool (n,).
    """
    seen = np.isin(judged.cluster, judged.cluster[seen])
    clean = judged.where(~seen)
    counts = {"clean_pairs": len(clean.correct), "clean_clusters": len(np.unique(clean.cluster))}
    if seen.any() and not enough(clean):
        return Clean(**counts)
    low, high = accuracy_interval(clean.correct, clean.cluster, seed_variance=clean.seed_variance)
    figures = Clean(float(clean.correct.mean()), low, high, **counts)
    if not seen.any():
        return figures
    difference, interval = _difference(judged.where(seen), clean)
    seen_low, seen_high = interval or (None, None)
    return replace(figures, seen_difference=difference, seen_difference_low=seen_low, seen_difference_high=seen_high)


def enough(clean: Scored) -> bool:
    """Whether there are so many clean pairs and clusters that a figure of theirs says something."""
    return len(clean.correct) >= FEWEST_PAIRS and len(np.unique(clean.cluster)) >= FEWEST_CLUSTERS


def _difference(seen: Scored, clean: Scored) -> tuple[float, tuple[float, float] | None]:
    """Accuracy on seen pairs minus that on clean ones, and its 95 % interval.

    The variances of the two means add, and Student's t has the degrees of freedom of Welch and Satterthwaite
    (Biometrics Bulletin 2, 1946). There is no interval where one set is a single cluster, or where nothing varies.
    """
    from scipy import stats  # takes longer to import than most jobs take to do their work

    difference = float(seen.correct.mean() - clean.correct.mean())
    units = [_variance(seen), _variance(clean)]
    if None in units:
        return difference, None
    by_seed = [correctness(a).mean() - correctness(b).mean() for a, b in zip(seen.draws, clean.draws, strict=True)]
    if len(by_seed) > 1:
        units.append((float(np.var(by_seed, ddof=1) / len(by_seed)), len(by_seed) - 1))
    variances, freedoms = np.array(units).T
    total = variances.sum()
    if total < ROUNDING**2:
        return difference, None
    freedom = total**2 / np.sum(variances**2 / freedoms)
    margin = float(stats.t.ppf(0.975, freedom) * np.sqrt(total))
    return difference, (max(difference - margin, -1.0), min(difference + margin, 1.0))


def _variance(judged: Scored) -> tuple[float, int] | None:
    """Variance of the accuracy over clusters, and its degrees of freedom; None for a single cluster."""
    cluster = np.unique(judged.cluster, return_inverse=True)[1]
    k = int(cluster.max()) + 1
    return None if k < 2 else (clustered_variance(judged.correct, cluster), k - 1)
