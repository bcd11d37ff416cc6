"""What is said of a target without its labels: the same whatever the labels are, and known values of each quantity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats
from unlabelled_worlds import METHODS, world

from genies.evaluation.measurements import Measurements
from genies.evaluation.prediction import Cells, Predictions
from genies.evaluation.scored import Scored
from genies.evaluation.unlabelled import QUANTITIES, Panel, agreement_line, confident_share, quantities


def panel(**probabilities: list[float]) -> Panel:
    return Panel.of({n: Scored(np.zeros(len(p)), np.arange(len(p)), np.array(p)) for n, p in probabilities.items()})


@pytest.mark.parametrize("seed", range(3))
def test_quantities_and_predictions_are_the_same_when_target_pairs_are_turned_round(seed: int) -> None:
    """Labels of the targets are flipped at random, and what every intervention says of a pair with them."""
    metrics, scores = world(12, 40, 1.0, seed)
    scores = {key: replace(own, probability=np.round(own.probability, 3)) for key, own in scores.items()}
    surface = metrics.filter(intervention="logistic").with_columns(intervention=pl.lit("length"))
    for (model, name, *place), own in [*scores.items()]:
        if name == "logistic":
            scores[model, "length", place[0], place[1]] = own
    generator = np.random.default_rng(seed)
    turned = dict(scores)
    for source, target in metrics.select("source", "target").unique().rows():
        flip = generator.random(40) < 0.5
        for name in ("zero_shot", "length", *METHODS):
            key = ("m", name, source, target)
            own = scores[key].probability
            turned[key] = replace(scores[key], probability=np.where(flip, 1 - own, own), correct=np.full(40, np.nan))
    known = Cells.of(metrics, surface, scores)
    hidden = Cells.of(metrics, surface, turned)
    assert not np.isnan(known.observed.quantities[:, 1]).any()
    np.testing.assert_array_equal(known.observed.quantities, hidden.observed.quantities)
    one, other = Predictions(known).on_all_pairs(), Predictions(hidden).on_all_pairs()
    assert not np.isnan(one.predicted).any()
    np.testing.assert_array_equal(one.predicted, other.predicted)
    np.testing.assert_array_equal(one.high, other.high)
    drawn, drawn_hidden = (Predictions(cells).on_batches(20).predicted for cells in (known, hidden))
    np.testing.assert_array_equal(drawn, drawn_hidden)


def test_methods_that_saw_target_labels_play_no_part_in_predictions_without_them() -> None:
    """One chooses its sign by the target's labels, as ``ccs`` did as published: with it, labels would be known."""
    metrics, scores = world(12, 40, 1.0, 2)
    more, known = metrics, dict(scores)
    for name in ("peeks", "undeclared"):
        more = pl.concat([more, metrics.filter(intervention="mms").with_columns(intervention=pl.lit(name))])
        for (model, method, *place), own in scores.items():
            if method == "mms":
                sign = own.correct.mean() < 0.5
                known[model, name, place[0], place[1]] = replace(
                    own, probability=np.where(sign, 1 - own.probability, own.probability)
                )
    classes = {"mms": "source labels", "peeks": "source labels, target texts, target labels", "undeclared": "unknown"}
    one = Measurements(pl.DataFrame(), metrics, scores)["predictions"]
    other = Measurements(pl.DataFrame(), more, known, classes=classes)["predictions"]
    assert {*other["intervention"]} == {"zero_shot", *METHODS}
    assert one.equals(other)


def test_labels_of_a_predicted_target_change_its_accuracy_and_no_prediction_of_it() -> None:
    metrics, scores = world(12, 60, 1.0, 5)
    other = metrics.with_columns(
        generalization_accuracy=pl.when(target="t3").then(0.0).otherwise("generalization_accuracy")
    )
    one, two = (Predictions(Cells.of(table, pl.DataFrame(), scores)).on_all_pairs() for table in (metrics, other))
    own = one.shift == 3
    np.testing.assert_array_equal(one.predicted[own], two.predicted[own])
    assert (one.predicted[~own] != two.predicted[~own]).all()


