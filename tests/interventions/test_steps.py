"""Split, selection of sites, calibration."""

from __future__ import annotations

import math
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from genies.errors import DataError
from genies.interventions.mms import MassMeanShift
from genies.interventions.steps import selection
from genies.interventions.steps.calibration import fit_calibrator, sigmoid
from genies.interventions.steps.newton import distinct
from genies.interventions.steps.selection import (
    LARGEST_HESSIAN,
    accuracies_kept,
    accuracies_of_layers,
    keep_best,
    logistic_regression,
    logistic_regressions,
    site_accuracy,
)
from genies.interventions.steps.split import Part, split_pairs


def test_the_split_is_the_published_draw():
    fit, validation = split_pairs(np.arange(10), 42)
    assert fit.tolist() == [8, 1, 5, 0, 7, 2, 9]  # the start of NumPy's legacy permutation of 10 with seed 42
    assert validation.tolist() == [3, 4, 6]


@settings(max_examples=50)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.integers(0, 2**32 - 1))
def test_every_pair_is_on_one_side_and_no_example_on_both(example, seed):
    example = np.array(example)
    size = len(np.unique(example))
    if size < 4:
        with pytest.raises(DataError, match="at least 4 training examples"):
            split_pairs(example, seed)
        return
    fit, validation = split_pairs(example, seed)
    assert sorted([*fit, *validation]) == list(range(len(example)))
    assert not set(example[fit]) & set(example[validation])
    assert len(set(example[fit])) == int(0.7 * size)


def test_too_few_examples_and_pairs_with_the_worse_response_first_are_refused(planted):
    with pytest.raises(DataError, match="3 different prompts cannot be split 70/30"):
        MassMeanShift().fit(planted(3, effect=1.0, seed=0))
    with pytest.raises(DataError, match=r"pair \d+ .* has its worse response first"):
        MassMeanShift().fit(planted(20, effect=1.0, seed=0, shuffled=True))


def test_equal_sites_fall_to_the_first_under_corrected_and_to_the_last_of_few_under_paper():
    accuracy = np.array([0.5, 0.9, 0.7, 0.9])
    assert keep_best(accuracy, 3, "corrected").tolist() == [1, 3, 2]
    assert keep_best(accuracy, 1, "corrected").tolist() == [1]
    assert keep_best(accuracy, 1, "paper").tolist() == [3]


@settings(max_examples=50)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(1, 50), st.sampled_from(["paper", "corrected"])
)
def test_the_sites_kept_are_the_most_accurate(accuracy, kept, protocol):
    accuracy = np.array(accuracy)
    best = keep_best(accuracy, kept, protocol)
    assert len(set(best)) == min(kept, len(accuracy))
    assert accuracy[best].tolist() == sorted(accuracy, reverse=True)[:kept]


@pytest.mark.parametrize("protocol", ["paper", "corrected"])
def test_the_accuracy_of_a_site_is_that_of_scikit_learns_logistic_regression(training, protocol):
    fit, validation = split_pairs(training.example, 42)
    features = training.heads("plain", 1).astype(np.float64)
    expected = []
    for site in range(2):
        model = LogisticRegression(tol=1e-8).fit(features[fit, :, site].reshape(-1, 6), np.tile([1, 0], len(fit)))
        score = model.score(features[validation, :, site].reshape(-1, 6), np.tile([1, 0], len(validation)))
        expected.append(score)
    assert site_accuracy(features, fit, validation, protocol).tolist() == expected


@pytest.mark.parametrize("shape", [(60, 400), (400, 60), (50, 50), (40, LARGEST_HESSIAN + 1)])
def test_corrected_finds_the_optimum_of_the_regression_where_texts_are_unscaled(shape):
    draw = np.random.default_rng(0)
    texts, labels = 10 * draw.normal(size=shape), np.arange(shape[0]) % 2
    texts[:, 0] = 1e4  # as the residual stream has it: one number dwarfs the others
    weights, intercept = logistic_regression(texts, labels, 0.5, "corrected")
    residual = expit(texts @ weights + intercept) - labels
    centred = texts - texts.mean(axis=0)
    assert np.abs(centred.T @ residual + weights / 0.5).max() < 1e-6
    assert abs(residual.sum()) < 1e-6


