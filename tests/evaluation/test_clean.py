"""Accuracy on clean pairs: what it is, where it is not shown, and how sure its difference to seen pairs is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from genies.evaluation.clean import Clean, clean_figures
from genies.evaluation.scored import Scored
from genies.evaluation.uncertainty import accuracy_interval


def judged(correct: np.ndarray, cluster: np.ndarray) -> Scored:
    return Scored(correct, cluster, np.where(correct == 0.5, 0.5, 0.2 + 0.6 * correct))


def drawn(examples: int, each: int, seed: int = 0) -> Scored:
    correct = np.random.default_rng(seed).integers(0, 2, examples * each).astype(np.float64)
    return judged(correct, np.repeat(np.arange(examples), each))


def test_clean_figures_are_those_of_the_clean_pairs() -> None:
    pairs = drawn(60, 2)
    seen = pairs.cluster < 20
    found = clean_figures(pairs, seen)
    clean, others = pairs.correct[40:], pairs.correct[:40]
    assert found.clean_accuracy == clean.mean()
    assert (found.clean_low, found.clean_high) == accuracy_interval(clean, pairs.cluster[40:])
    assert (found.clean_pairs, found.clean_clusters) == (80, 40)
    assert found.seen_difference == pytest.approx(others.mean() - clean.mean())
    assert found.seen_difference_low < found.seen_difference < found.seen_difference_high


def test_the_interval_of_the_difference_is_welchs_where_every_pair_is_a_cluster() -> None:
    pairs = drawn(90, 1)
    found = clean_figures(pairs, pairs.cluster < 30)
    wanted = stats.ttest_ind(pairs.correct[:30], pairs.correct[30:], equal_var=False).confidence_interval()
    assert (found.seen_difference_low, found.seen_difference_high) == pytest.approx(tuple(wanted))


def test_pairs_of_one_cluster_widen_the_interval_of_the_difference() -> None:
    single = drawn(80, 1)
    repeated = Scored(*(np.repeat(part, 4) for part in (single.correct, single.cluster, single.probability)))
    narrow, wide = (clean_figures(pairs, pairs.cluster < 30) for pairs in (single, repeated))
    assert wide.seen_difference == pytest.approx(narrow.seen_difference)
    # Four copies of each pair tell no more than one.
    assert wide.seen_difference_high == pytest.approx(narrow.seen_difference_high)


@pytest.mark.parametrize(
    ("clean", "each", "shown"), [(30, 1, True), (29, 1, False), (20, 2, True), (19, 2, False), (19, 10, False)]
)
def test_too_few_clean_pairs_or_clusters_give_no_clean_figure(clean: int, each: int, shown: bool) -> None:
    pairs = drawn(clean + 25, each)
    found = clean_figures(pairs, pairs.cluster >= clean)
    assert (found.clean_pairs, found.clean_clusters) == (clean * each, clean)
    assert (found.clean_accuracy is not None) == (found.seen_difference is not None) == shown
    if not shown:
        assert found == Clean(clean_pairs=clean * each, clean_clusters=clean)


def test_where_nothing_is_seen_the_figures_are_the_ordinary_ones_however_few_pairs_there_are() -> None:
    pairs = drawn(5, 2)
    found = clean_figures(pairs, np.zeros(10, bool))
    low, high = accuracy_interval(pairs.correct, pairs.cluster)
    assert found == Clean(pairs.correct.mean(), low, high, 10, 5)


def test_where_everything_is_seen_there_is_no_clean_figure() -> None:
    assert clean_figures(drawn(50, 2), np.ones(100, bool)) == Clean(clean_pairs=0, clean_clusters=0)


def test_a_cluster_with_a_seen_pair_is_seen_as_a_whole() -> None:
    pairs = drawn(60, 2)
    seen = np.zeros(120, bool)
    seen[[0, 3]] = True
    assert clean_figures(pairs, seen).clean_clusters == 58


def test_a_difference_that_nothing_varies_or_one_cluster_tells_has_no_interval() -> None:
    ties = clean_figures(judged(np.full(100, 0.5), np.arange(100)), np.arange(100) < 50)
    assert (ties.seen_difference, ties.seen_difference_low, ties.seen_difference_high) == (0, None, None)
    one = clean_figures(drawn(40, 1), np.arange(40) < 1)
    assert one.seen_difference is not None and one.seen_difference_low is None and one.seen_difference_high is None


def test_seeds_add_their_variance_to_both_intervals() -> None:
    rng = np.random.default_rng(1)
    by_seed = rng.random((4, 100))
    by_seed[0] = 0.9  # one seed is right about everything
    correct = (by_seed > 0.5).mean(0)
    cluster, seen = np.arange(100), np.arange(100) < 40
    several = Scored(correct, cluster, by_seed.mean(0), by_seed)
    alone = Scored(correct, cluster, by_seed.mean(0))
    wide, narrow = clean_figures(several, seen), clean_figures(alone, seen)
    assert several.where(~seen).seed_variance > 0
    assert wide.clean_accuracy == narrow.clean_accuracy and wide.seen_difference == narrow.seen_difference
    assert wide.clean_high - wide.clean_low > narrow.clean_high - narrow.clean_low
    assert wide.seen_difference_high > narrow.seen_difference_high


def test_the_interval_of_the_difference_covers_the_truth() -> None:
    rng = np.random.default_rng(2)
    inside = 0
    for _ in range(1000):
        # Examples of one to three pairs that go together: right with a probability of their own.
        sizes = rng.integers(1, 4, 120)
        cluster = np.repeat(np.arange(120), sizes)
        seen = cluster < 40
        own = np.where(np.arange(120) < 40, rng.beta(9, 1, 120), rng.beta(2, 1, 120))
        correct = (rng.random(len(cluster)) < own[cluster]).astype(np.float64)
        found = clean_figures(judged(correct, cluster), seen)
        inside += found.seen_difference_low <= 0.9 - 2 / 3 <= found.seen_difference_high
    assert 930 <= inside <= 970
