"""Texts as sets of pieces, and which of many such sets may overlap much (MinHash).

A piece is five characters, so that no language needs words. MinHash (Broder 1997, On the resemblance and containment of
documents) with bands (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4) proposes pairs; the
Jaccard index of the two sets decides. Pieces that many texts share, such as the wording of a template, are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import HashingVectorizer

from genies.data.clusters import INSTRUCTION_LEAST, INSTRUCTION_SHARE

PIECES = 2**20
"""Numbers that pieces are hashed to."""
_VECTORIZER = HashingVectorizer(
    analyzer="char",
    ngram_range=(5, 5),
    n_features=PIECES,
    norm=None,
    binary=True,
    alternate_sign=False,
    dtype=np.float32,
)


def pieces_of(texts: Sequence[str]) -> csr_matrix:
    """The pieces of texts, in lower case and with runs of white space as one space: rows of ones, (n, ``PIECES``)."""
    return csr_matrix(_VECTORIZER.transform(texts)) if len(texts) else csr_matrix((0, PIECES), dtype=np.float32)


def counts_of(pieces: csr_matrix) -> np.ndarray:
    """In how many texts each piece occurs, int64 (``PIECES``,)."""
    return np.bincount(pieces.indices, minlength=PIECES)


def shared(counts: np.ndarray, texts: int) -> np.ndarray:
    """Which pieces so many texts have that they are wording of all of them, bool (``PIECES``,).

    The share is the one from which on a prompt is an instruction (``genies.data.clusters``).

    Args:
        counts: as ``counts_of`` gives them.
        texts: how many texts there are.
    """
    return counts > max(INSTRUCTION_SHARE * texts, INSTRUCTION_LEAST - 1)


def without(pieces: csr_matrix, left_out: np.ndarray) -> csr_matrix:
    """The rows without some pieces.

    Args:
        pieces: of texts, (n, ``PIECES``).
        left_out: whether a piece is left out, bool (``PIECES``,).
    """
    kept = pieces.copy()
    kept.data[left_out[kept.indices]] = 0
    kept.eliminate_zeros()
    return kept


def signatures(pieces: csr_matrix, bands: int, rows: int) -> np.ndarray:
    """A number for each band of the signature of each text, uint64 (n, bands); 0 where a text has no pieces.

    Two texts with a Jaccard index of J have the number of at least one band in common with a probability of
    1 − (1 − J^rows)^bands.
    """
    from datasketch import MinHash  # takes longer to import than most jobs take to do their work

    filled = np.flatnonzero(np.diff(pieces.indptr))
    found = np.zeros((pieces.shape[0], bands), np.uint64)
    if not len(filled):
        return found
    sets = (pieces.indices[pieces.indptr[row] : pieces.indptr[row + 1]].tolist() for row in filled)
    hashed = MinHash.generator(sets, num_perm=bands * rows, seed=1, hashfunc=int)
    least = np.stack([signature.hashvalues for signature in hashed]).astype(np.uint64)
    for row, column in enumerate(least.T):
        # Numbers of a band are joined modulo 2**64 by an odd factor.
        band = row // rows
        found[filled, band] = found[filled, band] * np.uint64(0x9E3779B97F4A7C15) + column + np.uint64(1)
    return found


def jaccard(one: csr_matrix, other: csr_matrix) -> np.ndarray:
    """The Jaccard index of each row of one matrix and the same row of the other, float64 (n,); 0 of two empty rows."""
    common = np.asarray(one.multiply(other).sum(axis=1), np.float64).ravel()
    sizes = one.getnnz(axis=1) + other.getnnz(axis=1)
    return common / np.maximum(sizes - common, 1)
