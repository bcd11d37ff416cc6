"""Accuracy on clean pairs: what it is, where it is not shown, and how sure its difference to seen pairs is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from genies.evaluation.clean import Clean, clean_figures
from genies.evaluation.scored import Scored
from genies.evaluation.uncertainty import accuracy_interval, clustered_variance


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


def test_the_interval_of_the_difference_is_newcombes_from_two_exact_ones() -> None:
    pairs = drawn(90, 1)
    found = clean_figures(pairs, pairs.cluster < 30)
    seen, clean = pairs.correct[:30], pairs.correct[30:]
    (one, other), (a, b) = (
        (seen.mean(), clean.mean()),
        (stats.binomtest(int(side.sum()), len(side)).proportion_ci(0.95, method="exact") for side in (seen, clean)),
    )
    below, above = np.hypot(one - a.low, b.high - other), np.hypot(a.high - one, other - b.low)
    assert (found.seen_difference_low, found.seen_difference_high) == pytest.approx(
        (one - other - below, one - other + above)
    )


def test_pairs_of_one_cluster_widen_the_interval_of_the_difference() -> None:
    single = drawn(80, 1)
    repeated = Scored(*(np.repeat(part, 4) for part in (single.correct, single.cluster, single.probability)))
    narrow, wide = (clean_figures(pairs, pairs.cluster < 30) for pairs in (single, repeated))
    assert wide.seen_difference == pytest.approx(narrow.seen_difference)
    # Four copies of each pair tell no more than one.
    assert wide.seen_difference_high == pytest.approx(narrow.seen_difference_high, abs=0.01)


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


def test_a_difference_that_is_the_same_throughout_or_of_one_cluster_is_not_certain() -> None:
    ties = clean_figures(judged(np.full(100, 0.5), np.arange(100)), np.arange(100) < 50)
    assert ties.seen_difference == 0
    # That half of 50 pairs could be right or wrong, each with a probability of at most 1 − 0.025^(1/50).
    most = (1 - 0.025 ** (1 / 50)) / 2
    assert (ties.seen_difference_low, ties.seen_difference_high) == pytest.approx((-most * 2**0.5, most * 2**0.5))
    right = judged(np.repeat([1.0, 0.0], [9, 31]), np.arange(40))
    one = clean_figures(right, right.cluster < 1)
    assert one.seen_difference == pytest.approx(1 - 8 / 39)
    assert one.seen_difference_low < 0 < one.seen_difference_high <= 1


def test_two_seen_pairs_that_are_right_say_little() -> None:
    pairs = judged(np.repeat([1.0, 0.0], [26, 6]), np.arange(32))
    found = clean_figures(pairs, pairs.cluster < 2)
    assert found.seen_difference == pytest.approx(0.2)
    assert found.seen_difference_low < -0.5


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


def of_clusters(rng: np.random.Generator, accuracy: float, pairs: int, each: int, first: int) -> Scored:
    """Pairs in clusters of this size, right with a probability of the cluster's own, alike by 0.4."""
    cluster = np.repeat(np.arange(-(-pairs // each)), each)[:pairs]
    own = rng.beta(1.5 * accuracy, 1.5 * (1 - accuracy), cluster[-1] + 1) if each > 1 else np.full(pairs, accuracy)
    return judged((rng.random(pairs) < own[cluster]).astype(np.float64), cluster + first)


def both(seen: Scored, clean: Scored) -> tuple[Scored, np.ndarray]:
    parts = [np.concatenate([getattr(side, name) for side in (seen, clean)]) for name in
             ("correct", "cluster", "probability")]  # fmt: skip
    sets = None if seen.drawn_set is None else np.concatenate([seen.drawn_set, clean.drawn_set])
    return Scored(*parts, drawn_set=sets), np.arange(len(parts[0])) < len(seen.correct)


REPEATS = 300
LEAST = 0.95 - 3.3 * (0.95 * 0.05 / REPEATS) ** 0.5
"""What 300 intervals that cover 0.95 of the truths are seen to cover, but for one trial in 2,000."""


@pytest.mark.long
@pytest.mark.parametrize(
    ("accuracy", "seen", "clean", "each"),
    [
        (0.5, 2, 30, 1), (0.97, 2, 200, 1), (0.8, 10, 200, 1), (0.97, 10, 200, 1), (0.97, 200, 30, 1),
        (0.995, 200, 200, 1), (0.8, 200, 200, 1), (0.5, 2, 60, 3), (0.8, 10, 60, 3), (0.97, 200, 60, 3),
        (0.8, 200, 200, 3),
    ],
)  # fmt: skip
def test_the_interval_of_the_difference_covers_none_where_there_is_none(
    accuracy: float, seen: int, clean: int, each: int
) -> None:
    rng = np.random.default_rng([3, int(1000 * accuracy), seen, clean, each])
    inside, width, ordinary, of_students = 0, 0.0, accuracy == 0.8 and seen == clean, 0.0
    for _ in range(REPEATS):
        sides = of_clusters(rng, accuracy, seen, each, 0), of_clusters(rng, accuracy, clean, each, seen)
        found = clean_figures(*both(*sides))
        inside += found.seen_difference_low <= 0 <= found.seen_difference_high
        width += found.seen_difference_high - found.seen_difference_low
        if ordinary:
            variances = [clustered_variance(side.correct, numbered(side)) for side in sides]
            of_students += 2 * stats.norm.ppf(0.975) * sum(variances) ** 0.5
    assert inside / REPEATS >= LEAST
    # Where there are many pairs, and both kinds of them, the usual interval covers, too; this one is hardly wider.
    assert not ordinary or width < 1.1 * of_students


def numbered(side: Scored) -> np.ndarray:
    return np.unique(side.cluster, return_inverse=True)[1]


@pytest.mark.long
def test_the_interval_of_the_difference_covers_a_difference() -> None:
    rng = np.random.default_rng(2)
    inside = 0
    for _ in range(500):
        # Examples of one to three pairs that go together: right with a probability of their own.
        sizes = rng.integers(1, 4, 120)
        cluster = np.repeat(np.arange(120), sizes)
        seen = cluster < 40
        own = np.where(np.arange(120) < 40, rng.beta(9, 1, 120), rng.beta(2, 1, 120))
        correct = (rng.random(len(cluster)) < own[cluster]).astype(np.float64)
        found = clean_figures(judged(correct, cluster), seen)
        inside += found.seen_difference_low <= 0.9 - 2 / 3 <= found.seen_difference_high
    assert inside / 500 >= 0.95 - 3.3 * (0.95 * 0.05 / 500) ** 0.5


def dealt(rng: np.random.Generator, pairs: int, accuracy: np.ndarray, first: int) -> Scored:
    """Pairs that are each judged after one of several sets of shots, of these accuracies."""
    drawn_set = rng.integers(len(accuracy), size=pairs)
    side = judged((rng.random(pairs) < accuracy[drawn_set]).astype(np.float64), np.arange(pairs) + first)
    return Scored(side.correct, side.cluster, side.probability, drawn_set=drawn_set)


@pytest.mark.long
@pytest.mark.parametrize(("alike", "apart"), [(0.12, 0.0), (0.05, 0.25)])
def test_the_interval_of_the_difference_holds_the_spread_over_sets_of_shots(alike: float, apart: float) -> None:
    """Eight sets, which help both sides alike or one side more than the other."""
    rng = np.random.default_rng([4, int(100 * apart)])
    inside, width, without = 0, 0.0, 0.0
    for _ in range(REPEATS):
        shift, own = alike * rng.standard_normal(8), apart * rng.standard_normal(8)
        sides = [np.clip(0.65 + shift + half * own, 0, 1) for half in (0.5, -0.5)]
        pairs, seen = both(dealt(rng, 250, sides[0], 0), dealt(rng, 250, sides[1], 250))
        found, alone = clean_figures(pairs, seen), clean_figures(replace(pairs, drawn_set=None), seen)
        inside += found.seen_difference_low <= 0 <= found.seen_difference_high
        width += found.seen_difference_high - found.seen_difference_low
        without += alone.seen_difference_high - alone.seen_difference_low
    assert inside / REPEATS >= LEAST
    # What helps both alike cancels; an estimate that may not be negative is too large on average.
    assert width < 1.2 * without if not apart else width > 2 * without
