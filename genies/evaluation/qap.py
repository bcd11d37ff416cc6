"""Whether two relations between the same things go together: the quadratic assignment procedure."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

FEWEST = 4
"""Things below which the rearrangements are too few to show anything."""


@dataclass(frozen=True)
class Relation:
    """How relations go together in each of several layers, float64 (layers,).

    Attributes:
        r: correlation over all ordered pairs of different things; 0 where one relation is the same everywhere.
        p: share of rearrangements that reach it, one-sided; NaN where there are too few things.
        p_adjusted: share of those whose largest correlation in any layer reaches it.
    """

    r: np.ndarray
    p: np.ndarray
    p_adjusted: np.ndarray


def qap(first: np.ndarray, second: np.ndarray, repeats: int, seed: int) -> Relation:
    """Correlate relations, and compare with those after the things of the first were rearranged.

    The entries of a row or column depend on each other, so they are never moved apart: rows and columns take the same
    new order, in all layers together. Where there are no more orders than ``repeats`` + 1, each is taken once.
    Sources: Mantel, Cancer Research 27, 1967; Krackhardt, Social Networks 10, 1988; p-values after Phipson and Smyth,
    Statistical Applications in Genetics and Molecular Biology 9, 2010.

    Args:
        first: a relation in each layer, float (layers, n, n); the diagonal is not looked at.
        second: another, likewise.
        repeats: how many rearrangements are drawn.
        seed: of the draws.
    """
    n = first.shape[-1]
    x, y = _standard(first), _standard(second)
    pairs = max(1, n * (n - 1))
    r = np.einsum("lij,lij->l", x, y) / pairs
    if n < FEWEST:
        nothing = np.full(len(r), np.nan)
        return Relation(r, nothing, nothing)
    if math.factorial(n) <= repeats + 1:
        orders = [list(order) for order in itertools.permutations(range(n))][1:]
    else:
        generator = np.random.default_rng(seed)
        orders = [generator.permutation(n).tolist() for _ in range(repeats)]
    drawn = np.stack([np.einsum("lij,lij->l", x[:, order][:, :, order], y) / pairs for order in orders])
    reaches = r - 1e-12
    p = (1 + (drawn >= reaches).sum(axis=0)) / (len(orders) + 1)
    p_adjusted = (1 + (drawn.max(axis=1)[:, None] >= reaches).sum(axis=0)) / (len(orders) + 1)
    return Relation(r, p, p_adjusted)


def _standard(relation: np.ndarray) -> np.ndarray:
    """Off the diagonal with mean 0 and standard deviation 1, on it 0; all 0 where it does not vary."""
    off = ~np.eye(relation.shape[-1], dtype=bool)
    found = np.zeros_like(relation, dtype=np.float64)
    for layer, values in enumerate(relation[:, off] if off.any() else ()):
        spread = values.std()
        found[layer][off] = (values - values.mean()) / spread if spread > 1e-12 else 0.0
    return found