@pytest.mark.parametrize("shape", [(60, 400), (400, 60)])
def test_texts_that_are_there_several_times_count_as_often(shape):
    draw = np.random.default_rng(2)
    texts, labels = draw.normal(size=shape), np.arange(shape[0]) % 2
    texts[1] = texts[0]  # alike, but of the other label
    rows = np.concatenate([np.arange(shape[0]), np.repeat(np.arange(9), 7)])
    weights, intercept = logistic_regression(texts[rows], labels[rows], 0.5, "corrected")
    residual = expit(texts[rows] @ weights + intercept) - labels[rows]
    assert np.abs(texts[rows].T @ residual + weights / 0.5).max() < 1e-5
    assert abs(residual.sum()) < 1e-5
    once, _ = logistic_regression(texts, labels, 0.5, "corrected")
    assert np.abs(once - weights).max() > 0.01


@pytest.mark.parametrize("scale", [1e6, 1e10])
@pytest.mark.parametrize("shape", [(40, 64), (40, 16)])
def test_regressions_without_an_optimum_that_rounding_leaves_are_counted(shape, scale, caplog):
    """Texts of rank 2 whose labels nothing tells apart, so large that what float32 rounds off matters more."""
    draw = np.random.default_rng(0)
    texts, labels = draw.normal(size=(2, *shape)), np.tile([1, 0], shape[0] // 2)
    logistic_regressions(texts, labels, 1.0, "corrected")
    assert not caplog.messages
    flat = draw.normal(size=(shape[0], 2)) @ draw.normal(size=(2, shape[1]))
    texts[1] = (scale * flat).astype(np.float32)
    weights, _ = logistic_regressions(texts, labels, 1.0, "corrected")
    assert np.isfinite(weights).all()
    (message,) = caplog.messages
    assert message.startswith("1 of 2 logistic regressions have no optimum within 100 steps")


def test_regressions_that_are_stopped_before_their_optimum_are_counted_unless_it_was_published_so(monkeypatch, caplog):
    monkeypatch.setattr(selection, "LARGEST_HESSIAN", 10)
    draw = np.random.default_rng(0)
    texts, labels = draw.normal(size=(2, 60, 40)), np.arange(60) % 2
    texts[1] *= np.exp(2 * draw.normal(size=40)) * 1e3
    logistic_regressions(texts, labels, 1.0, "paper")
    logistic_regressions(texts[:1], labels, 1.0, "corrected")
    assert not caplog.messages
    logistic_regressions(texts, labels, 1.0, "corrected")
    (message,) = caplog.messages
    assert message.startswith("1 of 2 logistic regressions on 60 texts were stopped after 1000 iterations")


def test_texts_that_are_alike_at_one_site_alone_are_different_texts():
    draw = np.random.default_rng(3)
    texts, labels = draw.normal(size=(2, 40, 60)), np.arange(40) % 2
    texts[1, 20:] = texts[1, :20]
    weights, _ = logistic_regressions(texts, labels, 1.0, "corrected")
    for of_site, found in zip(texts, weights, strict=True):
        assert found == pytest.approx(logistic_regression(of_site, labels, 1.0, "corrected")[0], abs=1e-6)


def test_accuracies_that_are_kept_are_computed_once_for_the_same_features_and_splits(training, monkeypatch):
    solver = Mock(wraps=selection.logistic_regressions)
    monkeypatch.setattr(selection, "logistic_regressions", solver)
    fit, validation = split_pairs(training.example, 42)
    part, *others = (Part(*rows, fit[:0], fit[:0]) for rows in ((fit, validation), (fit[1:], validation), (fit, fit)))
    layers = [training.heads("plain", layer) for layer in range(3)]

    def found(chosen: list[int], parts: list[Part], protocol: str = "corrected") -> list[list[float]]:
        return accuracies_of_layers(lambda layer: layers[layer].copy(), chosen, parts, protocol).tolist()

    def solved() -> list[int]:
        """Sites of each call so far."""
        return [len(call.args[0]) for call in solver.call_args_list]

    with accuracies_kept():
        kept = [found([0, 1], [part]), found([0, 2, 1], [part]), found([2], others)]
        assert solved() == [4, 2, 2, 2]
        found([0], [part], "paper")
        assert solved() == [4, 2, 2, 2, 2]
    assert kept == [found([0, 1], [part]), found([0, 2, 1], [part]), found([2], others)]
    assert solved()[5:] == [4, 6, 2, 2]
    monkeypatch.setattr(selection, "TOGETHER", layers[0].nbytes)
    assert found([0, 2, 1], [part]) == kept[1]
    assert solved()[9:] == [2, 2, 2]
    assert kept[1] == [[x for layer in (0, 2, 1) for x in site_accuracy(layers[layer], fit, validation, "corrected")]]


def test_selection_works_on_activations_of_any_size(training):
    fit, validation = split_pairs(training.example, 42)
    tiny = training.heads("plain", 1)[:, :, 1:] * np.float32(1e-4)
    for protocol in ("paper", "corrected"):
        assert site_accuracy(tiny, fit, validation, protocol)[0] > 0.7


def test_corrected_calibration_is_the_maximum_of_the_likelihood_with_platts_targets():
    advantage = np.random.default_rng(0).normal(0.05, 0.1, 150)
    target = 151 / 152  # of 150 texts of either class: of each pair one
    slope = brentq(lambda w: np.mean(advantage * (target - expit(w * advantage))), -1e3, 1e3, xtol=1e-12)
    assert fit_calibrator(advantage, "corrected").slope == pytest.approx(slope, rel=1e-6)
    assert fit_calibrator(1e-4 * advantage, "corrected").slope == pytest.approx(1e4 * slope, rel=1e-6)
    assert fit_calibrator(advantage[::-1], "corrected").slope == pytest.approx(slope, rel=1e-6)
    assert fit_calibrator(np.r_[advantage, np.zeros(40)], "corrected").slope == pytest.approx(slope, rel=1e-6)
    assert fit_calibrator(advantage, "corrected").intercept == 0


def test_a_pair_that_is_narrowly_wrong_makes_the_calibrator_no_surer_than_one_that_is_narrowly_right():
    others = np.linspace(0.3, 0.4, 20)
    right, hair, wrong = (fit_calibrator(np.r_[others, last], "corrected").slope for last in (1e-6, -1e-6, -0.3))
    assert hair == pytest.approx(right, rel=1e-5) and hair < right
    assert wrong < 0.9 * hair


SIZES = st.floats(1e-3, 1, exclude_min=True)
SCORES = st.lists(st.builds(math.copysign, SIZES, st.sampled_from([-1.0, 1.0])), min_size=2, max_size=30)


@settings(max_examples=100, deadline=None)
@given(SCORES, st.integers(0, 29))
def test_a_pair_that_turns_from_right_to_wrong_at_the_same_size_makes_the_calibrator_less_sure(advantage, turned):
    right = np.array(advantage)
    turned %= len(right)
    right[turned] = abs(right[turned])
    wrong = np.where(np.arange(len(right)) == turned, -right, right)
    slope = [fit_calibrator(scores, "corrected").slope for scores in (right, wrong)]
    assert slope[1] < slope[0]
    # However narrow the turn: it moves the slope as little as a narrow win does.
    right[turned], wrong[turned] = 1e-9, -1e-9
    slope = [fit_calibrator(scores, "corrected").slope for scores in (right, wrong)]
    assert slope[1] == pytest.approx(slope[0], rel=1e-4, abs=1e-4)


@settings(max_examples=100, deadline=None)
@given(SCORES, st.integers(0, 29), st.sampled_from([None, 1e-2, 1e-5, 1e-9]))
def test_mean_confidence_weighted_by_size_is_within_platts_bound_however_narrowly_a_pair_is_wrong(
    advantage, turned, narrow
):
    """A narrowly wrong pair that was the surest right one may raise the slope, up to this bound."""
    scores = np.array(advantage)
    if narrow:
        scores[turned % len(scores)] = -narrow
    certainty, size = (len(scores) + 1) / (len(scores) + 2), np.abs(scores)
    confidence = np.average(fit_calibrator(scores, "corrected").probability(size), weights=size)
    right = np.average(scores > 0, weights=size)
    assert confidence == pytest.approx(certainty * right + (1 - certainty) * (1 - right), abs=1e-6)
    assert confidence <= certainty + 1e-6


@settings(max_examples=100, deadline=None)
@given(SCORES, st.integers(-1000, 1000), st.booleans())
@pytest.mark.filterwarnings("error", "ignore::hypothesis.errors.HypothesisWarning")
def test_the_scale_of_scores_plays_no_part_be_it_the_smallest_or_the_largest(advantage, power, directed):
    scores = np.array(advantage)
    wanted = fit_calibrator(scores, "corrected", directed).probability(scores)
    scaled = np.ldexp(scores, power)
    found = fit_calibrator(scaled, "corrected", directed)
    assert found.probability(scaled) == pytest.approx(wanted, abs=1e-9)
    assert np.isfinite(found.slope)


@pytest.mark.parametrize("scores", [[5e-324] * 3, [1e-320, -1e-321, 1e-320], [1e308, -1e308, 1e308], [1e-300, 1e300]])
@pytest.mark.filterwarnings("error")
def test_scores_at_the_ends_of_what_numbers_can_hold_give_probabilities(scores):
    for directed in (False, True):
        calibrator = fit_calibrator(np.array(scores), "corrected", directed)
        assert np.isfinite(calibrator.slope)
        probability = calibrator.probability(np.array([*scores, 1e308, -1e308]))
        assert np.all((probability >= 0) & (probability <= 1))


def test_paper_calibration_has_an_intercept_and_takes_pairs_in_alternating_order():
    advantage = np.random.default_rng(0).normal(0.05, 0.1, 151)
    sign = np.tile([1, -1], 76)[:151]
    model = LogisticRegression(C=np.inf, tol=1e-9, max_iter=1000).fit((sign * advantage)[:, None], sign > 0)
    calibrator = fit_calibrator(advantage, "paper")
    assert calibrator.slope == pytest.approx(model.coef_[0, 0], rel=1e-3)
    assert calibrator.intercept == pytest.approx(model.intercept_[0], abs=1e-3)
    assert calibrator.intercept != 0


@pytest.mark.parametrize("turn", [1, -1])
def test_scores_that_separate_the_labels_give_platts_target_and_not_certainty(turn):
    calibrator = fit_calibrator(turn * np.full(8, 0.3), "corrected")
    assert calibrator.probability(np.array([turn * 0.3])) == pytest.approx(9 / 10)
    assert calibrator.sign == turn


def test_scores_without_information_give_one_half():
    for protocol in ("corrected", "paper"):
        assert fit_calibrator(np.zeros(6), protocol).probability(np.array([-1.0, 0.3])).tolist() == [0.5, 0.5]


@settings(max_examples=60)
@given(
    st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=2, max_size=20),
    st.lists(st.floats(-1, 1), min_size=1, max_size=5),
)
@pytest.mark.filterwarnings("error", "ignore::hypothesis.errors.HypothesisWarning")
def test_whatever_the_scores_probabilities_are_finite_and_corrected_ones_symmetric(advantage, others):
    others = np.array(others)
    for protocol in ("corrected", "paper"):
        probability = fit_calibrator(np.array(advantage), protocol).probability(others)
        assert np.all((probability >= 0) & (probability <= 1))
    calibrator = fit_calibrator(np.array(advantage), "corrected")
    assert calibrator.probability(others) + calibrator.probability(-others) == pytest.approx(1, abs=1e-12)


