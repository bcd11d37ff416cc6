"""Intervals: what they cover, and what they do at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from genies.evaluation.uncertainty import accuracy_interval, mean_interval


def clustered(accuracy: float, correlation: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Answers to one to three pairs of each of 250 examples, which go together within an example."""
    example = np.repeat(np.arange(250), generator.integers(1, 4, 250))
    if correlation == 1:
        return (generator.random(250) < accuracy)[example].astype(float), example
    spread = (1 - correlation) / correlation
    of_example = generator.beta(accuracy * spread, (1 - accuracy) * spread, 250)
    return (generator.random(len(example)) < of_example[example]).astype(float), example


@pytest.mark.parametrize(("accuracy", "correlation"), [(0.5, 0.3), (0.9, 0.7), (0.97, 0.3), (0.985, 0.7)])
def test_accuracy_intervals_cover_what_they_promise(accuracy, correlation):
    generator = np.random.default_rng(20)
    intervals = [accuracy_interval(*clustered(accuracy, correlation, generator)) for _ in range(2_000)]
    covered = np.mean([low <= accuracy <= high for low, high in intervals])
    assert covered >= 0.93
    # Near 1 few answers are wrong, and an interval that covers more is accepted.
    assert covered <= (0.97 if accuracy <= 0.97 else 1)


def mean_coverage(draw: str, mean: float, shifts: int) -> float:
    """Share of 2,000 intervals that hold the true mean of what was drawn."""
    generator = np.random.default_rng([21, shifts, round(100 * mean)])
    samples = {
        "normal": lambda: generator.normal(mean, 0.2, shifts),
        "uniform": lambda: generator.uniform(2 * mean - 1, 1, shifts),
        "skewed": lambda: generator.beta(100 * mean, 100 * (1 - mean), shifts),
        "long tail": lambda: generator.beta(10 * mean, 10 * (1 - mean), shifts),
    }[draw]
    return float(np.mean([low <= mean <= high for low, high in (mean_interval(samples()) for _ in range(2_000))]))


@pytest.mark.parametrize("shifts", [15, 56])
@pytest.mark.parametrize("mean", [0.5, 0.6, 0.8, 0.9, 0.97])
@pytest.mark.parametrize("draw", ["normal", "uniform", "skewed"])
def test_mean_intervals_cover_what_they_promise(shifts, mean, draw):
    assert 0.93 <= mean_coverage(draw, mean, shifts) <= 0.965


@pytest.mark.parametrize(
    ("mean", "shifts", "least"), [(0.8, 15, 0.93), (0.9, 15, 0.91), (0.97, 15, 0.85), (0.97, 56, 0.91)]
)
def test_a_long_tail_near_1_costs_coverage_as_stated(mean, shifts, least):
    assert least <= mean_coverage("long tail", mean, shifts) <= 0.965


def test_independent_pairs_get_the_interval_of_clopper_and_pearson():
    correct = np.r_[np.ones(180), np.zeros(70)]
    exact = stats.binomtest(180, 250).proportion_ci(0.95, method="exact")
    low, high = accuracy_interval(correct, np.arange(250))
    assert low == pytest.approx(exact.low, abs=1e-9)
    assert high == pytest.approx(exact.high, abs=1e-9)


def test_pairs_that_repeat_their_example_tell_no_more_than_one_of_them():
    correct = np.r_[np.ones(180), np.zeros(70)]
    once = accuracy_interval(correct, np.arange(250))
    thrice = accuracy_interval(np.repeat(correct, 3), np.repeat(np.arange(250), 3))
    assert thrice == pytest.approx(once, abs=0.002)


def test_order_and_names_of_examples_play_no_part():
    generator = np.random.default_rng(3)
    correct, example = clustered(0.8, 0.5, generator)
    shuffled = generator.permutation(len(correct))
    renamed = accuracy_interval(correct[shuffled], example[shuffled] * -7 + 10**12)
    assert renamed == pytest.approx(accuracy_interval(correct, example), abs=1e-12)


def test_perfect_and_hopeless_accuracies_have_intervals_too():
    example = np.repeat(np.arange(100), 2)
    low, high = accuracy_interval(np.ones(200), example)
    assert high == 1
    # The rule of three over 100 examples that agree, two-sided: 1 − 0.025^(1/100).
    assert low == pytest.approx(0.025 ** (1 / 100), abs=0.002)
    assert accuracy_interval(np.zeros(200), example) == pytest.approx((1 - high, 1 - low))


def test_ties_throughout_leave_nothing_uncertain():
    assert accuracy_interval(np.full(30, 0.5), np.arange(30)) == (0.5, 0.5)


def test_one_example_says_almost_nothing():
    low, high = accuracy_interval([1.0, 1.0, 0.0], [4, 4, 4])
    assert high - low > 0.9


@pytest.mark.parametrize(
    ("correct", "example"), [([], []), ([1.0], [1, 2]), ([1.5], [1]), ([float("nan")], [1]), ([[1.0]], [[1]])]
)
def test_accuracies_that_are_none_are_refused(correct, example):
    with pytest.raises(ValueError):
        accuracy_interval(correct, example)


def test_mean_interval_is_students_t():
    values = np.array([0.2, 0.5, 0.6, 0.9])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert mean_interval(values, 0.9) == pytest.approx((expected.low, expected.high))


def test_a_shift_listed_twice_counts_twice_in_the_mean_but_once_as_evidence():
    values = np.array([0.1, 0.4, 0.5, 0.9])
    low, high = mean_interval(values, weights=[2, 1, 1, 1])
    assert (low + high) / 2 == pytest.approx((0.2 + 0.4 + 0.5 + 0.9) / 5)
    twice_low, twice_high = mean_interval(np.r_[0.1, values])
    assert high - low > twice_high - twice_low
    assert mean_interval(values, weights=[3, 3, 3, 3]) == pytest.approx(mean_interval(values))


@pytest.mark.parametrize(
    ("values", "weights"),
    [([0.5], None), ([0.5, float("nan")], None), ([0.5, 0.6], [1]), ([0.5, 0.6], [1, 0]), ([0.5, 0.6], [1, -1])],
)
def test_means_without_an_interval_are_refused(values, weights):
    with pytest.raises(ValueError):
        mean_interval(values, weights=weights)
