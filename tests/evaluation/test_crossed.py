"""Components of the variance of an accuracy: planted ones are found, and what is not there is not."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest

from genies.evaluation.crossed import (
    Components,
    crossed_components,
    standard_deviation,
)
from genies.evaluation.uncertainty import cluster_influences

SIZES = np.array([1] * 30 + [2] * 15 + [5] * 6)
CLUSTER = np.repeat(np.arange(len(SIZES)), SIZES)
SHARED = float(np.sum(SIZES**2) / SIZES.sum() ** 2)
"""What a variance between clusters is divided into by the mean over pairs."""


def found(correct: np.ndarray, cluster: np.ndarray = CLUSTER) -> Components:
    components = crossed_components(correct.mean(axis=-1), [cluster_influences(correct, cluster)[1]])
    assert components is not None
    return components


def within_monte_carlo_error(draws: list[float], truth: float) -> bool:
    return abs(np.mean(draws) - truth) < 4 * np.std(draws, ddof=1) / np.sqrt(len(draws))


@pytest.mark.parametrize("seeds", [1, 4])
def test_planted_components_are_found_without_bias_where_clusters_are_unequal(seeds: int) -> None:
    """Every effect that a table of wordings, seeds and clusters can have is there, and noise of single pairs."""
    rng, wordings, clusters = np.random.default_rng(5), 6, len(SIZES)
    sds = {"wording": 0.05, "seed": 0.04, "both": 0.03, "example": 0.5, "by wording": 0.3, "by seed": 0.2, "pair": 0.4}
    estimates = []
    for _ in range(400):
        effects = {
            "wording": (wordings, 1, 1), "seed": (1, seeds, 1), "both": (wordings, seeds, 1),
            "example": (1, 1, clusters), "by wording": (wordings, 1, clusters), "by seed": (1, seeds, clusters),
        }  # fmt: skip
        table = sum(sds[name] * rng.standard_normal(shape) for name, shape in effects.items())
        noise = sds["pair"] * rng.standard_normal((wordings, seeds, len(CLUSTER)))
        estimates.append(found(table[..., CLUSTER] + noise))
    square = {name: sd**2 for name, sd in sds.items()}
    truth = {
        "wording": square["wording"] + (square["both"] if seeds == 1 else 0),
        "example": square["example"] * SHARED,
        "rest": (square["by wording"] + square["by seed"]) * SHARED + square["pair"] / len(CLUSTER),
    }
    if seeds == 1:  # what a seed does to an example cannot be known from the example itself
        truth["example"] += square["by seed"] * SHARED
        truth["rest"] -= square["by seed"] * SHARED
        assert all(one.seed is one.both is None for one in estimates)
    else:
        truth |= {"seed": square["seed"], "both": square["both"]}
    for name, variance in truth.items():
        assert within_monte_carlo_error([getattr(one, name) for one in estimates], variance), name


def test_wordings_without_an_effect_have_none_though_their_accuracies_differ() -> None:
    """Right or wrong at random: the spread of accuracies is that of the examples, and is not taken for wordings'."""
    rng, estimates, spread = np.random.default_rng(6), [], []
    for _ in range(400):
        easy = rng.random(len(SIZES))[CLUSTER]
        correct = (rng.random((6, 3, len(CLUSTER))) < easy).astype(float)
        estimates.append(found(correct))
        spread.append(correct.mean(axis=(1, 2)).var(ddof=1))
    for name in ("wording", "seed", "both"):
        assert within_monte_carlo_error([getattr(one, name) for one in estimates], 0.0), name
    assert np.mean(spread) > 8 * abs(np.mean([one.wording for one in estimates])) > 0
    assert 0.3 < np.mean([one.wording < 0 for one in estimates]) < 0.7


def test_where_only_wordings_matter_their_variance_is_that_of_the_accuracies() -> None:
    """Every pair is right, a tie, or wrong as the wording has it."""
    by_wording = np.array([1.0, 0.5, 0.5, 0.0, 1.0])
    correct = np.broadcast_to(by_wording[:, None, None], (5, 2, len(CLUSTER)))
    assert astuple(found(correct)) == pytest.approx((by_wording.var(ddof=1), 0, 0, 0, 0), abs=1e-12)


def test_with_single_examples_it_is_the_analysis_of_variance() -> None:
    """Mean squares of the three-way table as textbooks have them, with examples by the hundred."""
    rng, (w, s, n) = np.random.default_rng(7), (4, 3, 100)
    y = (rng.random((w, s, n)) < rng.random((w, 1, 1)) * rng.random(n)).astype(float)
    means = {axes: y.mean(axis=axes, keepdims=True) for axes in ((), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2))}
    grand = y.mean()
    ms_w = s * n * np.sum((means[1, 2] - grand) ** 2) / (w - 1)
    ms_ws = n * np.sum((means[2,] - means[1, 2] - means[0, 2] + grand) ** 2) / ((w - 1) * (s - 1))
    ms_wc = s * np.sum((means[1,] - means[1, 2] - means[0, 1] + grand) ** 2) / ((w - 1) * (n - 1))
    rest = y - means[0,] - means[1,] - means[2,] + means[0, 1] + means[0, 2] + means[1, 2] - grand
    ms_wsc = np.sum(rest**2) / ((w - 1) * (s - 1) * (n - 1))
    own = found(y, np.arange(n))
    assert own.wording == pytest.approx((ms_w - ms_ws - ms_wc + ms_wsc) / (s * n))
    assert own.both == pytest.approx((ms_ws - ms_wsc) / n)
    total = y.reshape(w * s, n).var(axis=1, ddof=1).mean() / n
    assert own.example + own.rest == pytest.approx(total)


def test_a_mean_over_shifts_counts_a_target_that_they_share_once_and_others_as_independent() -> None:
    """Of twice the same shift the mean is the shift; of two targets, errors have half the variance."""
    rng = np.random.default_rng(8)
    correct = (rng.random((6, 1, len(CLUSTER))) < 0.7).astype(float)
    accuracy, own = correct.mean(axis=-1), cluster_influences(correct, CLUSTER)[1]
    once = crossed_components(accuracy, [own])
    assert once is not None and crossed_components(accuracy, [(own + own) / 2]) == once
    apart = crossed_components(accuracy, [own / 2, own / 2])
    assert apart is not None and apart.example + apart.rest == pytest.approx((once.example + once.rest) / 2)


def test_what_cannot_be_estimated_is_left_out() -> None:
    correct = np.ones((1, 3, len(CLUSTER)))
    assert crossed_components(correct.mean(axis=-1), [cluster_influences(correct, CLUSTER)[1]]) is None
    assert crossed_components(np.ones((2, 1)), [np.zeros((2, 1, 1))]) is None
    assert [*map(standard_deviation, (0.04, -0.01, None))] == [pytest.approx(0.2), 0.0, None]
