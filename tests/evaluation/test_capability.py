"""Capability is chosen where it is not measured, and measured on clean pairs."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genies.data.shifts import Shift
from genies.evaluation import bootstrap
from genies.evaluation.capability import ALONE, CROSS_FITTED, OUT_OF_FOLD, CleanCapabilities, Measured, cross_fitted
from genies.evaluation.scored import Key, Scored
from genies.evaluation.tables.cells import TABLE as CELLS
from genies.evaluation.tables.generalization_metrics import generalization_metrics

NAMES = ("mms", "lat_pca", "logistic")


def judged(correct: np.ndarray) -> Scored:
    example = np.arange(len(correct))
    return Scored(correct, example, 0.1 + 0.8 * correct, example=example)


def coins(draw: int, accuracy: float, n: int = 200) -> np.ndarray:
    return (np.random.default_rng(draw).random(n) < accuracy).astype(np.float64)


def on_reference(accuracies: dict[str, np.ndarray]) -> dict[Key, Scored]:
    return {("m", name, "r", "r"): judged(correct) for name, correct in accuracies.items()}


def test_the_best_is_chosen_by_the_accuracy_on_unseen_training_pairs() -> None:
    scores = on_reference({"mms": coins(0, 0.6), "lat_pca": coins(1, 0.9), "logistic": coins(2, 0.7)})
    known = {("m", name, "r"): value for name, value in zip(NAMES, (0.7, 0.6, 0.8), strict=True)}
    found = CleanCapabilities(scores, {}, NAMES, known).capability("m", "s", "t", "r")
    assert (found.intervention, found.chosen_by, found.chosen_from) == ("logistic", OUT_OF_FOLD, NAMES)
    assert found.accuracy == scores["m", "logistic", "r", "r"].correct.mean()


def test_of_one_there_is_no_choice_and_of_none_no_capability() -> None:
    scores = on_reference({"mms": coins(0, 0.6)})
    assert CleanCapabilities(scores, {}, NAMES, {}).capability("m", "s", "t", "r").chosen_by == ALONE
    found = CleanCapabilities({}, {}, NAMES, {}).capability("m", "s", "t", "r")
    assert (found.accuracy, found.intervention, found.measured) == (None, None, None)


def test_a_choice_among_equals_on_test_pairs_has_no_winners_curse() -> None:
    """The best of ten methods at 0.6 reaches about 0.65 on 200 pairs that it is chosen by."""
    names = [f"m{number}" for number in range(10)]
    crossed, best = [], []
    for draw in range(200):
        of_each = {name: coins(100 * draw + number, 0.6) for number, name in enumerate(names)}
        found = CleanCapabilities(on_reference(of_each), {}, names, {}).capability("m", "s", "t", "r")
        assert found.chosen_by == CROSS_FITTED
        crossed.append(found.accuracy)
        best.append(max(correct.mean() for correct in of_each.values()))
    assert abs(np.mean(crossed) - 0.6) < 3.3 * np.std(crossed) / np.sqrt(len(crossed))
    assert np.mean(best) > 0.64


def test_cross_fitting_finds_what_is_clearly_best() -> None:
    everything = np.ones(200, bool)
    candidates = {
        "weak": Measured(judged(coins(0, 0.5)), everything),
        "strong": Measured(judged(coins(1, 0.9)), everything),
    }
    name, measured = cross_fitted(candidates)
    assert name == "strong" and measured.accuracy == candidates["strong"].accuracy


def test_capability_and_accuracy_leave_out_what_either_training_split_knows() -> None:
    correct = coins(0, 0.7, 120)
    scores = {("m", "mms", "s", "t"): judged(correct), ("m", "mms", "t", "t"): judged(coins(1, 0.9, 120))}
    seen = {("s", "t"): range(10), ("t", "t"): range(5, 40)}
    clean = CleanCapabilities(scores, seen, ["mms"], {})
    of_target = clean.measured("m", "mms", "s", "t", "t")
    capability = clean.capability("m", "s", "t", "t")
    assert of_target.kept.tolist() == capability.measured.kept.tolist() == (np.arange(120) >= 40).tolist()
    assert of_target.accuracy == correct[40:].mean()
    # Another reference: only what the source knows of the target plays a part, and what the reference knows of itself.
    assert clean.measured("m", "mms", "s", "t", "r").kept.sum() == 110


def test_with_too_few_clean_pairs_there_is_no_capability() -> None:
    scores = {("m", "mms", "t", "t"): judged(coins(1, 0.9, 60))}
    clean = CleanCapabilities(scores, {("t", "t"): range(31)}, ["mms"], {})
    assert clean.capability("m", "s", "t", "t").accuracy is None


def cell(intervention: str, source: str, target: str, accuracy: float) -> dict:
    known = {"model": "m", "intervention": intervention, "source": source, "target": target, "accuracy": accuracy}
    return dict.fromkeys(CELLS.columns) | known


def metrics_of(accuracies: dict[tuple[str, str, str], np.ndarray], trained: tuple[str, ...] = ()) -> tuple:
    scores = {("m", *place): judged(correct) for place, correct in accuracies.items()}
    cells = pl.DataFrame(
        [cell(*place, float(correct.mean())) for place, correct in accuracies.items()], schema=CELLS.columns
    )
    clean = CleanCapabilities(scores, {}, ["mms"], {})
    shift = Shift("a", "b", "b")
    return generalization_metrics(cells, [shift], ["mms"], clean=clean, trained=trained), scores, clean


@pytest.mark.parametrize(
    ("accuracy", "capability", "remarks"),
    [
        (0.8, 0.9, [None, "the capability is the best of mms, without this intervention"]),
        (0.9, 0.8, ["more accurate than the capability",
                    "the capability is the best of mms, without this intervention; more accurate than the capability"]),
        (0.5, 0.5, ["no measurable capability", "no measurable capability; the capability is the best of mms, "
                    "without this intervention"]),
    ],
)  # fmt: skip
def test_rows_say_what_a_reader_has_to_know(accuracy: float, capability: float, remarks: list[str | None]) -> None:
    right = (np.arange(200) < 200 * accuracy).astype(np.float64)
    able = (np.arange(200) < 200 * capability).astype(np.float64)
    places = {(name, *place): right for name in ("mms", "lora") for place in (("a", "a"), ("a", "b"))}
    frame, *_ = metrics_of({**places, ("mms", "b", "b"): able}, ("lora",))
    assert frame["remarks"].to_list() == remarks
    adjusted = frame["chance_adjusted_elicitation"].to_list()
    expected = None if capability == 0.5 else pytest.approx((accuracy - 0.5) / (capability - 0.5))
    assert adjusted == [expected, expected]


PLACES = {("mms", "a", "a"): 0.8, ("mms", "a", "b"): 0.7, ("mms", "b", "b"): 0.9, ("mms", "r", "r"): 0.9}
TOO_FEW = "too few clean pairs"


@pytest.mark.parametrize(
    ("reference", "few", "known"),
    [
        ("b", ("b", "b"), False),
        ("b", ("a", "b"), False),
        ("r", ("r", "r"), False),
        ("r", ("a", "b"), True),
    ],
)
def test_rows_say_where_too_few_pairs_are_clean(reference: str, few: tuple[str, str], known: bool) -> None:
    """20 of 100: too few for the accuracy, for the capability, or for both, where the target is its own reference."""
    scores = {("m", *place): judged(coins(n, level, 100)) for n, (place, level) in enumerate(PLACES.items())}
    cells = pl.DataFrame(
        [cell(*key[1:], float(scored.correct.mean())) for key, scored in scores.items()], schema=CELLS.columns
    )
    clean = CleanCapabilities(scores, {few: range(80)}, ["mms"], {})
    row = generalization_metrics(cells, [Shift("a", "b", reference)], ["mms"], clean=clean).row(0, named=True)
    assert (row["target_tuned_capability"] is not None) == known
    assert (row["elicitation"], row["remarks"]) == (None, TOO_FEW)


def test_a_capability_that_is_unknown_for_another_reason_has_no_such_remark() -> None:
    """Nothing was fitted on the reference."""
    row = metrics_of({("mms", "a", "a"): coins(0, 0.8), ("mms", "a", "b"): coins(1, 0.7)})[0].row(0, named=True)
    assert (row["target_tuned_capability"], row["elicitation"], row["remarks"]) == (None, None, None)


def test_a_capability_of_nothing_is_no_lack_of_clean_pairs() -> None:
    places = {("mms", "a", "a"): coins(0, 0.8), ("mms", "a", "b"): coins(1, 0.7), ("mms", "b", "b"): np.zeros(200)}
    row = metrics_of(places)[0].row(0, named=True)
    assert (row["target_tuned_capability"], row["elicitation"], row["remarks"]) == (0, None, "no measurable capability")


def test_intervals_of_elicitation_are_of_the_clean_pairs_and_fiellers_covers() -> None:
    """Accuracy 0.65 of a capability of 0.8, drawn independently: half of the capability beyond chance."""
    covered, draws = 0, 150
    for draw in range(draws):
        frame, scores, clean = metrics_of(
            {("mms", "a", "a"): coins(0, 0.5), ("mms", "a", "b"): coins(2 * draw, 0.65, 250),
             ("mms", "b", "b"): coins(2 * draw + 1, 0.8, 250)}
        )  # fmt: skip
        row = bootstrap.intervals(frame, scores, seed=draw, resamples=500, clean=clean).row(0, named=True)
        covered += row["chance_adjusted_elicitation_low"] <= 0.5 <= row["chance_adjusted_elicitation_high"]
        assert row["elicitation_low"] < frame["elicitation"][0] < row["elicitation_high"]
    assert 0.9 <= covered / draws <= 0.99
