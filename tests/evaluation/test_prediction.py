"""Predictions without target labels in worlds whose truth is known, and what is left out to make them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from unlabelled_worlds import METHODS, predictions, world

from genies.evaluation.jackknife import FEWEST_SHIFTS, Direct, Jackknives, Observed, Regression, _ends
from genies.evaluation.measurements import Measurements
from genies.evaluation.prediction import Cells, Predicted, Predictions
from genies.evaluation.prediction_worth import (
    BEATS_BOTH,
    BEATS_NEITHER,
    TOO_FEW,
    alarm_rates,
    chosen,
    errors,
    smallest_batch,
)
from genies.evaluation.related import related
from genies.evaluation.tables import NAMES
from genies.evaluation.unlabelled import QUANTITIES


def test_where_accuracy_follows_agreement_both_trivial_predictors_are_beaten_and_intervals_cover() -> None:
    """Cells of a shift go together: 5 worlds of 20 shifts count as 100 draws, 0.9 within three errors of 0.03."""
    inside, below = [], []
    for seed in range(5):
        made = predictions(20, 150, 1.0, seed)
        found = made.on_all_pairs()
        own = found.method > 0  # zero_shot itself does not vary
        of_methods = found.where(own)
        said = errors(of_methods, made.cells.shifts)
        assert said["verdict"] == BEATS_BOTH and said["error"] < 0.5 * said["error_of_mean"]
        assert of_methods.reached.min() < 0.4 and np.corrcoef(of_methods.predicted, of_methods.reached)[0, 1] > 0.8
        inside.append(said["coverage"])
        below.append(np.mean(of_methods.predicted[of_methods.reached < 0.4]))
    assert 0.81 <= np.mean(inside) <= 0.99
    assert np.mean(below) < 0.45  # what is below chance is foreseen as such


@pytest.mark.parametrize("seed", range(4))
def test_where_nothing_says_what_accuracy_is_no_alarm_is_offered(seed: int) -> None:
    metrics, scores = world(20, 80, 0.0, seed)
    run = Measurements(pl.DataFrame(), metrics, scores)
    overall = run["prediction_errors"].filter(pl.col("intervention").is_null()).to_dicts()
    assert [row["verdict"] != BEATS_BOTH for row in overall] == [True] * 3
    assert smallest_batch(overall) is None and not len(run["prediction_alarms"])


def test_what_shares_a_distribution_in_any_role_is_not_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    shifts = [("a", "b", "c"), ("a", "x1", "x1"), ("x2", "b", "b"), ("x3", "x4", "c"), ("b", "x5", "x5"),
              ("x6", "x7", "a"), *((f"s{n}", f"t{n}", f"t{n}") for n in range(12))]  # fmt: skip
    alike = np.array([[related(one, other) for other in shifts] for one in shifts])
    assert alike[0].tolist() == [True] * 6 + [False] * 12 and (alike == alike.T).all()
    generator = np.random.default_rng(0)
    learned: list[frozenset[int]] = []
    fit = Regression.fit

    def noted(observed: Observed, chosen: np.ndarray) -> Regression:
        learned.append(frozenset(np.flatnonzero(chosen).tolist()))
        return fit(observed, chosen)

    monkeypatch.setattr(Regression, "fit", noted)
    observed = Observed(generator.random((18, 2, len(QUANTITIES))), generator.random((18, 2)), alike, np.arange(18))
    made = Jackknives(observed).of(alike[0])
    assert learned and all(own <= {*range(6, 18)} for own in learned) and len(made.without) == 12
    learned.clear()
    made = Jackknives(observed).of(alike[6])
    assert all(6 not in own for own in learned)
    # A fit that is judged on one of the first six has seen none of those that are related to that one.
    assert frozenset({*range(7, 18)}) in learned  # judged on the first, which all six are related to
    assert len(made.without) == 17


def test_labels_of_related_shifts_play_no_part() -> None:
    """A training shift onto the predicted shift's reference: whatever its accuracy, the prediction is the same."""
    metrics, scores = world(14, 60, 1.0, 1)
    reference = pl.when(target="t0").then(pl.lit("shared")).when(target="t1").then(pl.lit("shared"))
    metrics = metrics.with_columns(target_reference=reference.otherwise("target_reference"))
    changed = metrics.with_columns(
        generalization_accuracy=pl.when(target="t1").then(0.01).otherwise("generalization_accuracy")
    )
    one, two = (Predictions(Cells.of(table, pl.DataFrame(), scores)).on_all_pairs() for table in (metrics, changed))
    for of_shift, same in ((0, True), (2, False)):
        own = one.shift == of_shift
        assert np.array_equal(one.predicted[own], two.predicted[own]) is same
        assert np.array_equal(one.mean[own], two.mean[own]) is same


