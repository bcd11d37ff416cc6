"""The interval of an accuracy: what it covers, and what it does at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from genies.evaluation.uncertainty import accuracy_interval


def clustered(accuracy: float, correlation: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Answers to one to three pairs of each of 250 examples, which go together within an example."""
    example = np.repeat(np.arange(250), generator.integers(1, 4, 250))
    if correlation == 1:
        return (generator.random(250) < accuracy)[example].astype(float), example
    spread = (1 - correlation) / correlation
    of_example = generator.beta(accuracy * spread, (1 - accuracy) * spread, 250)
    return (generator.random(len(example)) < of_example[example]).astype(float), example


@pytest.mark.long
@pytest.mark.parametrize(("accuracy", "correlation"), [(0.5, 0.3), (0.9, 0.7), (0.97, 0.3), (0.985, 0.7)])
def test_accuracy_intervals_cover_what_they_promise(accuracy, correlation):
    generator = np.random.default_rng(20)
    intervals = [accuracy_interval(*clustered(accuracy, correlation, generator)) for _ in range(2_000)]
    covered = np.mean([low <= accuracy <= high for low, high in intervals])
    assert covered >= 0.93
    # Near 1 few answers are wrong, and an interval that covers more is accepted.
    assert covered <= (0.97 if accuracy <= 0.97 else 1)


REPEATS = 500
LEAST = 0.95 - 3.3 * (0.95 * 0.05 / REPEATS) ** 0.5
"""What 500 intervals that cover 0.95 of the truths are seen to cover, but for one trial in 2,000."""


@pytest.mark.long
@pytest.mark.parametrize(("right", "ties", "examples", "each"), [
    (0.9, 0.995, 250, 1), (0.9, 0.995, 30, 1), (0.9, 0.995, 80, 3), (0.97, 0.9, 30, 1), (0.97, 0.9, 80, 3),
    (0.995, 0.3, 250, 1), (0.8, 0.1, 80, 3),
])  # fmt: skip
def test_accuracy_intervals_cover_where_pairs_tie_and_hardly_any_is_wrong(right, ties, examples, each):
    generator = np.random.default_rng([21, examples, int(1000 * right)])
    cluster, covered = np.repeat(np.arange(examples), each), 0
    for _ in range(REPEATS):
        tie, of_others = (generator.beta(share, 1 - share, examples)[cluster] for share in (ties, right))
        if each == 1:
            tie, of_others = ties, right
        drawn = (generator.random(len(cluster)) < of_others).astype(float)
        low, high = accuracy_interval(np.where(generator.random(len(cluster)) < tie, 0.5, drawn), cluster)
        covered += low <= right * (1 - ties) + ties / 2 <= high
    assert covered / REPEATS >= LEAST


SHAPES = {
    "three large ones": [60] * 3 + [1] * 50, "two large ones": [75] * 2 + [1] * 100, "a large one": [100] + [1] * 100,
    "halves of halves": [128, 64, 32, 16, 8, 4, 2, 1, 1], "five": [50] * 5,
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("accuracy", "correlation"), [(0.5, 0.3), (0.8, 0.1), (0.8, 1.0), (0.95, 0.3)])
def test_accuracy_intervals_cover_where_a_few_clusters_hold_most_pairs(shape, accuracy, correlation):
    generator = np.random.default_rng([22, len(SHAPES[shape]), int(100 * accuracy)])
    cluster, covered = np.repeat(np.arange(len(SHAPES[shape])), SHAPES[shape]), 0
    spread = max((1 - correlation) / correlation, 1e-9)
    for _ in range(REPEATS):
        own = generator.beta(accuracy * spread, (1 - accuracy) * spread, len(SHAPES[shape]))
        low, high = accuracy_interval((generator.random(len(cluster)) < own[cluster]).astype(float), cluster)
        covered += low <= accuracy <= high
    assert covered / REPEATS >= LEAST


def test_clusters_that_hold_many_pairs_without_agreement_cost_little():
    cluster = np.repeat([0, 1, 2, 3, 4], 50)
    low, high = accuracy_interval(np.tile([1.0, 0.0], 125), cluster)
    exact = stats.binomtest(125, 250).proportion_ci(0.95, method="exact")
    assert high - low < 1.8 * (exact.high - exact.low)


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


def test_ties_throughout_do_not_rule_out_that_a_pair_is_right_or_wrong():
    # Each has a probability of at most 1 − 0.025^(1/30), and moves the accuracy by one half.
    low, high = accuracy_interval(np.full(30, 0.5), np.arange(30))
    assert (0.5 - low, high - 0.5) == pytest.approx(((1 - 0.025 ** (1 / 30)) / 2,) * 2)


def test_where_half_the_pairs_tie_the_interval_is_that_of_half_a_share() -> None:
    """No pair is wrong, so only the share of right pairs varies, and that some could be wrong."""
    low, high = accuracy_interval(np.repeat([1.0, 0.5], 100), np.arange(200))
    exact = stats.binomtest(100, 200).proportion_ci(0.95, method="exact")
    assert high == pytest.approx(0.75 + (exact.high - 0.5) / 2)
    assert low == pytest.approx(0.75 - np.hypot(0.5 - exact.low, 1 - 0.025 ** (1 / 200)) / 2)


def test_one_example_says_almost_nothing():
    low, high = accuracy_interval([1.0, 1.0, 0.0], [4, 4, 4])
    assert high - low > 0.9


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 0.05, 0.5, 0.95, 1]), st.integers(0, 6)), min_size=1, max_size=60))
@pytest.mark.filterwarnings("error", "ignore::hypothesis.errors.HypothesisWarning")
def test_whatever_the_pairs_the_interval_lies_around_the_accuracy_and_turns_with_it(pairs):
    correct, example = np.array(pairs).T
    low, high = accuracy_interval(correct, example)
    assert 0 <= low <= correct.mean() + 1e-12 and correct.mean() - 1e-12 <= high <= 1
    assert low < high
    assert accuracy_interval(1 - correct, example) == pytest.approx((1 - high, 1 - low), abs=1e-9)
    wider = accuracy_interval(correct, example, seed_variance=0.01, seeds=10)
    assert (wider[0] <= low and high <= wider[1] and wider[1] - wider[0] > high - low) or (low, high) == (0, 1)


@pytest.mark.parametrize(
    ("correct", "example"), [([], []), ([1.0], [1, 2]), ([1.5], [1]), ([float("nan")], [1]), ([[1.0]], [[1]])]
)
def test_accuracies_that_are_none_are_refused(correct, example):
    with pytest.raises(ValueError):
        accuracy_interval(correct, example)
