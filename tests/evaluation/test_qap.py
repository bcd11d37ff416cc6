"""The quadratic assignment procedure: its level where relations have nothing in common, and its power."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from genies.evaluation.qap import qap


def relations(n: int, strength: float, seed: int, layers: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A symmetric relation, and another that follows it; both depend strongly on the things that they are between."""
    rng = np.random.default_rng(seed)
    place = rng.standard_normal((layers, n, 3))
    first = place @ place.swapaxes(1, 2)
    other = rng.standard_normal((layers, n, 3))
    rows = rng.standard_normal((layers, n, 1))
    return first, strength * first + other @ other.swapaxes(1, 2) + rows + 0.3 * rng.standard_normal((layers, n, n))


def test_at_the_null_5_percent_are_rejected_though_rows_and_columns_hang_together():
    rejected = sum(float(qap(*relations(10, 0.0, seed), 199, seed).p[0]) <= 0.05 for seed in range(200))
    low, high = binom.interval(0.999, 200, 0.05)
    assert low <= rejected <= high


def test_the_largest_of_several_layers_is_no_more_often_rejected():
    found = [qap(*relations(10, 0.0, seed, layers=6), 199, seed) for seed in range(200)]
    low, high = binom.interval(0.999, 200, 0.05)
    assert low <= sum(one.p_adjusted.min() <= 0.05 for one in found) <= high
    assert sum(one.p.min() <= 0.05 for one in found) > high


def test_a_planted_relation_is_found():
    found = [qap(*relations(10, 1.0, seed), 199, seed).p[0] for seed in range(50)]
    assert sum(p <= 0.05 for p in found) >= 40


def test_few_things_are_rearranged_in_every_way_and_fewer_not_at_all():
    first, _ = relations(4, 0, 1)
    assert qap(first, first, 999, 0).p[0] == pytest.approx(1 / 24)
    first, second = relations(3, 1, 1)
    small = qap(first, second, 999, 0)
    assert np.isnan(small.p[0]) and -1 <= small.r[0] <= 1


def test_the_diagonal_is_not_looked_at_and_what_does_not_vary_goes_with_nothing():
    first, second = relations(6, 1, 2)
    changed = first + 100 * np.eye(6)
    assert qap(changed, second, 99, 0).r == pytest.approx(qap(first, second, 99, 0).r)
    off = ~np.eye(6, dtype=bool)
    assert qap(first, second, 99, 0).r[0] == pytest.approx(np.corrcoef(first[0][off], second[0][off])[0, 1])
    assert qap(np.ones((1, 6, 6)), second, 99, 0).p[0] == 1