def test_thresholded_confidence_is_exact_on_the_source_and_counts_ties_in_proportion() -> None:
    source = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    assert confident_share(source, 0.6, source) == pytest.approx(0.6)
    assert confident_share(source, 0.6, np.array([0.25, 0.35, 0.3, 0.1])) == pytest.approx(0.5)
    assert confident_share(source, 0.0, np.array([0.5, 0.6])) == pytest.approx(0.5)  # above all that the source has
    hard = np.full(10, 0.5)
    assert confident_share(hard, 0.7, hard) == pytest.approx(0.7)  # verdicts of 0 and 1 alone


def test_agreement_counts_ties_half_and_is_not_known_between_different_pairs() -> None:
    found = panel(a=[0.9, 0.8, 0.3, 0.5], b=[0.6, 0.1, 0.2, 0.9], c=[0.9, 0.9])
    assert found.agreement["a", "b"] == found.agreement["b", "a"] == pytest.approx(2.5 / 4)
    assert ("a", "c") not in found.agreement and found.pairs == 4
    assert [len(own) for own in found.drawn(3, np.random.default_rng(0)).advantages.values()] == [3, 3, 2]


def test_a_batch_holds_whole_clusters_and_the_same_pairs_of_all() -> None:
    clusters = np.repeat(np.arange(10), 3)
    p = np.arange(30) / 40 + 0.01
    both = Panel.of({name: Scored(np.zeros(30), clusters, p) for name in ("a", "b")})
    drawn = both.drawn(12, np.random.default_rng(1))
    np.testing.assert_array_equal(drawn.advantages["a"], drawn.advantages["b"])
    assert np.unique(drawn.clusters["a"], return_counts=True)[1].tolist() == [3, 3, 3, 3]


def test_the_line_through_agreements_is_found_and_leaves_out_the_two_likelihoods() -> None:
    """Agreements on source and target that lie on a line in probits, but for zero_shot with few_shot."""
    names = ("a", "b", "c", "zero_shot", "few_shot")
    generator = np.random.default_rng(0)
    source = panel(**{n: generator.random(2_000).tolist() for n in names})
    x = {pair: float(u) for pair, u in zip(source.agreement, generator.uniform(0.55, 0.9, 25), strict=True)}
    for a, b in [*x]:
        x[b, a] = x[a, b]
    y = {pair: float(stats.norm.cdf(0.5 * stats.norm.ppf(u) - 0.2)) for pair, u in x.items()}
    y["few_shot", "zero_shot"] = 0.999
    target = panel(**{n: generator.random(2_000).tolist() for n in names})
    source.__dict__["agreement"], target.__dict__["agreement"] = x, y
    assert agreement_line(source, target, names) == pytest.approx((0.5, -0.2))
    assert agreement_line(source, target, ("a", "zero_shot", "few_shot")) is None
    found = quantities(source, target, {"a": 0.8}, names)
    assert found["a"]["agreement_line"] == pytest.approx(stats.norm.cdf(0.5 * stats.norm.ppf(0.8) - 0.2))


def test_the_strongest_surface_baseline_of_the_source_is_compared_with() -> None:
    source = panel(mms=[0.9] * 4, length=[0.9, 0.9, 0.1, 0.1], first_word=[0.9] * 4)
    target = panel(mms=[0.9] * 4, length=[0.9, 0.1, 0.1, 0.1], first_word=[0.1] * 4)
    accuracy = {"mms": 0.9, "length": 0.8, "first_word": 0.7}
    found = quantities(source, target, accuracy, ("mms",), ("length", "first_word"))["mms"]
    assert found["with_surface"] == 0.25 and found["with_surface_change"] == -0.25
    assert {*found} <= {*QUANTITIES} and "with_zero_shot" not in found and "agreement_line" not in found