def test_intervals_are_those_of_the_jackknife_plus() -> None:
    """One method, no quantity: centres are means without one value, and margins that value's distances from them."""
    y = np.array([0.2, 0.5, 0.9, 0.4, 0.6, 0.3, 0.7, 0.8, 0.55, 0.45])
    observed = Observed(np.full((10, 1, len(QUANTITIES)), np.nan), y[:, None], np.eye(10, dtype=bool), np.arange(10))
    made = Jackknives(observed).of(np.zeros(10, bool))
    without = (y.sum() - y) / 9
    margins = np.abs(y - without)
    (low,), (high,) = made.interval(np.full((1, len(QUANTITIES)), np.nan))
    assert low == pytest.approx(np.sort(without - margins)[0]) and high == pytest.approx(np.sort(without + margins)[-1])
    assert made.predict(np.full((1, len(QUANTITIES)), np.nan)) == pytest.approx([y.mean()])


@pytest.mark.parametrize(("shifts", "known"), [(FEWEST_SHIFTS, False), (FEWEST_SHIFTS + 1, True)])
def test_with_fewer_than_nine_other_shifts_nothing_is_predicted(shifts: int, known: bool) -> None:
    made = predictions(shifts, 30, 1.0, 0)
    found = made.on_all_pairs()
    assert len(found.reached) == shifts * (len(METHODS) + 1)
    assert (~np.isnan(found.low) == known).all() and (~np.isnan(found.predicted) == known).all()
    said = errors(found, made.cells.shifts)
    assert (said["verdict"] == TOO_FEW) is not known and said["cells"] == (len(found.reached) if known else 0)


def test_with_few_sources_intervals_reach_as_far_as_the_largest_error() -> None:
    """Of 20 shifts one is off by more than all others: a part of 21 by itself, and of 10 as one of nine sources."""
    centers, errors = np.full((20, 1), 0.5), np.array([0.3, *np.linspace(0.01, 0.11, 19)])[:, None]
    three = np.repeat(np.arange(3), [1, 9, 10])
    nine = np.repeat(np.arange(9), [1, 10, 3, 1, 1, 1, 1, 1, 1])
    for source, reached in ((np.arange(20), 0.61), (three, 0.8), (nine, 0.8)):
        assert [end.item() for end in _ends(centers, errors, source)] == pytest.approx([1 - reached, reached])
    assert np.isnan(_ends(centers[:8], errors[:8], three[:8])).all()


def test_an_alarm_counts_false_ones_among_cells_above_and_misses_among_those_below() -> None:
    reached = np.array([0.3, 0.4, 0.45, 0.6, 0.7, 0.8, 0.9])
    high = np.array([0.4, 0.6, 0.45, 0.49, 0.9, 0.5, np.nan])
    zero = np.zeros(7)
    found = alarm_rates(Predicted(zero, zero, reached, zero, zero, high, zero, zero), 0.5)
    assert found == {"cells": 3, "others": 3, "alarms": 3, "false_alarm_rate": pytest.approx(1 / 3),
                     "miss_rate": pytest.approx(1 / 3)}  # fmt: skip
    assert alarm_rates(Predicted(zero, zero, reached, zero, zero, high, zero, zero), 0.1)["miss_rate"] is None


def test_the_smallest_batch_works_with_all_larger_ones() -> None:
    def row(pairs: int | None, verdict: str = BEATS_BOTH, coverage: float = 0.9) -> dict:
        return {"pairs": pairs, "verdict": verdict, "coverage": coverage, "median_pairs": pairs or 250}

    assert smallest_batch([row(None), row(10, BEATS_NEITHER), row(25), row(50)]) == 25
    assert smallest_batch([row(None), row(10), row(25, coverage=0.87), row(50)]) == 50
    assert smallest_batch([row(None), row(10), row(25), row(50, BEATS_NEITHER)]) == 250
    assert smallest_batch([row(None, BEATS_NEITHER), row(50)]) is None


