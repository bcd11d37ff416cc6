"""The permutation null: its solver against plain loops, at the null, and with a planted direction."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from genies.interventions.steps.permutations import Nulls, chosen_sites, nulls, signs
from genies.interventions.steps.split import folds


def drawn(n: int, effect: float, seed: int, layers: int = 2, heads: int = 3, dim: int = 4) -> list[np.ndarray]:
    """Differences of each layer, (n, heads, dim); the last head of the last layer differs by ``effect``."""
    rng = np.random.default_rng(seed)
    found = [rng.standard_normal((n, heads, dim)).astype(np.float32) for _ in range(layers)]
    found[-1][:, -1, 0] += effect
    return found


def solved(train, test, label, repeats, kept=2, cluster=None, seed=0) -> Nulls:
    cluster = np.arange(len(train[0])) if cluster is None else cluster
    turned = signs(cluster, repeats, seed)
    keeps = chosen_sites(enumerate(train), turned, cluster, kept, 42)
    return nulls(lambda: enumerate(train), [("t", test.__getitem__, label)], turned, keeps)["t"]


def test_the_solver_is_the_plain_loop_over_turned_pairs():
    cluster = np.repeat(np.arange(10), 2)
    train, test = drawn(20, 0.8, 1), drawn(30, 0.8, 2)
    label = np.random.default_rng(3).random(30) < 0.5
    turned = signs(cluster, 15, 0)
    accuracies = []
    for sign in turned.T:
        sites = [(layer, head) for layer in range(2) for head in range(3)]
        ranked = []
        for layer, head in sites:
            pairs = train[layer][:, head] * sign[:, None]
            right = np.zeros(20)
            for rows in folds(cluster, 42):
                others = np.setdiff1d(np.arange(20), rows)
                right[rows] = 0.5 * (1 + np.sign(pairs[rows] @ pairs[others].mean(axis=0)))
            ranked.append(right.mean())
        score = np.zeros(30)
        for place in np.argsort(-np.array(ranked), kind="stable")[:2]:
            layer, head = sites[place]
            direction = (train[layer][:, head] * sign[:, None]).mean(axis=0)
            own = test[layer][:, head]
            score += own @ direction / np.linalg.norm(own, axis=1) / np.linalg.norm(direction)
        accuracies.append(np.mean((score > 0) == label))
    found = solved(train, test, label, 15, cluster=cluster)
    assert found.accuracy == pytest.approx(accuracies[0])
    assert found.repeats == pytest.approx(np.sort(accuracies[1:]))


def test_pairs_of_a_cluster_are_turned_together_and_the_first_repeat_turns_none():
    turned = signs(np.array([5, 5, 7, 9, 7]), 50, 1)
    assert (turned[:, 0] == 1).all() and set(np.unique(turned)) == {-1, 1}
    assert (turned[0] == turned[1]).all() and (turned[2] == turned[4]).all() and (turned[0] != turned[2]).any()


def test_a_planted_direction_is_beyond_its_null_which_is_wide():
    found = solved(drawn(80, 1.0, 4), drawn(400, 1.0, 5), np.ones(400, bool), 199, kept=1)
    assert found.accuracy == pytest.approx(0.84, abs=0.05) and found.p <= 0.05  # Φ(1)
    assert found.quantile(0.025) < 0.35 and found.quantile(0.975) > 0.65


def test_at_the_null_5_percent_are_rejected():
    """200 sources whose labels say nothing, each with 99 repeats on a target whose pairs do differ alike."""
    rejected = 0
    for seed in range(200):
        train = drawn(30, 0.0, 2 * seed, layers=1)
        flips = np.random.default_rng(seed).integers(0, 2, 30) * 2 - 1
        train = [layer * flips[:, None, None] for layer in train]
        rejected += solved(train, drawn(40, 1.0, 2 * seed + 1, layers=1), np.ones(40, bool), 99, seed=seed).p <= 0.05
    low, high = binom.interval(0.999, 200, 0.05)
    assert low <= rejected <= high


def test_a_p_value_counts_equals_and_quantiles_are_accuracies():
    null = Nulls(0.7, np.array([0.4, 0.5, 0.6, 0.7]))
    assert null.p == 2 / 5 and null.quantile(0.5) == 0.5 and null.quantile(1.0) == 0.7
    assert Nulls(0.9, null.repeats).p == 1 / 5 and Nulls(0.1, null.repeats).p == 1
