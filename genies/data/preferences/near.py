"""Near-duplicate prompts: found by MinHash, and confirmed by their exact overlap.

Prompts are sets of five-character pieces, so that no language needs words. MinHash (Broder 1997) with bands (Leskovec,
Rajaraman and Ullman, Mining of Massive Datasets, section 3.4) proposes, and the Jaccard index of the sets decides.
Pieces that many prompts share, such as the wording of a template, are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import HashingVectorizer

from genies.data.clusters import INSTRUCTION_LEAST, INSTRUCTION_SHARE

JACCARD = 0.8
"""Prompts whose sets overlap so far are near-duplicates."""
PIECES = 2**20
"""Numbers that pieces are hashed to."""
BANDS, ROWS = 16, 4
"""Prompts at ``JACCARD`` share a band with a probability of 0.9998."""
BATCH = 512
_PRIME = 2**31 - 1


class Pieces:
    """Sets of pieces of prompts, without those that many prompts share."""

    def __init__(self, prompts: Iterable[str], count: int) -> None:
        """Count in how many prompts each piece occurs.

        Args:
            prompts: all of them; read once, a batch at a time.
            count: how many there are.
        """
        self._vectorizer = HashingVectorizer(
            analyzer="char", ngram_range=(5, 5), n_features=PIECES, norm=None, binary=True, alternate_sign=False
        )
        found = np.zeros(PIECES, np.int64)
        for batch in _batches(prompts):
            found += np.bincount(self._vectorizer.transform(batch).indices, minlength=PIECES)
        self._shared = found > max(INSTRUCTION_SHARE * count, INSTRUCTION_LEAST - 1)

    def of(self, prompts: Sequence[str]) -> csr_matrix:
        """Rows of ones, a row per prompt, (n, ``PIECES``)."""
        pieces = csr_matrix(self._vectorizer.transform(prompts))
        pieces.data[self._shared[pieces.indices]] = 0
        pieces.eliminate_zeros()
        return pieces


def near_duplicates(prompts: Callable[[], Iterable[str]], count: int, of: Callable[[int], str]) -> np.ndarray:
    """Cluster of each of some different prompts: the number of its first one, int64 (n,).

    Memory grows by some 150 bytes per prompt; texts are read again where they are needed.

    Args:
        prompts: gives all of them, in order; called twice.
        count: how many there are.
        of: gives a single one by its number.
    """
    pieces = Pieces(prompts(), count)
    bands = np.concatenate([_bands(pieces.of(batch)) for batch in _batches(prompts())]) if count else np.zeros((0, 1))
    parent = np.arange(count)

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = int(parent[number])
        return number

    for first, other in _candidates(bands):
        a, b = sorted((root(first), root(other)))
        if a != b and _jaccard(pieces.of([of(first), of(other)])) >= JACCARD:
            parent[b] = a
    return np.array([root(number) for number in range(count)], np.int64)


def _bands(pieces: csr_matrix) -> np.ndarray:
    """A number per band of the signature of each prompt, uint64 (n, ``BANDS``); 0 where a prompt has no pieces."""
    generator = np.random.default_rng(0)
    slopes, offsets = generator.integers(1, _PRIME, (2, BANDS * ROWS), np.uint64)
    filled = np.flatnonzero(np.diff(pieces.indptr))
    bands = np.zeros((pieces.shape[0], BANDS), np.uint64)
    if not len(filled):
        return bands
    numbers, starts = pieces.indices.astype(np.uint64), pieces.indptr[filled]
    for row, (slope, offset) in enumerate(zip(slopes, offsets, strict=True)):
        least = np.minimum.reduceat((slope * numbers + offset) % np.uint64(_PRIME), starts)
        # Numbers of a band are joined modulo 2**64 by an odd factor.
        band = row // ROWS
        bands[filled, band] = bands[filled, band] * np.uint64(0x9E3779B97F4A7C15) + least + np.uint64(1)
    return bands


def _candidates(bands: np.ndarray) -> Iterator[tuple[int, int]]:
    """Prompts that share a band, each with the one before it in that band."""
    for band in bands.T:
        order = np.argsort(band, kind="stable")
        same = (band[order][1:] == band[order][:-1]) & (band[order][1:] != 0)
        for place in np.flatnonzero(same).tolist():
            yield int(order[place]), int(order[place + 1])


def _jaccard(two: csr_matrix) -> float:
    first, other = (two.indices[two.indptr[row] : two.indptr[row + 1]] for row in (0, 1))
    common = len(np.intersect1d(first, other))
    return common / max(len(first) + len(other) - common, 1)


def _batches(prompts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for prompt in prompts:
        batch.append(prompt)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