def test_batches_on_too_few_shifts_or_as_large_as_the_median_target_say_nothing_of_smaller_ones() -> None:
    """A row of batches of 100 pairs has only targets of more than 100."""

    def row(pairs: int | None, verdict: str = BEATS_BOTH) -> dict:
        return {"pairs": pairs, "verdict": verdict, "coverage": 0.9, "median_pairs": pairs or 60}

    few = [row(100, TOO_FEW), row(200, TOO_FEW)]
    assert smallest_batch([row(None), row(10), row(25), row(50, TOO_FEW), *few]) == 10
    assert smallest_batch([row(None), row(10, BEATS_NEITHER), row(25), row(50), *few]) == 25
    assert smallest_batch([row(None), row(10, BEATS_NEITHER), row(25, BEATS_NEITHER), row(50, TOO_FEW), *few]) == 60
    assert smallest_batch([row(None), row(50, BEATS_NEITHER), row(100)]) == 60
    assert smallest_batch([row(None), row(50), row(100, BEATS_NEITHER)]) == 101


def test_tables_have_a_row_per_cell_a_row_per_method_and_batches_where_predictions_work() -> None:
    metrics, scores = world(16, 60, 1.0, 3)
    run = Measurements(pl.DataFrame(), metrics, scores)
    assert {"predictions", "prediction_errors", "prediction_alarms"} <= {*NAMES}
    cells, said, alarms = (run[name] for name in ("predictions", "prediction_errors", "prediction_alarms"))
    assert len(cells) == 3 * 16 * (len(METHODS) + 1) and cells["unrelated_shifts"].unique().to_list() == [15]
    assert said["verdict"][0] == BEATS_BOTH and set(said["pairs"].drop_nulls()) == {10, 25, 50}
    assert {*said["intervention"].drop_nulls()} == {"zero_shot", *METHODS}
    assert said["fewest_sources"].unique().to_list() == [15]
    assert alarms["pairs"].null_count() == 3 and set(alarms["below"]) == {0.5, 0.6, 0.7}
    for predictor, own in cells.group_by("predictor"):
        row = said.filter(pl.col("intervention").is_null(), pl.col("pairs").is_null(), predictor=predictor[0])
        assert row["error"].item() == pytest.approx((own["predicted"] - own["accuracy"]).abs().mean())
    assert alarms["predictor"].unique().to_list() == [chosen(said.to_dicts())] == ["regression"]


def test_cells_without_single_pairs_or_source_accuracy_are_left_out() -> None:
    metrics, scores = world(11, 30, 1.0, 0)
    scores = {key: own for key, own in scores.items() if key[1] != "lora"}
    metrics = metrics.with_columns(
        source_ID_accuracy=pl.when(intervention="mms", source="s0").then(None).otherwise("source_ID_accuracy")
    )
    cells = Measurements(pl.DataFrame(), metrics, scores)["predictions"]
    assert "lora" not in set(cells["intervention"])
    cells = cells.filter(predictor="regression")
    assert len(cells.filter(intervention="mms")) == 10 and len(cells.filter(intervention="logistic")) == 11


def test_a_quantity_that_is_a_prediction_itself_has_the_conformal_interval() -> None:
    y = np.linspace(0.3, 0.75, 10)
    x = np.full((10, 1, len(QUANTITIES)), np.nan)
    x[:, 0, 2] = 0.5
    related_ones = np.zeros(10, bool)
    related_ones[0] = True
    made = Direct.of(Observed(x, y[:, None], np.eye(10, dtype=bool), np.arange(10)), related_ones, 2)
    (low,), (high,) = made.interval(np.full((1, len(QUANTITIES)), 0.4))
    assert (low, high) == pytest.approx((0.4 - 0.25, 0.4 + 0.25))  # of nine errors the largest
    assert made.predict(np.full((1, len(QUANTITIES)), 1.3)) == [1.0]


def test_of_several_predictors_one_that_beats_both_is_chosen_before_one_of_a_larger_lead() -> None:
    rows = [
        {"pairs": None, "predictor": name, "verdict": verdict, "lead_over_mean": lead}
        for name, verdict, lead in (("a", BEATS_NEITHER, 0.3), ("b", BEATS_BOTH, 0.1), ("c", BEATS_BOTH, 0.2))
    ]
    few = {"pairs": None, "predictor": "few", "verdict": TOO_FEW, "lead_over_mean": 0.4}
    assert chosen([few, rows[0]]) == "a" and chosen([few]) == "few"
    assert chosen(rows) == "c" and chosen(rows[:2]) == "b" and chosen(rows[:1]) == "a" and chosen([]) is None


def test_intervals_cover_a_share_of_cells_and_another_one_of_sources_where_many_cells_have_one_source() -> None:
    """Eight shifts of one source are missed, and one each of two others is held."""
    shifts = [*(("a", f"t{n}", f"t{n}") for n in range(8)), ("b", "u", "u"), ("c", "v", "v")]
    reached, zero = np.array([0.1] * 8 + [0.7, 0.8]), np.zeros(10)
    found = Predicted(np.arange(10), zero, reached, zero + 0.6, zero + 0.5, zero + 0.9, zero + 0.6, zero + 0.9)
    said = errors(found, shifts)
    assert (said["coverage"], said["coverage_of_sources"]) == (pytest.approx(0.2), pytest.approx(2 / 3))


