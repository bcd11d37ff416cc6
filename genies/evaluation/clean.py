"""Accuracy on clean test pairs, of which the source's training split shows nothing, and on fresh ones.

Fresh pairs are clean, and have no near duplicates there either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from genies.evaluation.metrics import correctness
from genies.evaluation.scored import Scored, set_variance_of_difference
from genies.evaluation.uncertainty import accuracy_interval, margin_of_draws

FEWEST_PAIRS, FEWEST_CLUSTERS = 30, 20
"""With fewer clean pairs or clusters than these there is no clean figure."""


@dataclass(frozen=True)
class Clean:
    """What clean pairs say of an intervention on a target; the fields are columns of ``cells.csv``.

    Attributes:
        clean_accuracy, clean_low, clean_high: accuracy on the clean pairs with its 95 % interval.
        clean_pairs, clean_clusters: how many there are.
        seen_difference, seen_difference_low, seen_difference_high: accuracy on the other pairs, the seen ones, minus
            that on the clean ones, with its 95 % interval.
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
    low, high = clean.interval
    figures = Clean(float(clean.correct.mean()), low, high, **counts)
    if not seen.any():
        return figures
    difference, low, high = _difference(judged.where(seen), clean)
    return replace(figures, seen_difference=difference, seen_difference_low=low, seen_difference_high=high)


def fresh_figures(judged: Scored, known: np.ndarray) -> dict[str, Any]:
    """The same figures by column of ``cells.csv``, near duplicates being set apart as well.

    Args:
        judged: what the intervention says of the pairs.
        known: whether the training split shows something of a pair's example, or a near duplicate, bool (n,).
    """
    found = vars(clean_figures(judged, known))
    return {name.replace("clean", "fresh").replace("seen", "near"): value for name, value in found.items()}


def enough(clean: Scored) -> bool:
    """Whether there are so many clean pairs and clusters that a figure of theirs says something."""
    return len(clean.correct) >= FEWEST_PAIRS and len(np.unique(clean.cluster)) >= FEWEST_CLUSTERS


def _difference(seen: Scored, clean: Scored) -> tuple[float, float, float]:
    """Accuracy on seen pairs minus that on clean ones, and its 95 % interval.

    Each accuracy has its own interval, and the distances of their ends add like standard errors: the lower end of the
    difference is as far from it as the lower end on seen pairs and the upper end on clean ones are from their
    accuracies (MOVER; Newcombe, Statistics in Medicine 17, 1998, method 10; Zou and Donner, Statistics in Medicine 27,
    2008). So it holds where one side is small or almost perfect.
    """
    one, other = float(seen.correct.mean()), float(clean.correct.mean())
    one_low, one_high = accuracy_interval(seen.correct, seen.cluster)
    other_low, other_high = accuracy_interval(clean.correct, clean.cluster)
    drawn = _margin_of_draws(seen, clean)
    below = math.hypot(one - one_low, other_high - other, drawn)
    above = math.hypot(one_high - one, other - other_low, drawn)
    return one - other, max(one - other - below, -1.0), min(one - other + above, 1.0)


def _margin_of_draws(seen: Scored, clean: Scored) -> float:
    """Half the width that the interval would have if nothing but the choice of seeds, or of sets of shots, varied.

    Both sides share the draws, so what they do to both alike does not count. Student's t over the draws.
    """
    by_seed = [correctness(a).mean() - correctness(b).mean() for a, b in zip(seen.draws, clean.draws, strict=True)]
    drawn = len(by_seed)
    variance = float(np.var(by_seed, ddof=1)) / drawn if drawn > 1 else 0.0
    if seen.drawn_set is not None:
        variance, drawn = set_variance_of_difference(seen, clean)
    return margin_of_draws(variance, drawn)
