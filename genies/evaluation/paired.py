"""Two measurements of the same pairs: is their difference more than noise?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from genies.evaluation.simultaneous import ROUNDING
from genies.evaluation.uncertainty import clustered_mean


def paired_p(difference: ArrayLike, clusters: ArrayLike, seed_variance: float = 0.0) -> float | None:
    """Two-sided p-value of Student's t test of a mean difference, by clusters of pairs.

    Error and degrees of freedom are those of ``clustered_mean``, which hold where a cluster has most of the pairs.

    Where all differences are the same, t has no variance to divide by. The p-value is then that of the exact test that
    flips signs (Fisher, The design of experiments, 1935, section 21): 2^(1 − k) for k clusters, 1 for differences of 0.

    Args:
        difference: of how right each pair is ranked, float (n,).
        clusters: the cluster that each pair belongs to, int (n,).
        seed_variance: what the seeds of both add to the variance of the mean difference.

    Returns:
        None for a single cluster.
    """
    found = clustered_mean(difference, clusters)
    if found.standard_error is None or found.degrees_of_freedom is None:
        return None
    error = float(np.hypot(found.standard_error, np.sqrt(seed_variance)))
    if error < ROUNDING:
        return 1.0 if abs(found.mean) < ROUNDING else 2.0 ** (1 - found.clusters)
    return float(2 * special.stdtr(found.degrees_of_freedom, -abs(found.mean) / error))


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Holm's corrected p-values (Scandinavian Journal of Statistics 6, 1979); None stays None and does not count."""
    known = sorted((value, place) for place, value in enumerate(p) if value is not None)
    corrected: list[float | None] = [None] * len(p)
    highest = 0.0
    for rank, (value, place) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * value))
        corrected[place] = highest
    return corrected