def test_intervals_cover_sources_where_shifts_go_together_by_source_and_one_source_has_half_of_them() -> None:
    """Each method is a world of its own. Where a shift counts as one, whatever its source, intervals are too narrow."""
    generator, worlds = np.random.default_rng(6), 400
    source = np.array([0] * 20 + [*range(1, 20)])
    accuracy = 0.5 + 0.1 * generator.normal(size=(20, worlds))[source] + 0.02 * generator.normal(size=(39, worlds))
    alike, nothing, covered = source[:, None] == source, np.empty((39, worlds, 0)), []
    for counted in (source, np.arange(39)):
        made = Jackknives(Observed(nothing, accuracy, alike, counted))
        held = []
        for shift in range(19, 39):  # one of each source
            low, high = made.of(alike[shift]).interval(nothing[shift])
            held.append((low <= accuracy[shift]) & (accuracy[shift] <= high))
        of_worlds = np.mean(held, axis=0)
        covered.append((of_worlds.mean(), 3 * of_worlds.std() / np.sqrt(worlds)))
    (by_source, error), (by_shift, other_error) = covered
    assert by_source >= 0.9 - error and by_shift + other_error < 0.9, covered


def test_copies_of_sources_and_targets_under_other_names_support_no_verdict() -> None:
    """Four sources with three targets each have three degrees of freedom, also with a copy of all of them."""
    own = [(source, f"{source}{n}", f"{source}{n}") for source in "abcd" for n in range(3)]
    shifts = [*own, *((f"copy {source}", f"copy {target}", f"copy {target}") for source, target, _ in own)]
    names = {f"copy {name}": name for shift in own for name in shift}
    reached = np.tile(0.5 + 0.02 * np.random.default_rng(0).normal(size=12), 2)
    zero = np.zeros(24)
    found = Predicted(np.arange(24), zero, reached, zero + 0.5, zero, zero + 1, zero + 0.8, zero + 0.9)
    said, by_names = errors(found, shifts, names), errors(found, shifts)
    assert said["degrees_of_freedom"] == pytest.approx(3) and by_names["degrees_of_freedom"] == pytest.approx(7)
    assert (said["verdict"], by_names["verdict"]) == (TOO_FEW, BEATS_BOTH) and said["shifts"] == 24


def test_from_six_sources_intervals_hold_six_in_seven_whatever_their_numbers_of_shifts() -> None:
    """Each method is a world of its own. One of seven sources has 20 shifts; each is predicted from the six others."""
    generator, worlds = np.random.default_rng(7), 400
    source = np.repeat(np.arange(7), [20, 2, 2, 2, 2, 2, 2])
    accuracy = 0.5 + 0.1 * generator.normal(size=(7, worlds))[source] + 0.01 * generator.normal(size=(32, worlds))
    alike, nothing = source[:, None] == source, np.empty((32, worlds, 0))
    jackknives, held = Jackknives(Observed(nothing, accuracy, alike, source)), []
    for shift in np.unique(source, return_index=True)[1]:
        made = jackknives.of(alike[shift])
        assert (made.sources == 6).all()
        low, high = made.interval(nothing[shift])
        held.append((low <= accuracy[shift]) & (accuracy[shift] <= high))
    of_worlds = np.mean(held, axis=0)
    error = 3 * of_worlds.std() / np.sqrt(worlds)
    assert 6 / 7 - error <= of_worlds.mean() < 0.9 - error, of_worlds.mean()


def test_a_copy_of_a_target_under_another_name_is_not_learned_from() -> None:
    """Whatever accuracy the copy has, predictions for the target are the same; by names alone they are not."""
    metrics, scores = world(14, 60, 1.0, 1)
    changed = metrics.with_columns(
        generalization_accuracy=pl.when(target="t1").then(0.01).otherwise("generalization_accuracy")
    )
    for names, same in (({"t0": "t1", "t1": "t1"}, True), ({}, False)):
        runs = [Measurements(pl.DataFrame(), table, scores, names=names) for table in (metrics, changed)]
        found = [run["predictions"].filter(target="t0", predictor="regression") for run in runs]
        assert found[0]["unrelated_shifts"].unique().to_list() == [12 if same else 13]
        assert found[0]["predicted"].equals(found[1]["predicted"]) is same
        assert found[0]["mean_elsewhere"].equals(found[1]["mean_elsewhere"]) is same
