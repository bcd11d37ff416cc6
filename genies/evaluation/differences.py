"""Differences of accuracy of two interventions on the same shifts, and what other test examples would change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genies.evaluation.scored import Key, Scored
from genies.evaluation.simultaneous import Estimate

Place = tuple[str, str]
"""(source, target) of a shift."""


@dataclass(frozen=True, eq=False)
class Difference:
    """The difference of accuracy of two interventions on the shifts that both were tested on.

    Attributes:
        names: of the two.
        places: the shifts.
        of_shifts: the difference on each, float64 (n,).
        entries: how often each counts, int64 (n,).
    """

    names: tuple[str, str]
    places: list[Place]
    of_shifts: np.ndarray
    entries: np.ndarray

    @property
    def mean(self) -> float:
        return float(np.average(self.of_shifts, weights=self.entries))


def over_examples(model: str, pairs: Sequence[Difference], scores: Mapping[Key, Scored]) -> list[Estimate | None]:
    """Means over fixed shifts that other examples would change; None where single pairs are not known."""
    found = [_moved(model, pair, scores) for pair in pairs]
    units = {unit: len(values) for moved in found if moved for unit, values in moved.items()}
    estimates: list[Estimate | None] = []
    for pair, moved in zip(pairs, found, strict=True):
        if moved is None:
            estimates.append(None)
            continue
        influences = [moved.get(unit, np.zeros(size)) for unit, size in units.items()]
        clusters = [unit[1] for unit in moved if isinstance(unit[1], int)]
        freedom = float(sum(clusters) - len(clusters))
        estimates.append(Estimate(pair.mean, np.concatenate(influences), freedom, sum(clusters)))
    return estimates


def _moved(
    model: str, pair: Difference, scores: Mapping[Key, Scored]
) -> dict[tuple[str, int | str], np.ndarray] | None:
    """How clusters and seeds move the mean of a pair's differences; None where single pairs are not known.

    Returns:
        Influences by unit: of the clusters of a (target, number of clusters), and of the seeds of an (intervention,
        source).
    """
    moved: dict[tuple[str, int | str], np.ndarray] = {}

    def add(unit: tuple[str, int | str], values: np.ndarray) -> None:
        moved[unit] = moved.get(unit, 0) + values

    for (source, target), share in zip(pair.places, pair.entries / pair.entries.sum(), strict=True):
        first, second = (scores.get((model, name, source, target)) for name in pair.names)
        if first is None or second is None or not np.array_equal(first.cluster, second.cluster):
            return None
        cluster = np.unique(first.cluster, return_inverse=True)[1]
        count = int(cluster.max()) + 1
        if count < 2:
            return None
        difference = first.correct - second.correct
        residuals = np.bincount(cluster, difference - difference.mean())
        add((target, count), share * np.sqrt(count / (count - 1)) * residuals / len(difference))
        for name, one, sign in zip(pair.names, (first, second), (1, -1), strict=True):
            if one.seed_variance:
                add((name, source), np.array([sign * share * np.sqrt(one.seed_variance)]))
    return moved
