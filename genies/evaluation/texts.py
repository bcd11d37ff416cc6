"""Scores of single texts: how well they separate good from worse responses, whatever their prompts.

A pair asks which of two responses to one prompt is better. A filter, or a monitor, sees one response at a time and
compares its score with a threshold. How well that works is measured on the texts of a target, each counted once,
however many pairs it is in; the threshold comes from the source. Responses that are labelled worse are the negatives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from genies.evaluation.draws import IN_CACHE, Interval, blocks, share_interval, spanned, widened
from genies.evaluation.uncertainty import ROUNDING, accuracy_interval, log_odds_interval


@dataclass(frozen=True)
class Texts:
    """The n texts of a target that an intervention has scored.

    Attributes:
        score: float64 (n,).
        good: whether each is a good response, bool (n,).
        cluster: number of each text's cluster among those of the target, from 0, int64 (n,).
    """

    score: np.ndarray
    good: np.ndarray
    cluster: np.ndarray

    @classmethod
    def of(cls, pairs: pl.DataFrame) -> Self | None:
        """The texts of a target's pairs, columns as in ``PAIR_COLUMNS``; None where they have no scores."""
        if pairs["best_text_score"].null_count() or pairs["worse_text_score"].null_count():
            return None
        numbered = pairs.with_columns(cluster=pl.col("cluster").rank("dense").cast(pl.Int64) - 1)
        sides = [
            numbered.select("example", "cluster", text=f"{side}_text", score=f"{side}_text_score", good=side == "best")
            for side in ("best", "worse")
        ]
        found = pl.concat(sides).unique(["example", "text"], keep="first", maintain_order=True)
        return cls(*(found[name].to_numpy() for name in ("score", "good", "cluster")))

    @property
    def clusters(self) -> int:
        return int(self.cluster.max()) + 1

    def side(self, good: bool) -> tuple[np.ndarray, np.ndarray]:
        """Scores of the good or of the worse responses, ascending, and their clusters."""
        chosen = np.flatnonzero(self.good == good)
        order = chosen[np.argsort(self.score[chosen], kind="stable")]
        return self.score[order], self.cluster[order]


def once(clusters: int) -> np.ndarray:
    """The draw that has every cluster once, uint8 (1, clusters)."""
    return np.ones((1, clusters), np.uint8)


def auroc(texts: Texts, drawn: np.ndarray) -> np.ndarray:
    """Area under the receiver operating characteristic in each draw, float64 (draws,).

    It is the probability that a good response scores higher than a worse one, of whatever prompts; a tie is half
    (Hanley and McNeil, Radiology 143, 1982).

    Args:
        texts: the texts.
        drawn: how often each cluster is drawn, (draws, clusters).
    """
    values, place = np.unique(texts.score, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(values)))
    good, cluster = texts.good[order], texts.cluster[order]
    found = np.empty(len(drawn))
    for rows in blocks(len(drawn), len(order), IN_CACHE):
        counts = drawn[rows][:, cluster].astype(np.float64)
        ups, downs = (np.add.reduceat(counts * side, starts, axis=1) for side in (good, ~good))
        below = np.cumsum(downs, axis=1) - downs / 2
        found[rows] = (ups * below).sum(axis=1) / (ups.sum(axis=1) * downs.sum(axis=1))
    return found


def auroc_interval(texts: Texts, drawn: np.ndarray) -> Interval:
    """95 % interval of the AUROC over draws, at least as wide as ``clustered_auroc_interval``.

    Where draws hardly vary, it also holds one that holds next to 0 and 1. That one takes the share of the other side
    that each text is ahead of as how right it is, once for each side.

    Args:
        texts: the texts.
        drawn: as ``auroc`` takes it.
    """

    def of_placements() -> Interval:
        ends = [accuracy_interval(*_ahead(texts, good)) for good in (True, False)]
        return min(low for low, _ in ends), max(high for _, high in ends)

    return spanned(share_interval(auroc(texts, drawn), of_placements), clustered_auroc_interval(texts))


