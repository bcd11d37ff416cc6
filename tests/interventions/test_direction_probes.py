"""mms, lat_stim_1, lat_stim_2, lat_pca and cra: sites, directions, scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm

from genies.errors import DataError
from genies.interventions.arrays import ArrayPairs
from genies.interventions.cra import ContrastiveRepresentationArithmetic
from genies.interventions.lat_pca import LatPca
from genies.interventions.lat_stim_1 import LatStim1
from genies.interventions.lat_stim_2 import LatStim2
from genies.interventions.mms import MassMeanShift
from genies.interventions.steps.site_directions import cosine

EFFECT, DIM, PAIRS = 1.5, 6, 400
PROBES = [MassMeanShift, LatStim1, LatStim2, LatPca, ContrastiveRepresentationArithmetic]


def expected_accuracy(kind: type) -> float:
    """Φ(effect · cos φ / sd of a difference), φ the angle that estimation leaves to the planted direction."""
    effect, variance = (2 * EFFECT, 4) if kind is ContrastiveRepresentationArithmetic else (EFFECT, 2)
    ratio, noise = effect**2 / variance, (DIM - 1) / PAIRS
    if kind is LatPca:  # a spiked covariance's leading eigenvector: Paul (2007)
        aligned = np.sqrt((1 - noise / ratio**2) / (1 + noise / ratio))
    else:
        aligned = np.sqrt(ratio / (ratio + noise))
    return norm.cdf(np.sqrt(ratio) * aligned)


@pytest.mark.parametrize("protocol", ["corrected", "paper"])
@pytest.mark.parametrize("kind", PROBES)
def test_a_planted_direction_is_found_and_ranks_as_many_pairs_right_as_theory_says(
    kind, protocol, training, held_out, accuracy, within_binomial
):
    probe = kind(kept=1, protocol=protocol).fit(training)
    assert probe.sites_.tolist() == [[1, 1 if kind.features == ("heads",) else 0]]
    ((layer, head, found),) = probe.chosen_sites()
    assert (layer, head, found) == (1, 1 if kind.features == ("heads",) else None, probe.accuracy_[0])
    share = accuracy(probe.predict_proba(held_out), held_out.label)
    assert within_binomial(share, len(held_out), expected_accuracy(kind))


@pytest.mark.parametrize("protocol", ["corrected", "paper"])
@pytest.mark.parametrize("kind", PROBES)
def test_noise_is_ranked_at_chance(kind, protocol, planted, accuracy, within_binomial):
    probe = kind(protocol=protocol).fit(planted(60, effect=0.0, seed=4))
    noise = planted(3000, effect=0.0, seed=5, shuffled=True)
    assert within_binomial(accuracy(probe.predict_proba(noise), noise.label), len(noise), 0.5)


def test_cra_with_alpha_zero_reads_the_yes_view_alone(training, held_out):
    probe = ContrastiveRepresentationArithmetic(alpha=0.0, kept=2).fit(training)
    yes = ArrayPairs(heads={"plain": np.stack([training.heads("yes", layer) for layer in range(3)], axis=2)})
    other = ArrayPairs(heads={"plain": np.stack([held_out.heads("yes", layer) for layer in range(3)], axis=2)})
    assert np.array_equal(probe.predict_proba(held_out), MassMeanShift(kept=2).fit(yes).predict_proba(other))


def test_directions_are_fitted_on_all_pairs(training):
    texts = training.heads("plain", 1).astype(np.float64)[:, :, 1]
    for protocol in ("corrected", "paper"):
        probe = MassMeanShift(kept=1, protocol=protocol).fit(training)
        assert probe.directions_[0] == pytest.approx(texts[:, 0].mean(0) - texts[:, 1].mean(0), rel=1e-9)


def test_no_more_sites_are_kept_than_there_are_and_the_last_residual_layer_is_none(training):
    assert len(MassMeanShift(kept=16).fit(training).sites_) == 6
    assert sorted(LatStim1(kept=16).fit(training).sites_[:, 0]) == [0, 1, 2]


def test_predicting_reads_only_kept_heads(training, held_out):
    read = []

    class Watched(ArrayPairs):
        def heads(self, view, layer, heads=None):
            read.append((view, layer, heads))
            return held_out.heads(view, layer, heads)

    watched = Watched(heads={"plain": np.zeros((len(held_out), 2, 3, 2, DIM), dtype=np.float32)})
    probe = MassMeanShift(kept=1).fit(training)
    assert np.array_equal(probe.predict_proba(watched), probe.predict_proba(held_out))
    assert set(map(str, read)) == {"('plain', 1, [1])"}


def test_raw_scores_are_half_of_one_plus_the_mean_cosine_and_its_complement(training, held_out):
    probe = MassMeanShift(kept=2).fit(training)
    mean = np.zeros(len(held_out))
    for (layer, head), direction in zip(probe.sites_, probe.directions_, strict=True):
        first, second = held_out.heads("plain", layer)[:, :, head].astype(np.float64).transpose(1, 0, 2)
        lengths = np.linalg.norm(first - second, axis=1) * np.linalg.norm(direction)
        mean += (first - second) @ direction / lengths / 2
    scores = probe.decision_function(held_out)
    assert scores[:, 0] == pytest.approx(0.5 * (1 + mean), abs=1e-6)
    assert scores.sum(axis=1) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("protocol", ["corrected", "paper"])
def test_a_text_is_scored_by_the_mean_projection_in_standard_scores_of_the_training_texts(protocol, training, held_out):
    probe = MassMeanShift(kept=3, protocol=protocol).fit(training)
    expected = np.zeros((len(held_out), 2))
    for (layer, head), direction in zip(probe.sites_, probe.directions_, strict=True):
        unit = direction / np.linalg.norm(direction)
        known, new = (
            pairs.heads("plain", layer)[:, :, head].astype(np.float64) @ unit for pairs in (training, held_out)
        )
        expected += (new - known.mean()) / known.std() / 3
    assert probe.score_texts(held_out) == pytest.approx(expected, abs=1e-9)
    assert probe.score_texts(training).mean() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("kind", [MassMeanShift, LatStim1])
def test_single_texts_are_separated_as_well_as_theory_says(kind, training, held_out):
    """Good and worse texts lie an effect apart along the planted axis: an AUROC of Φ(effect / √2)."""
    scores = kind(kept=1).fit(training).score_texts(held_out)
    good = np.stack([held_out.label, ~held_out.label], axis=1)
    ahead = np.mean(scores[good][:, None] > scores[~good])
    assert ahead == pytest.approx(norm.cdf(EFFECT / np.sqrt(2)), abs=0.02)


def test_scores_of_texts_change_no_bit_of_decisions_and_a_fit_of_an_earlier_version_goes_without(training, held_out):
    probe = MassMeanShift(kept=2).fit(training)
    before = [probe.predict_proba(held_out), probe.decision_function(held_out)]
    cosines = np.empty((len(held_out), 2))
    for row, (layer, head) in enumerate(probe.sites_):
        features = held_out.heads("plain", layer, [head])
        cosines[:, [row]] = cosine(features[:, 0] - features[:, 1], probe.directions_[[row]])
    assert np.array_equal(before[0], probe.calibrator_.probability(cosines.mean(axis=1)))
    assert np.array_equal(before[1][:, 0], 0.5 * (1 + cosines.mean(axis=1)))
    probe.score_texts(held_out)
    arrays, values = probe.get_state()
    earlier = MassMeanShift(kept=2).set_state({k: v for k, v in arrays.items() if k != "text_moments"}, values)
    assert all(map(np.array_equal, before, [earlier.predict_proba(held_out), earlier.decision_function(held_out)]))
    with pytest.raises(DataError, match="MassMeanShift: an earlier version fitted it.*fit again"):
        earlier.score_texts(held_out)


def test_lat_pca_points_from_worse_to_best_and_has_unit_length(planted):
    for seed in range(5):
        pairs = planted(60, effect=2.0, seed=seed)
        probe = LatPca().fit(pairs)
        for (layer, _), direction in zip(probe.sites_, probe.directions_, strict=True):
            texts = pairs.residual("plain", layer).astype(np.float64)
            assert np.mean((texts[:, 0] - texts[:, 1]) @ direction) > 0
            assert np.linalg.norm(direction) == pytest.approx(1)


def test_lat_pca_finds_the_same_axis_whichever_response_is_called_best(planted):
    pairs = planted(60, effect=2.0, seed=7)
    features = np.stack([pairs.residual("plain", layer) for layer in range(4)], axis=2).astype(np.float64)
    coins = np.where(np.random.default_rng(0).random(60) < 0.5, 1.0, -1.0)[:, None, None]
    difference = features[:, 0, :3] - features[:, 1, :3]
    direction = LatPca().direction(difference, np.zeros_like(difference))
    shuffled = LatPca().direction(coins * difference, np.zeros_like(difference))
    assert np.abs(np.einsum("sd,sd->s", direction, shuffled)) == pytest.approx(1)


def test_a_layer_that_is_the_same_for_every_text_has_cosine_zero():
    features = np.random.default_rng(0).standard_normal((20, 2, 3, 4))
    features[:, :, 0] = 1.0
    pairs = ArrayPairs(residual={"plain": features})
    for kind in (LatStim1, LatPca):
        probe = kind(kept=2).fit(pairs)
        constant = int(np.flatnonzero(probe.sites_[:, 0] == 0)[0])
        assert not probe.directions_[constant].any()
        assert np.isfinite(probe.predict_proba(pairs)).all()


def test_identical_texts_are_a_tie(training):
    texts = np.repeat(np.random.default_rng(0).standard_normal((5, 1, 3, 2, DIM)), 2, axis=1)
    probe = MassMeanShift().fit(training)
    same = ArrayPairs(heads={"plain": texts})
    assert probe.predict_proba(same).tolist() == [0.5] * 5
    assert probe.decision_function(same).tolist() == [[0.5, 0.5]] * 5


def test_features_that_are_not_finite_are_refused_with_their_example_and_layer(planted):
    pairs = planted(20, effect=1.0, seed=1)
    features = np.stack([pairs.heads("plain", layer) for layer in range(3)], axis=2)
    features[7, 1, 2, 0, 0] = np.inf
    with pytest.raises(DataError, match=r"view plain, layer 2: example 107 has values that are not finite"):
        MassMeanShift().fit(ArrayPairs(heads={"plain": features}, example=100 + np.arange(20)))


single = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)


@settings(max_examples=50)
@given(
    arrays(np.float32, (3, 2, 4), elements=single), arrays(np.float32, (2, 4), elements=single), st.floats(1e-3, 1e3)
)
def test_a_cosine_is_bounded_odd_and_blind_to_length(differences, directions, length):
    value = cosine(differences, directions)
    assert np.all(np.abs(value) <= 1)
    assert np.array_equal(cosine(-differences, directions), -value)
    assert cosine(differences, directions.astype(np.float64) * length) == pytest.approx(value, abs=1e-6)
