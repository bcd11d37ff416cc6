"""Differences of accuracy of two interventions on the same shifts, and what other test examples would change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genies.evaluation.scored import Key, Scored
from genies.evaluation.simultaneous import Estimate
from genies.evaluation.uncertainty import cluster_influences, clustered_mean

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


@dataclass(frozen=True, eq=False)
class _Moved:
    """How clusters of pairs and seeds move the mean of differences.

    Attributes:
        influences: by unit: of the clusters of a (target, number of clusters), and of the seeds of an (intervention,
            source).
        freedoms: degrees of freedom of the variance over the clusters of a target, by the same units.
    """

    influences: dict[tuple[str, int | str], np.ndarray]
    freedoms: dict[tuple[str, int | str], float]

    @property
    def clusters(self) -> int:
        """How many there are in all targets."""
        return sum(len(self.influences[unit]) for unit in self.freedoms)

    @property
    def degrees_of_freedom(self) -> float:
        """Of a sum of variances of independent targets (Satterthwaite, Biometrics Bulletin 2, 1946)."""
        variances = {unit: float(np.sum(self.influences[unit] ** 2)) for unit in self.freedoms}
        total, known = sum(variances.values()), self.freedoms
        # Without any variance there is no t; the sum is what targets of equal variance have.
        return total**2 / sum(v**2 / known[unit] for unit, v in variances.items()) if total else sum(known.values())


def over_examples(model: str, pairs: Sequence[Difference], scores: Mapping[Key, Scored]) -> list[Estimate | None]:
    """Means over fixed shifts that other examples would change; None where single pairs are not known.

    Error and degrees of freedom on a shift are those of ``clustered_mean``, which hold where a prompt has most pairs.
    """
    found = [_moved(model, pair, scores) for pair in pairs]
    units = {unit: len(values) for moved in found if moved for unit, values in moved.influences.items()}
    estimates: list[Estimate | None] = []
    for pair, moved in zip(pairs, found, strict=True):
        if moved is None:
            estimates.append(None)
            continue
        influences = [moved.influences.get(unit, np.zeros(size)) for unit, size in units.items()]
        estimates.append(Estimate(pair.mean, np.concatenate(influences), moved.degrees_of_freedom, moved.clusters))
    return estimates


def _moved(model: str, pair: Difference, scores: Mapping[Key, Scored]) -> _Moved | None:
    """How clusters and seeds move the mean of a pair's differences; None where single pairs are not known."""
    moved = _Moved({}, {})

    def add(unit: tuple[str, int | str], values: np.ndarray) -> None:
        moved.influences[unit] = moved.influences.get(unit, 0) + values

    for (source, target), share in zip(pair.places, pair.entries / pair.entries.sum(), strict=True):
        first, second = (scores.get((model, name, source, target)) for name in pair.names)
        if first is None or second is None or not np.array_equal(first.cluster, second.cluster):
            return None
        difference = first.correct - second.correct
        freedom = clustered_mean(difference, first.cluster).degrees_of_freedom
        if freedom is None:
            return None
        influences = cluster_influences(difference, first.cluster)[1]
        unit = (target, len(influences))
        add(unit, share * influences)
        moved.freedoms[unit] = min(freedom, moved.freedoms.get(unit, freedom))
        for name, one, sign in zip(pair.names, (first, second), (1, -1), strict=True):
            if one.seed_variance:
                add((name, source), np.array([sign * share * np.sqrt(one.seed_variance)]))
    return moved
