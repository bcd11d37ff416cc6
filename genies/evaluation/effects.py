"""Effects of a direction on pairs, next to those of random directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genies.evaluation.uncertainty import clustered_mean

ROUNDING = 1e-12
"""Distances that differ by less are the same."""


@dataclass(frozen=True)
class Effect:
    """What a change does to n pairs.

    Attributes:
        values: how much each pair's lead changes, float64 (n,).
        cluster: number of each pair's cluster, int64 (n,).
        random: mean change under each of B random directions, float64 (B,).
    """

    values: np.ndarray
    cluster: np.ndarray
    random: np.ndarray

    @property
    def mean(self) -> float:
        """Over the pairs."""
        return float(self.values.mean())

    def interval(self) -> tuple[float | None, float | None]:
        """95 % interval of the mean for other examples (CR2, by cluster); no ends for a single cluster."""
        return clustered_mean(self.values, self.cluster).interval() or (None, None)

    @property
    def distances(self) -> np.ndarray:
        """How far the effect of the direction, and of each random one, lies from their common mean, float64 (1 + B,).

        Any change moves a model away from what it was trained on, and so random directions have an effect on average.
        """
        every = np.array([self.mean, *self.random])
        return np.abs(every - every.mean())

    @property
    def p(self) -> float:
        """Two-sided: share of the direction and the random ones that lie at least as far from the mean as it does."""
        return float((self.distances >= self.distances[0] - ROUNDING).mean())


def adjusted(family: Sequence[Effect]) -> list[float]:
    """p-values of effects that are judged together (single-step max-T).

    Distances from the mean are divided by their root mean square, so that no effect leads for its unit alone. One is
    compared with the largest of the family under each draw; draws of the same number may belong together, as those of
    one source do. Sources: Westfall and Young, Resampling-based multiple testing, 1993; Phipson and Smyth, Statistical
    Applications in Genetics and Molecular Biology 9, 2010.

    Args:
        family: the effects, each with as many random directions.
    """
    if not family:
        return []
    sizes = np.stack([one.distances for one in family])
    scale = np.sqrt((sizes**2).mean(axis=1, keepdims=True))
    sizes = np.divide(sizes, scale, out=np.zeros_like(sizes), where=scale > ROUNDING)
    reached = sizes[:, 1:].max(axis=0) >= sizes[:, :1] - ROUNDING
    return ((1 + reached.sum(axis=1)) / sizes.shape[1]).tolist()
