"""LEACE: its guarantee, a reference calculation, and planted directions that it takes or leaves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.covariance import ledoit_wolf

from genies.interventions.lat_pca import LatPca
from genies.interventions.lat_stim_1 import LatStim1
from genies.interventions.logistic import Logistic
from genies.interventions.mass_mean_whitened import MassMeanWhitened
from genies.interventions.steps.directions import direct
from genies.interventions.steps.erasure import Eraser, accuracy, erasers

DIM = 30


def pairs(n: int, mean: np.ndarray, seed: int) -> np.ndarray:
    """Pairs (n, 2, dim) of strongly anisotropic texts, whose differences have this mean."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).standard_normal((DIM, DIM)) * np.geomspace(10, 0.1, DIM)
    noise = rng.standard_normal((n, 2, DIM)) @ (np.eye(DIM) + 0.05 * mix)
    return 3 + noise + np.stack([mean / 2, -mean / 2])


def erasers_of(texts: np.ndarray, draws: int = 0, seed: int = 0) -> list[Eraser]:
    """Those of pairs with a prompt each."""
    return erasers(texts, np.arange(len(texts)), draws, seed)


@pytest.mark.parametrize("n", [200, 10])
def test_erased_features_have_no_covariance_with_the_label_and_least_squares_predicts_a_constant(n):
    """Also with fewer texts than dimensions."""
    train = pairs(n, 2 * np.eye(DIM)[0], 1)
    texts, label = train.reshape(-1, DIM), np.tile([1.0, 0.0], n)
    before = (texts - texts.mean(axis=0)).T @ (label - 0.5) / len(texts)
    erased = erasers_of(train)[0](texts)
    after = (erased - erased.mean(axis=0)).T @ (label - 0.5) / len(texts)
    assert np.abs(before).max() > 0.2 and np.abs(after).max() < 1e-10
    if n == 200:
        columns = np.column_stack([erased, np.ones(len(erased))])
        fitted = columns @ np.linalg.lstsq(columns, label, rcond=None)[0]
        assert fitted == pytest.approx(np.full(len(label), 0.5), abs=1e-8)


def test_it_is_the_published_formula():
    """r(x) = x − W⁺ P W (x − μ), with W the whitening and P the projection on W Σ_xz (theorem 4.3)."""
    train = pairs(100, np.eye(DIM)[0] + np.eye(DIM)[3], 2)
    texts, label = train.reshape(-1, DIM), np.tile([1.0, 0.0], 100)
    centred = texts - texts.mean(axis=0)
    covariance, _ = ledoit_wolf(centred, assume_centered=True)
    whiten = np.linalg.inv(sqrtm(covariance).real)
    cross = (whiten @ centred.T @ (label - label.mean()) / len(texts))[:, None]
    projection = cross @ np.linalg.pinv(cross)
    expected = texts - centred @ (np.linalg.inv(whiten) @ projection @ whiten).T
    assert erasers_of(train)[0](texts) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("probe", [LatStim1(), Logistic(), MassMeanWhitened(), LatPca()])
def test_the_source_direction_is_taken_and_another_is_left(probe):
    # Far longer than the features' noise, so that rules find them which know nothing of its covariance.
    first, second = 12 * np.eye(DIM)[0], 12 * np.eye(DIM)[1]
    source, alike, other = pairs(300, first, 1), pairs(300, first, 2), pairs(300, second, 3)
    rule, erase = direct(probe), erasers_of(source)[0]
    assert accuracy(alike, pairs(300, first, 4), rule) > 0.85
    assert abs(accuracy(erase(alike), erase(pairs(300, first, 4)), rule) - 0.5) < 0.2
    kept = accuracy(erase(other), erase(pairs(300, second, 5)), rule)
    assert kept == pytest.approx(accuracy(other, pairs(300, second, 5), rule), abs=0.05) and kept > 0.8


@pytest.mark.parametrize("probe", [LatStim1(), Logistic(), MassMeanWhitened(), LatPca()])
def test_of_the_source_itself_nothing_is_left_not_even_rounding(probe):
    source = pairs(100, 3 * np.eye(DIM)[0], 1).astype(np.float32).astype(np.float64) + 1e4
    erase = erasers_of(source)[0]
    assert accuracy(erase(source), erase(source), direct(probe)) == 0.5


def test_random_directions_take_little():
    source, test = pairs(300, 3 * np.eye(DIM)[0], 1), pairs(300, 3 * np.eye(DIM)[0], 2)
    found = erasers_of(source, 19, 0)
    assert len(found) == 20
    rule = direct(Logistic())
    left = [accuracy(erase(source), erase(test), rule) for erase in found]
    assert left[0] < 0.7 and min(left[1:]) > 0.8


def with_prompts(n: int, mean: np.ndarray, seed: int) -> np.ndarray:
    """As ``pairs``, where the texts of a prompt share most of what they vary by, in directions of their own."""
    rng = np.random.default_rng(seed)
    shared = np.concatenate([np.zeros((n, 1, DIM)), 8 * rng.standard_normal((n, 1, DIM))], axis=2)
    own = rng.standard_normal((n, 2, DIM)) / np.sqrt(1 + np.arange(DIM)) + np.stack([mean / 2, -mean / 2])
    return shared + np.concatenate([own, np.zeros((n, 2, DIM))], axis=2)


def test_random_directions_take_what_that_of_labels_takes_which_say_nothing():
    signal = 0.6 * (np.arange(DIM) < 3)
    train, test, source = (with_prompts(60, mean, seed) for seed, mean in enumerate((signal, signal, 0 * signal)))
    flip = np.random.default_rng(3).integers(0, 2, (200, 60)).astype(bool)
    flipped = [np.where(one[:, None, None], source[:, ::-1], source) for one in flip]
    rule = direct(LatStim1())
    before = accuracy(train, test, rule)
    by_labels = np.array([before - accuracy(*map(erasers_of(one)[0], (train, test)), rule) for one in flipped])
    at_random = np.array(
        [before - accuracy(erase(train), erase(test), rule) for erase in erasers_of(source, 200, 0)[1:]]
    )
    assert at_random.mean() == pytest.approx(by_labels.mean(), abs=0.004)
    assert at_random.std() == pytest.approx(by_labels.std(), rel=0.25)
    drawn = np.stack([one.direction for one in erasers_of(source, 4000, 0)[1:]])
    expected = np.cov((source[:, 0] - source[:, 1]).T)
    assert np.cov(drawn.T) == pytest.approx(expected, abs=0.1 * expected.max())


def test_texts_that_are_all_alike_have_nothing_to_erase():
    alike = np.ones((6, 2, DIM))
    assert (erasers_of(alike, 2, 0)[1](alike) == alike).all()
