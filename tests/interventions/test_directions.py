"""Agreement of directions: planted ones that transfer or do not, also where a cosine would mislead."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from genies.interventions.lat_stim_1 import LatStim1
from genies.interventions.lat_stim_2 import LatStim2
from genies.interventions.logistic import Logistic
from genies.interventions.mass_mean_whitened import MassMeanWhitened
from genies.interventions.mms import MassMeanShift
from genies.interventions.steps.directions import (
    Agreement,
    direct,
    drawn,
    effective,
    halved,
    has_directions,
    reached,
)
from genies.stages.directions import reading_alike

DIM = 24


def pairs(n: int, mean: np.ndarray, scale: np.ndarray, seed: int) -> np.ndarray:
    """Pairs (n, 2, dim) whose differences have this mean, and standard deviations ``scale``."""
    rng = np.random.default_rng(seed)
    shared = 5 * rng.standard_normal((n, 1, DIM))
    noise = rng.standard_normal((n, 2, DIM)) * scale / np.sqrt(2)
    return shared + noise + np.stack([mean / 2, -mean / 2])


def compared(means: list[np.ndarray], scale: np.ndarray, n: int = 300, random: int = 0) -> Agreement:
    rule = direct(LatStim1())
    trained = [pairs(n, mean, scale, 2 * seed) for seed, mean in enumerate(means)]
    found = Agreement(
        np.stack([rule(texts[:, 0], texts[:, 1]) for texts in trained]),
        np.stack([halved(texts, np.arange(n), rule, 20, 7) for texts in trained]),
        np.stack([drawn(texts, np.arange(n), random, seed) for seed, texts in enumerate(trained)]) if random else None,
    )
    for seed, mean in enumerate(means):
        texts = pairs(n, mean, scale, 2 * seed + 1)
        found.add(texts[:, 0] - texts[:, 1])
    return found


def axis(*places: int) -> np.ndarray:
    return np.eye(DIM)[list(places)].sum(axis=0)


def test_sources_with_one_direction_agree_as_much_as_their_halves_allow_and_others_do_not():
    even = np.ones(DIM)
    found = compared([axis(0), axis(0), axis(1)], even)
    matrix, ceiling = found.matrix(), found.ceiling()
    assert matrix[0, 1] == pytest.approx(ceiling[0, 1], abs=0.04) and ceiling[0, 1] > 0.85
    assert abs(matrix[0, 2]) < 0.15 and abs(matrix[1, 2]) < 0.15
    assert 1.8 < effective(matrix) < 2.2


def test_what_a_cosine_takes_for_one_direction_scores_apart():
    """One dimension has a thousandth of the others' spread: both directions lie along it, and neither score does."""
    scale = np.ones(DIM)
    scale[0] = 0.001
    a, b = 3 * axis(0) + axis(1), 3 * axis(0) + axis(2)
    found = compared([a, b], scale, n=2000)
    cosine = found.whole[0] @ found.whole[1] / np.linalg.norm(found.whole, axis=1).prod()
    assert cosine > 0.85
    assert abs(found.matrix()[0, 1]) < 0.1 and found.ceiling()[0, 1] > 0.9


def test_what_a_cosine_takes_for_two_directions_scores_alike():
    scale = np.ones(DIM)
    scale[0] = 50
    found = compared([axis(0) + 3 * axis(1), axis(0) + 3 * axis(2)], scale, n=40000)
    cosine = found.whole[0] @ found.whole[1] / np.linalg.norm(found.whole, axis=1).prod()
    assert cosine < 0.3 and found.matrix()[0, 1] > 0.97


def test_the_ceiling_is_what_two_whole_sources_agree_by():
    """Over 40 sources of 80 pairs: Spearman and Brown's step from halves to the whole is right on average."""
    found = compared([0.5 * axis(0)] * 40, np.ones(DIM), n=80)
    off = ~np.eye(40, dtype=bool)
    assert found.ceiling()[off].mean() == pytest.approx(found.matrix()[off].mean(), abs=0.05)
    assert 0.35 < found.matrix()[off].mean() < 0.6


