"""Which training pairs sites are chosen on, directions are fitted on, and the calibrator is fitted on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from genies.errors import DataError
from genies.interventions.base import Pairs, Protocols

FIT_SHARE = 0.7
FOLDS = 5


class Part(NamedTuple):
    """Rows of training pairs by their use in one fit, int64 each.

    Attributes:
        fit, validation: what sites are chosen on: regressions are fitted on the ones, compared on the others.
        shown: what directions are fitted on.
        scored: what the fit scores for the calibrator.
    """

    fit: np.ndarray
    validation: np.ndarray
    shown: np.ndarray
    scored: np.ndarray


def training_parts(pairs: Pairs, seed: int, protocol: Protocols) -> list[Part]:
    """The fits that make one probe. The last one is kept; the calibrator is fitted on what all of them score.

    ``paper`` makes one fit: sites are chosen on validation pairs, directions fitted on all pairs, and the calibrator is
    fitted on the validation pairs again, which both have seen.

    ``corrected`` makes one fit on all pairs, and before it one for each of 5 folds, without the fold's pairs, which it
    then scores: every score that the calibrator sees is of a pair that sites and directions have not seen. This is
    cross-validated calibration with a single final fit (scikit-learn's ``CalibratedClassifierCV(ensemble=False)``).

    Raises:
        DataError: there are too few training examples.
    """
    if protocol == "paper":
        fit, validation = split_pairs(pairs.example, seed)
        return [Part(fit, validation, np.concatenate([fit, validation]), validation)]
    rows = np.arange(len(pairs))
    fit, validation = split_pairs(pairs.cluster, seed)
    parts = []
    for held_out in folds(pairs.cluster, seed):
        kept = np.setdiff1d(rows, held_out)
        inner_fit, inner_validation = split_pairs(pairs.cluster[kept], seed, least=1)
        parts.append(Part(kept[inner_fit], kept[inner_validation], kept, held_out))
    return [*parts, Part(fit, validation, rows, rows[:0])]


def folds(cluster: np.ndarray, seed: int) -> list[np.ndarray]:
    """Rows of each of 5 folds (fewer where there are fewer clusters), int64; clusters are dealt to them by seed.

    Args:
        cluster: number of each pair's cluster, int64 (n_pairs,).
        seed: seed of ``numpy.random.RandomState``.
    """
    clusters, position = np.unique(cluster, return_inverse=True)
    count = min(FOLDS, len(clusters))
    fold = np.random.RandomState(seed).permutation(len(clusters)) % count
    return [np.flatnonzero(fold[position] == number) for number in range(count)]


def split_pairs(cluster: np.ndarray, seed: int, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Split pairs 70/30 by cluster, so that no cluster is on both sides.

    The draw is that of the published code (GENIES, arXiv 2311.07723; also Li et al., arXiv 2306.03341), by example:
    NumPy's legacy generator, whose stream is frozen, chooses int(0.7 n) of the n examples without replacement.

    Args:
        cluster: number of each pair's cluster, or example, int64 (n_pairs,).
        seed: seed of ``numpy.random.RandomState``; published: 42.
        least: clusters that have to be on either side.

    Returns:
        Rows of the fit pairs, in the order drawn, and rows of the validation pairs, ascending; int64 each.

    Raises:
        DataError: one side would have fewer.
    """
    clusters, position = np.unique(cluster, return_inverse=True)
    drawn = np.random.RandomState(seed).choice(len(clusters), int(FIT_SHARE * len(clusters)), replace=False)
    if min(len(drawn), len(clusters) - len(drawn)) < least:
        raise DataError(
            f"training pairs: {len(clusters)} different prompts cannot be split 70/30 with {least} on either side; "
            "give the source at least 4 training examples with prompts of their own"
        )
    place = np.full(len(clusters), len(drawn))
    place[drawn] = np.arange(len(drawn))
    chosen = place[position] < len(drawn)
    rows = np.flatnonzero(chosen)
    return rows[np.argsort(place[position[rows]], kind="stable")], np.flatnonzero(~chosen)