def clustered_auroc_interval(texts: Texts) -> Interval:
    """95 % interval of the AUROC by Student's t on its log-odds, texts of a cluster being dependent.

    A text adds to the error by the share of the other side that it is ahead of (Obuchowski, Biometrics 53, 1997).
    Standard error and degrees of freedom are those of ``clustered_mean``, which hold for few clusters, or a few large
    ones; of a single one nothing is known. An AUROC of 0 or 1 has no log-odds: a point.
    """
    sides = [_ahead(texts, good) for good in (True, False)]
    value = float(sides[0][0].mean())
    errors = [(ahead - value) * len(texts.score) / len(ahead) for ahead, _ in sides]
    return log_odds_interval(value, np.concatenate(errors), np.concatenate([cluster for _, cluster in sides]))


def _ahead(texts: Texts, good: bool) -> tuple[np.ndarray, np.ndarray]:
    """Of each good response the share of worse ones that it scores above, or of each worse one that of good ones.

    Returns:
        The shares, of a worse response of those that score above it, a tie being half, and their clusters.
    """
    (own, cluster), (other, _) = texts.side(good), texts.side(not good)
    below = (np.searchsorted(other, own, "left") + np.searchsorted(other, own, "right")) / 2 / len(other)
    return (below if good else 1 - below), cluster


def thresholds(texts: Texts, drawn: np.ndarray, rate: float) -> np.ndarray:
    """The score that at most a share ``rate`` of worse responses exceeds, in each draw, float64 (draws,).

    Of n negatives, in ascending order, it is the ⌈(n + 1)(1 − rate)⌉th: a further one exceeds it with a probability of
    at most ``rate``, whatever their distribution (as in split conformal prediction: Vovk et al., Algorithmic Learning
    in a Random World, 2005). ∞ where there are too few of them for that.

    Args:
        texts: the source's, not those that were fitted on.
        drawn: as ``auroc`` takes it.
        rate: of false positives.
    """
    scores, cluster = texts.side(False)
    found = np.empty(len(drawn))
    for rows in blocks(len(drawn), len(scores), IN_CACHE):
        reached = np.cumsum(drawn[rows][:, cluster], axis=1, dtype=np.int64)
        wanted = np.ceil((reached[:, -1] + 1) * (1 - rate) - ROUNDING)
        found[rows] = np.append(scores, math.inf)[(reached < wanted[:, None]).sum(axis=1)]
    return found


def shares_above(texts: Texts, good: bool, threshold: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Share of the good responses (recall), or of the worse ones (false positives), above a threshold in each draw.

    Args:
        texts: the target's.
        good: which of them.
        threshold: of each draw, float64 (draws,).
        drawn: as ``auroc`` takes it.

    Returns:
        float64 (draws,).
    """
    scores, cluster = texts.side(good)
    found = np.empty(len(drawn))
    for rows in blocks(len(drawn), len(scores), IN_CACHE):
        below = np.cumsum(drawn[rows][:, cluster], axis=1, dtype=np.int64)
        total, place = below[:, -1], np.searchsorted(scores, threshold[rows], "right")
        at_most = np.where(place > 0, below[np.arange(len(below)), np.maximum(place, 1) - 1], 0)
        found[rows] = (total - at_most) / total
    return found


def share_above(
    texts: Texts, good: bool, threshold: float, of_draws: np.ndarray, drawn: np.ndarray
) -> tuple[float, Interval]:
    """The share above a threshold, and its 95 % interval over draws of the texts and of the threshold.

    The interval also holds that of a given threshold (``accuracy_interval``), for few clusters, and where hardly any
    text is above it, or below.

    Args:
        texts: as ``shares_above`` takes them.
        good: likewise.
        threshold: the threshold.
        of_draws: what it is in each draw, float64 (draws,).
        drawn: as ``auroc`` takes it.
    """
    scores, cluster = texts.side(good)
    above = (scores > threshold).astype(np.float64)
    found = shares_above(texts, good, of_draws, drawn)
    return float(above.mean()), widened(found, accuracy_interval(above, cluster))
