"""Ensembles: what several interventions say of a pair together, by the differences of their scores.

The scores of an intervention have a scale of their own, and many have a free offset for each prompt, so that single
scores of several interventions cannot be compared (Eisenstein et al. 2023, Helping or herding, arXiv 2312.09244). What
is combined is the difference of a pair's two scores, divided by its root mean square on the source.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np

from genies.errors import ConfigError, DataError
from genies.interventions.steps.calibration import FAINTEST, Calibrator, fit_calibrator
from genies.interventions.steps.split import folds

Combine = Literal["mean", "minimum", "variance_penalised"]
COMBINATIONS: tuple[Combine, ...] = get_args(Combine)
FAINT = Calibrator(FAINTEST, 0.0)
"""Where the source says nothing of how sure an advantage is: all but ½, in the advantage's order."""


def scale_of(differences: np.ndarray) -> float:
    """The root mean square of a member's differences on its source, by which it divides them on every target.

    No label plays a part: to exchange the two responses of a pair turns the sign of its difference alone.

    Args:
        differences: score of one response minus score of the other, finite, float64 (n,).

    Raises:
        DataError: all are 0.
    """
    peak = float(np.abs(differences).max(initial=0.0))
    if not peak:
        raise DataError("gives both responses of every pair the same score")
    return peak * float(np.sqrt(np.mean((differences / peak) ** 2)))


def combined(differences: np.ndarray, combine: Combine, penalty: float) -> np.ndarray:
    """The advantage of the first response of each pair, float64 (n,); exactly its negative if they are exchanged.

    With z the differences of a pair:

    - ``mean``: their mean.
    - ``minimum``: the smallest advantage that all members grant the response that they all prefer; 0, a tie, where they
      do not all prefer the same.
    - ``variance_penalised``: the mean, by λ times the variance (over members, their number being the divisor) closer
      to 0, and 0 where it would be less (after Coste et al. 2023, arXiv 2310.02743, equation 4).

    The latter two are g(z) − g(−z), g being the lower bound max(0, min z) or max(0, mean z − λ var z) of what speaks
    for the first response: a bound on single rewards would favour whichever response comes first, or cancel.

    Args:
        differences: scaled, float64 (members, n).
        combine: how.
        penalty: λ.

    Raises:
        ConfigError: there is no such combination, or λ is below 0 or no number.
    """
    if combine not in COMBINATIONS:
        raise ConfigError(f"combine: {combine!r} is none; there are {', '.join(COMBINATIONS)}")
    if not 0 <= penalty < math.inf:
        raise ConfigError(f"penalty: {penalty} is no λ; give a number from 0 on")
    if combine == "mean":
        return differences.mean(axis=0)
    return _lower(differences, combine, penalty) - _lower(-differences, combine, penalty)


def _lower(differences: np.ndarray, combine: Combine, penalty: float) -> np.ndarray:
    if combine == "minimum":
        bound = differences.min(axis=0)
    else:
        bound = differences.mean(axis=0) - penalty * differences.var(axis=0)
    return np.maximum(0.0, bound)


def source_calibrator(advantage: np.ndarray) -> Calibrator:
    """The calibrator of an ensemble, fitted on its source's pairs as those of probes are: one slope above 0.

    Args:
        advantage: of the best response of each pair, float64 (n,).
    """
    return fit_calibrator(advantage, "corrected", directed=True) if advantage.any() else FAINT


def source_probability(advantage: np.ndarray, cluster: np.ndarray, seed: int) -> np.ndarray:
    """Probability of the best response of each pair of the source itself, float64 (n,).

    The calibrator of each of 5 folds is fitted on the pairs of the others, clusters staying together, so that the label
    of no pair decides its own probability.

    Args:
        advantage: of the best response, float64 (n,).
        cluster: number of each pair's cluster, int64 (n,).
        seed: of the folds.
    """
    probability = np.empty(len(advantage))
    for fold in folds(cluster, seed):
        others = np.setdiff1d(np.arange(len(advantage)), fold)
        probability[fold] = source_calibrator(advantage[others]).probability(advantage[fold])
    return probability