def test_sigmoid_neither_overflows_nor_leaves_the_unit_interval():
    with np.errstate(all="raise", under="ignore"):
        assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]


def test_perfectly_separable_validation_pairs_leave_every_probe_finite(planted):
    pairs = planted(60, effect=40.0, seed=3)
    for protocol in ("corrected", "paper"):
        probability = MassMeanShift(kept=1, protocol=protocol).fit(pairs).predict_proba(pairs)
        assert np.all((probability > 0.5) & (probability <= 1))


@settings(max_examples=100)
@given(
    st.integers(0, 12).flatmap(lambda n: st.lists(st.lists(st.sampled_from([0.0, -0.0, 1.0, math.nan, 2.0**-40]),
                                                           min_size=4, max_size=4), min_size=n, max_size=n)),
    st.sampled_from([np.float32, np.float64]),
    st.booleans(),
)  # fmt: skip
def test_rows_that_differ_are_those_with_other_bytes(rows, kind, turned):
    rows = np.array(rows, kind).reshape(-1, 2, 2)
    if turned:
        rows = np.asfortranarray(rows)
    numbers, first = {}, []
    for place, row in enumerate(rows):
        if row.tobytes() not in numbers:
            numbers[row.tobytes()] = len(numbers)
            first.append(place)
    found = distinct(rows)
    assert found[0].tolist() == first
    assert found[1].tolist() == [numbers[row.tobytes()] for row in rows]


def test_of_many_rows_two_that_are_the_same_are_found():
    rows = np.random.default_rng(0).normal(size=(3000, 5))
    assert len(distinct(rows)[0]) == 3000
    rows[2500] = rows[17]
    first, numbers = distinct(rows)
    assert len(first) == 2999
    assert numbers[2500] == numbers[17] == 17
