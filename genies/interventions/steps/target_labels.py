"""A few labelled pairs of the target among a source's training pairs: which ones are chosen, and how they weigh.

Source of the choice by uncertainty: Lewis and Gale, A sequential algorithm for training text classifiers (SIGIR 1994).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from genies.interventions.base import Pairs
from genies.interventions.steps.joined import JoinedPairs, drawn_order

POOL_SHARE = 0.75
"""Share of the target's pairs that each draw chooses from, so that choices by uncertainty differ from draw to draw."""


def chosen_rows(
    advantage: np.ndarray, cluster: np.ndarray, free: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the target's training pairs in the order in which they are taken, both int64 (m,).

    A pool of ``POOL_SHARE`` of the rows is drawn by seed, prompt by prompt. The first order is a random one of its
    pairs. The second takes first those between which the fit on the source is least sure: those of the smallest
    absolute advantage. Both take single pairs: were all pairs of a prompt taken at random, the same number of them
    would come of fewer prompts, and choosing by anything would seem to help.

    Args:
        advantage: score of the first minus that of the second response under the fit on the source, float64 (n,).
        cluster: number of each pair's cluster, int64 (n,).
        free: rows that may be taken, int64 (k,).
        seed: of the draw.
    """
    order = free[drawn_order(cluster[free], seed)]
    pool = np.random.default_rng([seed, 1]).permutation(order[: math.ceil(POOL_SHARE * len(order))])
    return pool, pool[np.argsort(np.abs(advantage[pool]), kind="stable")]


def copies_of(count: int, source: int, most: int) -> int:
    """How often each of ``count`` target pairs is there among ``source`` pairs of the source, which are there once.

    ``most`` times, but no more often than keeps the target's pairs from outnumbering the source's; once at least.
    """
    return max(1, min(most, source // count))


def mixed(
    source: Pairs, target: Pairs, rows: np.ndarray, copies: int, clusters: tuple[np.ndarray, np.ndarray]
) -> JoinedPairs:
    """All pairs of a source, and behind them some of a target, each several times.

    Copies of a pair are of one example and one cluster, so that all of them are on one side of every split.

    Args:
        source: its training pairs.
        target: its training pairs.
        rows: of the target, int64 (k,).
        copies: how often each of these rows is there.
        clusters: numbers of the clusters of both, as ``joint_clusters`` gives them.
    """
    repeated = np.tile(rows, copies)
    of_source, of_target = clusters
    beyond = 1 + int(source.example.max(initial=-1))
    return JoinedPairs(
        [(source, np.arange(len(source))), (target, repeated)],
        np.concatenate([of_source, of_target[repeated]]),
        np.concatenate([source.example, beyond + target.example[repeated]]),
    )


def joint_clusters(
    source: tuple[np.ndarray, Sequence[str]], target: tuple[np.ndarray, Sequence[str]], instructions: Collection[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of clusters under which pairs of one prompt are one cluster whichever split they are of, int64 each.

    Args:
        source: of each of its pairs the cluster in its split, int64 (n,), and the prompt.
        target: likewise.
        instructions: prompts that are instructions of either split (``genies.data.clusters``); they join nothing.
    """
    (of_source, prompts), (of_target, others) = source, target
    shared = (set(prompts) & set(others)).difference(instructions)
    known = {prompt: number for prompt, number in zip(prompts, of_source.tolist(), strict=True) if prompt in shared}
    beyond = 1 + int(of_source.max(initial=-1))
    numbers = {number: beyond + number for number in of_target.tolist()}
    numbers |= {
        number: known[prompt] for prompt, number in zip(others, of_target.tolist(), strict=True) if prompt in shared
    }
    return of_source, np.array([numbers[number] for number in of_target.tolist()], np.int64)
