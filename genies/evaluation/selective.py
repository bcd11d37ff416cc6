"""Selective prediction: how accurate an intervention is on the pairs of which it is sure.

An intervention that may abstain does so where its probability is nearest ½. Coverage is the share of pairs that it
decides, risk the share of those that it decides wrongly (El-Yaniv and Wiener, Journal of Machine Learning Research 11,
2010). The area under the accuracy–coverage curve is the mean accuracy over all coverages; it is 1 minus the area under
the risk–coverage curve (Geifman, Uziel and El-Yaniv 2019, arXiv 1805.08206).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genies.evaluation.draws import IN_CACHE, blocks

COVERAGES = tuple(round(0.1 * tenth, 1) for tenth in range(1, 11))
SAME = 1e-14
"""Confidences no further apart are equal: 0.7 − 0.5 and 0.5 − 0.3 differ by rounding, and labels would order them."""


def accuracy_at(correct: np.ndarray, confidence: np.ndarray, coverages: tuple[float, ...] = COVERAGES) -> np.ndarray:
    """Accuracy on the surest pairs, for each share of pairs that is decided, float64 (coverages,).

    Of equally sure pairs each is decided with the same probability. Where a share is no whole number of pairs, the last
    one counts in part.

    Args:
        correct: how right each pair is ranked, float (n,).
        confidence: how sure it is, float (n,).
        coverages: shares above 0 and up to 1.
    """
    sizes, right = _Levels.of(confidence).sums(correct, np.ones((1, len(correct))))
    decided = len(correct) * np.asarray(coverages)
    reached = np.interp(decided, np.append(0, np.cumsum(sizes[0])), np.append(0, np.cumsum(right[0])))
    return reached / decided


def areas(correct: np.ndarray, confidence: np.ndarray, cluster: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Mean accuracy over all coverages 1/n, 2/n, …, 1 in each draw of clusters, float64 (draws,).

    Equally sure pairs count with its expectation over their orders.

    Args:
        correct: as ``accuracy_at`` takes it.
        confidence: likewise.
        cluster: number of each pair's cluster, from 0, int64 (n,).
        drawn: how often each cluster is drawn, (draws, clusters).
    """
    found, levels = np.empty(len(drawn)), _Levels.of(confidence)
    for rows in blocks(len(drawn), len(correct), IN_CACHE):
        sizes, right = levels.sums(correct, drawn[rows][:, cluster].astype(np.float64))
        until = np.cumsum(sizes, axis=1)
        before, before_right = until - sizes, np.cumsum(right, axis=1) - right
        harmonic = np.append(0, np.cumsum(1 / np.arange(1, until[:, -1].max() + 1)))
        share = np.divide(right, sizes, out=np.zeros_like(right), where=sizes > 0)
        # The sum over j = 1 … size of (right before + share · j) / (pairs before + j).
        gaps = np.diff(harmonic[until.astype(np.int32)], axis=1, prepend=0)
        found[rows] = (share * sizes + (before_right - share * before) * gaps).sum(axis=1) / until[:, -1]
    return found


def influences(correct: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """What each pair adds to the error of the area: its derivative by the pair's weight, times n; float64 (n,).

    A pair that gains weight counts at its own level of confidence and from there on, and moves the less sure ones to
    larger coverages. Of many pairs, sums over coverages are logarithms.

    Args:
        correct: as ``accuracy_at`` takes it.
        confidence: likewise.
    """
    levels, n = _Levels.of(confidence), len(correct)
    sizes, right = (of_levels[0] for of_levels in levels.sums(correct, np.ones((1, n))))
    end, share = np.cumsum(sizes), right / sizes
    begin = end - sizes
    steps = np.append(0, np.log(end[1:] / begin[1:]))
    less_sure = np.append(np.cumsum((share * steps)[::-1])[::-1][1:], 0)
    level = np.empty(n, np.int64)
    level[levels.order] = np.repeat(np.arange(len(sizes)), sizes.astype(np.int64))
    own = (correct - share[level]) * (1 - begin / sizes * steps)[level]
    found = own - correct * np.log(end[level] / n) - less_sure[level]
    return found - found.mean()


@dataclass(frozen=True)
class _Levels:
    """Pairs in the order of their confidence, the surest first.

    Attributes:
        order: rows of the pairs, int64 (n,).
        starts: where each level of confidence begins in that order, int64 (levels,).
    """

    order: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, confidence: np.ndarray) -> _Levels:
        order = np.argsort(-confidence, kind="stable")
        falls = -np.diff(confidence[order], prepend=np.inf)
        return cls(order, np.flatnonzero(falls > SAME))

    def sums(self, correct: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many pairs each level has, and how right they are, (draws, levels) each.

        Args:
            correct: as ``accuracy_at`` takes it.
            counts: how often each pair counts, float64 (draws, n).
        """
        in_order = counts[:, self.order]
        right = in_order * correct[self.order]
        if len(self.starts) == len(self.order):
            return in_order, right
        return np.add.reduceat(in_order, self.starts, axis=1), np.add.reduceat(right, self.starts, axis=1)
