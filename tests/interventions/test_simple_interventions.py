"""random, zero_shot, logistic and mass_mean_whitened."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from genies.errors import ConfigError, DataError
from genies.interventions.arrays import ArrayPairs
from genies.interventions.implicit_reward import ImplicitReward
from genies.interventions.logistic import Logistic
from genies.interventions.mass_mean_whitened import MassMeanWhitened
from genies.interventions.random import Random
from genies.interventions.steps.selection import logistic_regression, texts_of
from genies.interventions.steps.split import folds, split_pairs
from genies.interventions.zero_shot import ZeroShot

LOG_PROBABILITY = np.array([[-3.0, -4.0], [-10.0, -6.0], [-5.0, -5.0]])
TOKENS = np.array([[1, 2], [10, 3], [4, 4]])


@pytest.fixture
def pairs():
    return ArrayPairs(log_probability=LOG_PROBABILITY, scored_tokens=TOKENS)


def test_random_gives_every_pair_one_half(pairs):
    assert Random().fit(pairs).predict_proba(pairs).tolist() == [0.5] * 3
    assert Random().decision_function(pairs).tolist() == [[0.0, 0.0]] * 3


def test_zero_shot_is_the_softmax_over_summed_log_probabilities(pairs):
    expected = np.exp(LOG_PROBABILITY[:, 0]) / np.exp(LOG_PROBABILITY).sum(axis=1)
    assert ZeroShot().predict_proba(pairs) == pytest.approx(expected)
    assert np.array_equal(ZeroShot().decision_function(pairs), LOG_PROBABILITY)


def test_zero_shot_by_mean_divides_by_the_scored_tokens(pairs):
    probe = ZeroShot(normalization="mean")
    assert probe.decision_function(pairs) == pytest.approx(np.array([[-3, -2], [-1, -2], [-1.25, -1.25]]))
    assert (probe.predict_proba(pairs) > 0.5).tolist() == [False, True, False]


def test_zero_shot_under_paper_gives_decisions_and_a_half_for_ties(pairs):
    assert ZeroShot(protocol="paper").predict_proba(pairs).tolist() == [1.0, 0.0, 0.5]


def test_zero_shot_takes_log_probabilities_of_any_size():
    far = ArrayPairs(log_probability=np.array([[-1e5, -1.0], [-1.0, -1e5]]))
    assert ZeroShot().predict_proba(far).tolist() == [0.0, 1.0]
    with pytest.raises(DataError, match="log-probabilities: example 1 has values that are not finite"):
        ZeroShot().predict_proba(ArrayPairs(log_probability=np.array([[-1.0, -2.0], [-np.inf, -1.0]])))


def test_implicit_rewards_are_beta_times_the_difference_of_summed_log_probabilities():
    reference = np.array([[-2.0, -5.0], [-7.0, -7.0], [-4.0, -4.0]])
    pairs = ArrayPairs(log_probability=LOG_PROBABILITY, scored_tokens=TOKENS, reference_log_probability=reference)
    rewards = [[-0.5, 0.5], [-1.5, 0.5], [-0.5, -0.5]]
    assert ImplicitReward(beta=0.5).fit(pairs).decision_function(pairs).tolist() == rewards
    expected = [1 / (1 + np.exp(worse - best)) for best, worse in rewards]
    assert ImplicitReward(beta=0.5).predict_proba(pairs) == pytest.approx(expected, rel=1e-12)
    # Lengths play no part, and β changes no ranking.
    assert np.array_equal(ImplicitReward().predict_proba(pairs) > 0.5, np.array(expected) > 0.5)
    with pytest.raises(DataError, match="no reference_log_probability given"):
        ImplicitReward().predict_proba(ArrayPairs(log_probability=LOG_PROBABILITY))
    with pytest.raises(DataError, match="of the reference: example 0 has values that are not finite"):
        ImplicitReward().predict(
            ArrayPairs(log_probability=LOG_PROBABILITY, reference_log_probability=-np.inf * TOKENS)
        )
    for parameters in ({"beta": 0}, {"reference": ""}):
        with pytest.raises(ConfigError, match=f"parameter {next(iter(parameters))}"):
            ImplicitReward(**parameters)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"normalization": "median"}, "parameter normalization: 'median' is unknown; choose one of sum, mean"),
        ({"normalization": "mean", "protocol": "paper"}, "the protocol paper decides by sum"),
        ({"protocol": "published"}, "parameter protocol: 'published' is unknown; choose one of paper, corrected"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(parameters, message):
    with pytest.raises(ConfigError, match=message):
        ZeroShot(**parameters)


def layered(n: int, seed: int, shuffled: bool = False) -> ArrayPairs:
    """Layer 2 of 4 holds an effect of (2, 1, 0, 0); noise has standard deviation 4 along axis 0, else 1."""
    rng = np.random.default_rng(seed)
    label = rng.random(n) < 0.5 if shuffled else np.ones(n, dtype=bool)
    features = rng.standard_normal((n, 2, 4, 4))
    features[..., 0] *= 4
    side = np.where(label, 0.5, -0.5)[:, None] * np.array([1.0, -1.0])
    features[:, :, 2] += side[:, :, None] * np.array([2.0, 1.0, 0.0, 0.0])
    return ArrayPairs(residual={"plain": features}, label=label if shuffled else None)


@pytest.mark.parametrize("protocol", ["corrected", "paper"])
@pytest.mark.parametrize("kind", [Logistic, MassMeanWhitened])
def test_probes_that_know_the_covariance_reach_the_bayes_accuracy(kind, protocol, accuracy, within_binomial):
    probe = kind(protocol=protocol).fit(layered(2500, seed=1))
    pairs = layered(3000, seed=2, shuffled=True)
    assert probe.layer_ == 2
    # Mahalanobis distance of the two texts' means: the noise of a difference has twice the variance of one text's.
    bayes = norm.cdf(np.sqrt((2.0**2 / 16 + 1.0) / 2))
    assert within_binomial(accuracy(probe.predict_proba(pairs), pairs.label), len(pairs), bayes)


def test_weights_are_fitted_on_all_pairs_and_scores_of_corrected_are_scaled():
    pairs = layered(100, seed=3)
    fit, validation = split_pairs(pairs.example, 42)
    for protocol, rows in (("corrected", np.arange(100)), ("paper", np.concatenate([fit, validation]))):
        probe = Logistic(protocol=protocol, strength=0.1).fit(pairs)
        texts, labels = texts_of(pairs.residual("plain", probe.layer_)[rows])
        weights, _ = logistic_regression(texts, labels, 0.1, probe.protocol)
        spread = np.std(texts @ weights) if protocol == "corrected" else 1.0
        assert probe.weights_ == pytest.approx(weights / spread, rel=1e-4)


@pytest.mark.parametrize("kind", [Logistic, MassMeanWhitened])
def test_where_pairs_contradict_the_fits_without_them_nothing_is_sure(kind):
    contrary = np.concatenate(folds(np.arange(100), 42)[:2])
    features = np.random.default_rng(0).standard_normal((100, 2, 1, 4))
    features[:, 0, 0, 0] += np.where(np.isin(np.arange(100), contrary), -3, 3)
    pairs = ArrayPairs(residual={"plain": features})
    probe = kind().fit(pairs)
    scores, probability = probe.decision_function(pairs), probe.predict_proba(pairs)
    assert np.abs(probability - 0.5).max() < 1e-4 and probe.out_of_fold_accuracy() < 0.5
    assert np.array_equal(scores[:, 0] > scores[:, 1], probability > 0.5)


@pytest.mark.parametrize("kind", [Logistic, MassMeanWhitened])
def test_layer_probes_rank_noise_at_chance(kind, planted, accuracy, within_binomial):
    probe = kind().fit(planted(60, effect=0.0, seed=4))
    noise = planted(3000, effect=0.0, seed=5, shuffled=True)
    assert within_binomial(accuracy(probe.predict_proba(noise), noise.label), len(noise), 0.5)


def test_whitening_works_where_there_are_more_dimensions_than_texts_and_where_nothing_varies():
    wide = np.random.default_rng(0).standard_normal((10, 2, 1, 50))
    assert np.isfinite(MassMeanWhitened().fit(ArrayPairs(residual={"plain": wide})).weights_).all()
    constant = np.ones((10, 2, 1, 5))
    pairs = ArrayPairs(residual={"plain": constant})
    assert MassMeanWhitened().fit(pairs).predict_proba(pairs).tolist() == [0.5] * 10


def test_a_logistic_probe_of_no_strength_is_refused():
    with pytest.raises(ConfigError, match="parameter strength"):
        Logistic(strength=0)
