"""Near-duplicate prompts of a set: proposed by MinHash, and confirmed by the exact overlap of their pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from scipy.sparse import csr_matrix

from genies.data.minhash import PIECES, counts_of, jaccard, pieces_of, shared, signatures, without

JACCARD = 0.8
"""Prompts whose sets overlap so far are near-duplicates."""
BANDS, ROWS = 16, 4
"""Prompts at ``JACCARD`` share a band with a probability of 0.9998."""
BATCH = 512


class Pieces:
    """Sets of pieces of prompts, without those that many prompts share."""

    def __init__(self, prompts: Iterable[str], count: int) -> None:
        """Count in how many prompts each piece occurs.

        Args:
            prompts: all of them; read once, a batch at a time.
            count: how many there are.
        """
        found = np.zeros(PIECES, np.int64)
        for batch in _batches(prompts):
            found += counts_of(pieces_of(batch))
        self._shared = shared(found, count)

    def of(self, prompts: Sequence[str]) -> csr_matrix:
        """Rows of ones, a row per prompt, (n, ``PIECES``)."""
        return without(pieces_of(prompts), self._shared)


def near_duplicates(prompts: Callable[[], Iterable[str]], count: int, of: Callable[[int], str]) -> np.ndarray:
    """Cluster of each of some different prompts: the number of its first one, int64 (n,).

    Memory grows by some 150 bytes per prompt; texts are read again where they are needed.

    Args:
        prompts: gives all of them, in order; called twice.
        count: how many there are.
        of: gives a single one by its number.
    """
    pieces = Pieces(prompts(), count)
    bands = [signatures(pieces.of(batch), BANDS, ROWS) for batch in _batches(prompts())]
    parent = np.arange(count)

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = int(parent[number])
        return number

    for first, other in _candidates(np.concatenate([np.zeros((0, BANDS), np.uint64), *bands])):
        a, b = sorted((root(first), root(other)))
        if a != b and jaccard(pieces.of([of(first)]), pieces.of([of(other)])).item() >= JACCARD:
            parent[b] = a
    return np.array([root(number) for number in range(count)], np.int64)


def _candidates(bands: np.ndarray) -> Iterator[tuple[int, int]]:
    """Prompts that share a band, each with the one before it in that band."""
    for band in bands.T:
        order = np.argsort(band, kind="stable")
        same = (band[order][1:] == band[order][:-1]) & (band[order][1:] != 0)
        for place in np.flatnonzero(same).tolist():
            yield int(order[place]), int(order[place + 1])


def _batches(prompts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for prompt in prompts:
        batch.append(prompt)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