def test_effective_numbers_of_shared_and_of_unrelated_directions():
    assert effective(np.ones((5, 5))) == pytest.approx(1) and effective(np.eye(5)) == 5
    found = compared([axis(number) for number in range(6)], np.ones(DIM), random=50)
    unrelated = found.unrelated()
    # Squared correlations of random directions in 24 even dimensions are 1 / 24 on average.
    assert unrelated.shape == (50,) and unrelated.mean() == pytest.approx(6 / (1 + 5 / DIM), abs=0.3)
    assert effective(found.matrix()) > unrelated.mean()
    assert effective(found.ceiling()) < 1.5
    alike = compared([axis(0)] * 6, np.ones(DIM), random=50)
    assert effective(alike.matrix()) < alike.unrelated().min()


def test_noise_has_no_ceiling():
    found = compared([np.zeros(DIM)] * 30, np.ones(DIM), n=60)
    assert found.reliability().mean() < 0.2


def test_accuracy_is_predicted_by_mean_and_spread_where_scores_are_normal_and_not_elsewhere():
    rng = np.random.default_rng(0)
    normal, skewed = rng.standard_normal(20000) + 0.7, rng.exponential(size=20000) - 0.5
    found = reached(np.stack([normal, skewed, np.zeros(20000), np.ones(20000)], axis=1))
    assert found.predicted[0] == pytest.approx(norm.cdf(0.7), abs=0.01)
    assert found.accuracy[0] == pytest.approx(found.predicted[0], abs=0.01)
    assert found.predicted[1] == pytest.approx(norm.cdf(0.5), abs=0.01)
    assert found.accuracy[1] == pytest.approx(np.exp(-0.5), abs=0.01)
    assert found.predicted[2:].tolist() == [0.5, 1] and found.accuracy[2:].tolist() == [0.5, 1]


def test_a_cluster_stays_in_one_half():
    texts = pairs(8, axis(0), np.ones(DIM), 1)
    seen = []

    def rule(best: np.ndarray, worse: np.ndarray) -> np.ndarray:
        seen.append({int(np.flatnonzero((texts[:, 0] == row).all(axis=1))[0]) for row in best})
        return best[0]

    halved(texts, np.array([1, 1, 2, 2, 3, 3, 4, 4]), rule, 3, 0)
    assert len(seen) == 6
    for rows in seen:
        assert len(rows) == 4 and all((row ^ 1) in rows for row in rows)


def test_random_directions_vary_like_those_of_labels_that_say_nothing_where_pairs_share_a_response():
    rng = np.random.default_rng(11)
    best = np.repeat(rng.standard_normal((40, DIM)) * np.where(np.arange(DIM) == 0, 4, 0.3), 3, axis=0)
    texts, cluster = np.stack([best, rng.standard_normal((120, DIM))], axis=1), np.repeat(np.arange(40), 3)
    turned = rng.choice([-1, 1], (4000, 40))[:, cluster]
    centred = texts[:, 0] - texts[:, 1] - (texts[:, 0] - texts[:, 1]).mean(axis=0)
    expected = np.cov((turned @ centred / np.sqrt(120)).T)
    assert np.cov(drawn(texts, cluster, 4000, 0).T) == pytest.approx(expected, abs=0.1 * expected.max())
    assert drawn(texts, cluster, 4000, 0)[:, 0].var() > 2.5 * (texts[:, 0] - texts[:, 1])[:, 0].var()


def test_which_probes_have_directions_of_their_own():
    assert has_directions(Logistic) and has_directions(MassMeanWhitened) and has_directions(LatStim2)
    assert not has_directions(LatStim1) and not has_directions(MassMeanShift)
    texts = pairs(50, axis(0), np.ones(DIM), 1)
    expected = texts[:, 0].mean(axis=0) - texts[:, 1].mean(axis=0)
    assert direct(LatStim1())(texts[:, 0], texts[:, 1]) == pytest.approx(expected)
    assert direct(Logistic())(texts[:, 0], texts[:, 1]).shape == (DIM,)
    with pytest.raises(TypeError, match="no direction in a layer"):
        direct(object())  # type: ignore[arg-type]


def test_a_probe_with_features_of_its_own_is_compared_with_no_other():
    """Directions are found in features that the first probe of a group reads."""

    class Folded(LatStim1):
        def combine(self, *views: np.ndarray) -> np.ndarray:
            return np.abs(views[0])

    made = {"mean_difference": LatStim1(), "folded": Folded(), "logistic": Logistic(), "lat_stim_2": LatStim2()}
    assert has_directions(Folded)
    assert [[*group] for group in reading_alike(made)] == [["mean_difference", "logistic"], ["folded"], ["lat_stim_2"]]
    assert [len(group) for group in reading_alike({"one": Folded(), "other": Folded()})] == [1, 1]
