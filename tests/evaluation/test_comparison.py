"""Differences between interventions: what the tests promise, and what carries a mean."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from genies.data.shifts import Shift
from genies.evaluation import bootstrap
from genies.evaluation.paired import holm, paired_p
from genies.evaluation.scored import Key, Scored
from genies.evaluation.simultaneous import LEVEL, Estimate, judged
from genies.evaluation.tables.cells import TABLE as CELLS
from genies.evaluation.tables.comparisons import TABLE as COMPARISONS
from genies.evaluation.tables.comparisons import compare, compare_shifts, influence
from genies.evaluation.tables.generalization_metrics import generalization_metrics
from genies.evaluation.uncertainty import cluster_influences, clustered_mean, clustered_variance


def answers(accuracy: float, correlation: float, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Two methods of equal accuracy on one to three pairs of each of 250 examples, and the examples."""
    example = np.repeat(np.arange(250), generator.integers(1, 4, 250))
    spread = (1 - correlation) / correlation
    of_example = generator.beta(accuracy * spread, (1 - accuracy) * spread, 250)
    first, second = ((generator.random(len(example)) < of_example[example]).astype(float) for _ in range(2))
    return first, second, example


def family(values: np.ndarray, sources: Sequence[str]) -> list[Estimate]:
    """Mean differences of every two methods over shifts, from accuracies (shifts, methods)."""
    estimates = []
    for a, b in combinations(range(values.shape[1]), 2):
        difference = values[:, a] - values[:, b]
        found = clustered_mean(difference, sources)
        influences = cluster_influences(difference, sources)[1]
        estimates.append(Estimate(found.mean, influences, found.degrees_of_freedom, found.clusters))
    return estimates


@pytest.mark.long
@pytest.mark.parametrize(("shifts", "sources", "draw"), [
    (15, 15, "normal"), (15, 15, "laplace"), (56, 26, "normal"),
    *(pytest.param(*larger, marks=pytest.mark.torture)
      for larger in ((56, 26, "laplace"), (56, 56, "normal"), (56, 56, "laplace"))),
])  # fmt: skip
def test_equal_methods_are_rarely_called_different_anywhere_in_a_family(shifts: int, sources: int, draw: str) -> None:
    """The chance of any false difference among the 15 of six methods, which share a difficulty of each source."""
    generator = np.random.default_rng(12)
    names = [f"s{number % sources}" for number in range(shifts)]
    found = []
    for _ in range(400):
        by_source = generator.normal(0, 0.1, (sources, 6))[[number % sources for number in range(shifts)]]
        values = getattr(generator, draw)(0, 0.1, (shifts, 6)) + by_source
        found.append(any(one.p_adjusted < LEVEL for one in judged(family(values, names))))
    # Three standard errors of the count around 5 %.
    assert np.mean(found) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


def test_p_values_and_intervals_of_a_family_agree_and_are_wider_than_alone() -> None:
    generator = np.random.default_rng(13)
    for shifts in (4, 15, 40):
        values = generator.normal(np.linspace(0, 0.4, 7), 0.2, (shifts, 7))
        estimates = family(values, [f"s{number % (shifts // 2)}" for number in range(shifts)])
        found = judged(estimates)
        for estimate, one in zip(estimates, found, strict=True):
            assert (one.low > 0 or one.high < 0) == (one.p_adjusted < LEVEL)
            assert one.low < estimate.difference < one.high
            alone = stats.t.sf(abs(estimate.difference) / one.standard_error, estimate.degrees_of_freedom) * 2
            # Drawing 20,000 times is this exact.
            assert one.p_adjusted >= alone - 4 * np.sqrt(alone * (1 - alone) / 2e4)
        assert shifts == 4 or {one.p_adjusted < LEVEL for one in found} == {True, False}


def test_a_family_of_one_is_students_test_and_independent_ones_are_sidaks() -> None:
    generator = np.random.default_rng(14)
    values = generator.normal(0.06, 0.1, 12)
    exact = stats.ttest_1samp(values, 0)
    influences = cluster_influences(values, range(12))[1]
    (found,) = judged([Estimate(float(values.mean()), influences, 11.0, 12)])
    assert found.p_adjusted == pytest.approx(exact.pvalue, abs=0.005)
    assert (found.low, found.high) == pytest.approx(tuple(exact.confidence_interval(0.95)), abs=0.003)
    apart = [Estimate(2.5 if n == 0 else 0.0, np.eye(8)[n], 1e6, 100) for n in range(8)]
    assert judged(apart)[0].p_adjusted == pytest.approx(1 - (1 - 2 * stats.norm.sf(2.5)) ** 8, abs=0.006)


def test_differences_that_go_together_cost_no_more_than_one() -> None:
    first, *rest = judged([Estimate(2.5, np.array([1.0, 0.0]), 50.0, 51) for _ in range(10)])
    assert first.p_adjusted == pytest.approx(2 * stats.t.sf(2.5, 50), abs=0.004)
    assert all(one.p_adjusted == first.p_adjusted for one in rest)


@pytest.mark.parametrize(("difference", "units", "size"), [(0.5, 2, 1), (1.0, 9, 1), (-0.1, 12, 3), (-0.1, 6, 3)])
def test_equal_differences_are_judged_by_how_many_they_are(difference: float, units: int, size: int) -> None:
    nothing = np.zeros(units)
    others = [Estimate(0.0, nothing, 1.0, units)] * (size - 1)
    first, *rest = judged([Estimate(difference, nothing, units - 1.0, units), *others])
    signs = np.array(list(product((-1, 1), repeat=units)))
    assert first.p_adjusted == min(1, size * np.mean(np.abs(signs.sum(1)) == units))
    ends = difference if first.p_adjusted < LEVEL else None
    assert (first.low, first.high) == (ends, ends)
    assert all((one.low, one.high, one.p_adjusted) == (0, 0, 1) for one in rest)


@pytest.mark.long
@pytest.mark.parametrize("accuracy", [0.5, 0.8, 0.95, 0.97])
def test_equal_methods_are_rarely_called_different_within_a_shift(accuracy: float) -> None:
    generator = np.random.default_rng(11)
    found = []
    for _ in range(2_000):
        for correlation in (0.05, 0.7):
            first, second, example = answers(accuracy, correlation, generator)
            found.append(paired_p(first - second, example) < 0.05)
    assert np.mean(found) <= 0.06


def test_pairs_that_repeat_their_example_add_no_evidence() -> None:
    values = np.random.default_rng(14).normal(0.1, 1, 40)
    once, thrice = paired_p(values, np.arange(40)), paired_p(np.repeat(values, 3), np.repeat(np.arange(40), 3))
    assert thrice == pytest.approx(once)
    assert once == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert paired_p(np.zeros(10), np.arange(10)) == 1
    assert paired_p([1, 1, 1, 1], [0, 0, 1, 2]) == 0.25
    assert paired_p([1, 0], [0, 0]) is None


@settings(max_examples=100)
@given(st.lists(st.none() | st.floats(0, 1), max_size=8))
def test_holm_keeps_order_and_never_lowers(p: list[float | None]) -> None:
    corrected = holm(p)
    assert [c is None for c in corrected] == [v is None for v in p]
    known = [(v, c) for v, c in zip(p, corrected, strict=True) if v is not None]
    assert all(v <= c <= 1 for v, c in known)
    assert [c for _, c in sorted(known)] == sorted(c for _, c in known)


def test_holm_of_known_values() -> None:
    assert holm([0.01, 0.04, 0.03, None]) == pytest.approx([0.03, 0.06, 0.06, None])


def test_the_shift_that_carries_a_mean_is_named() -> None:
    assert influence([0.1, 0.1, 0.9, 0.1]) == (2, pytest.approx(0.1))
    assert influence([0.5, 0.1, 0.1], weights=[1, 3, 3])[0] == 0


OVER_ALL = {"label": "all", "averaged_over": "distinct", "intervention": "mms", "other": "lora"}
SOURCES = ("easy", "plain", "short", "old", "north", "calm")
SHIFTS = [Shift(SOURCES[n], f"t{n}", f"t{n}", "extreme", "skill", 1 + n % 2) for n in range(6)]


@pytest.fixture
def world() -> tuple[pl.DataFrame, dict]:
    """Metrics and scores of three methods on six shifts; the first is the best."""
    generator, scores, cells = np.random.default_rng(15), {}, []
    places = {(s.source, s.target) for s in SHIFTS} | {(s, s) for s in SOURCES} | {(s.target, s.target) for s in SHIFTS}
    for name, level in (("mms", 0.8), ("lora", 0.6), ("zero_shot", 0.5)):
        for source, target in sorted(places):
            correct = (generator.random(300) < level).astype(float)
            scores["m", name, source, target] = Scored(correct, np.arange(300) // 3, correct)
            cells.append({"model": "m", "intervention": name, "source": source, "target": target,
                          "accuracy": float(correct.mean()), "low": 0.0, "high": 1.0, "RMS_calibration_error": None,
                          "calibration_error": 0.1, "brier": 0.2, "test_pairs": 300})  # fmt: skip
    frame = pl.DataFrame(cells, schema=CELLS.columns)
    return generalization_metrics(frame, SHIFTS, ["mms"]), scores


def test_every_two_interventions_are_compared_in_every_shift_and_mean(world: tuple) -> None:
    compared = compare(*world)
    assert compared.columns == list(COMPARISONS.columns)
    assert len(compared.filter(pl.col("target").is_not_null())) == 3 * len(SHIFTS)
    means = compared.filter(pl.col("target").is_null())
    assert set(means.select("label", "averaged_over").iter_rows()) == {
        (label, over) for label in ("all", "extreme") for over in ("distinct", "published")
    }
    row = means.filter(**OVER_ALL).row(0, named=True)
    assert row["verdict"] == "higher" and row["p_adjusted"] < 0.05 and 0 < row["low"] < row["difference"] < row["high"]
    assert row["shifts"] == 6 and row["degrees_of_freedom"] == pytest.approx(5)
    assert row["interval_over"] == "new shifts"
    assert row["carried_by"] in {f"{shift.source} → {shift.target}" for shift in SHIFTS}


def test_a_verdict_says_what_interval_and_p_value_say(world: tuple) -> None:
    compared = compare(*world)
    signs = {"higher": 1, "lower": -1}
    for row in compared.iter_rows(named=True):
        significant = row["p_adjusted"] < LEVEL
        assert significant == (row["low"] > 0 or row["high"] < 0) == (row["verdict"] in signs)
        assert not significant or np.sign(row["difference"]) == signs[row["verdict"]]
    assert {"higher", "not distinguishable"} <= set(compared["verdict"])


def test_within_a_shift_the_clusters_of_examples_are_the_units(world: tuple) -> None:
    metrics, scores = world
    shift = SHIFTS[0]
    own = {"source": shift.source, "intervention": "mms", "other": "lora"}
    row = compare_shifts(metrics, scores).filter(**own).row(0, named=True)
    first, second = (scores["m", name, shift.source, shift.target] for name in ("mms", "lora"))
    difference = first.correct - second.correct
    assert row["standard_error"] == pytest.approx(np.sqrt(clustered_variance(difference, first.cluster)))
    assert row["difference"] == pytest.approx(difference.mean()) and row["degrees_of_freedom"] == 99
    assert row["interval_over"] == "examples"
    turned = compare_shifts(
        metrics.with_columns(generalization_accuracy=1 - pl.col("generalization_accuracy")),
        {key: replace(one, correct=1 - one.correct) for key, one in scores.items()},
    ).filter(**own)
    assert turned["low"].item() == pytest.approx(-row["high"]) and turned["p_adjusted"].item() == row["p_adjusted"]


def test_what_is_known_by_its_mean_alone_is_compared_across_shifts_alone(world: tuple) -> None:
    metrics, scores = world
    compared = compare(metrics, {key: scored for key, scored in scores.items() if key[1] != "lora"})
    shifts = compared.filter(pl.col("target").is_not_null())
    untested = shifts.filter(verdict="not tested")
    assert len(shifts) == 3 * len(SHIFTS) and len(untested) == 2 * len(SHIFTS)
    assert set(untested["remark"]) == {"how single pairs were ranked is not known"}
    assert all(row == (None, None, None) for row in untested.select("low", "high", "p_adjusted").iter_rows())
    assert "not tested" not in set(compared.filter(label="all", averaged_over="distinct")["verdict"])


def test_over_the_shifts_of_one_source_the_examples_are_the_units(world: tuple) -> None:
    metrics, scores = world
    one = metrics.filter(pl.col("source").is_in(["easy", "plain"])).with_columns(source=pl.lit("easy"))
    scores |= {("m", name, "easy", "t1"): scores["m", name, "plain", "t1"] for name in ("mms", "lora", "zero_shot")}
    row = compare(one, scores).filter(**OVER_ALL).row(0, named=True)
    of_targets = [(scores["m", "mms", "easy", target], scores["m", "lora", "easy", target]) for target in ("t0", "t1")]
    variances = [clustered_variance(mms.correct - lora.correct, mms.cluster) for mms, lora in of_targets]
    freedom = sum(variances) ** 2 / sum(variance**2 / 99 for variance in variances)
    assert row["interval_over"] == "examples" and row["degrees_of_freedom"] == pytest.approx(freedom)
    assert row["standard_error"] == pytest.approx(np.sqrt(sum(variances)) / 2)
    unknown = compare(one, {}).filter(**OVER_ALL).row(0, named=True)
    assert unknown["verdict"] == "not tested" and "one source" in unknown["remark"]
    assert unknown["difference"] == row["difference"]


@pytest.mark.parametrize(("sources", "over"), [(5, "new shifts"), (4, "examples"), (2, "examples")])
def test_over_shifts_of_too_few_sources_the_examples_are_the_units(world: tuple, sources: int, over: str) -> None:
    """Five sources of one shift each have 4 degrees of freedom, the fewest that support a claim about new shifts."""
    metrics, scores = world
    some = metrics.filter(pl.col("source").is_in(SOURCES[:sources]))
    row = compare(some, scores).filter(**OVER_ALL).row(0, named=True)
    assert row["interval_over"] == over and row["verdict"] == "higher"
    unknown = compare(some, {}).filter(**OVER_ALL).row(0, named=True)
    assert (unknown["verdict"] == "not tested") == (over == "examples")
    remark = f"the shifts of {sources} sources support no claim about new shifts, and how single pairs were ranked"
    assert over != "examples" or unknown["remark"].startswith(remark)


def test_seeds_widen_the_interval_of_a_shift(world: tuple) -> None:
    metrics, scores = world
    key = ("m", "mms", "easy", "t0")
    by_seed = np.stack([scores[key].correct, 1 - scores[key].correct])
    several = {**scores, key: replace(scores[key], by_seed=by_seed)}
    own = {"source": "easy", "intervention": "mms", "other": "lora"}
    once, more = (compare_shifts(metrics, known).filter(**own)["standard_error"].item() for known in (scores, several))
    assert more**2 - once**2 == pytest.approx(several[key].seed_variance)


def test_bootstrap_intervals_are_seeded_and_hold_the_figure(world: tuple) -> None:
    metrics, scores = world
    first = bootstrap.intervals(metrics, scores, seed=1, resamples=2000)
    assert first.equals(bootstrap.intervals(metrics, scores, seed=1, resamples=2000))
    assert not first.equals(bootstrap.intervals(metrics, scores, seed=2, resamples=2000))
    both = metrics.join(first, on=["model", "intervention", "source", "target"])
    assert len(both) == len(metrics)
    for name in bootstrap.ESTIMATED:
        assert ((both[f"{name}_low"] <= both[name]) & (both[name] <= both[f"{name}_high"])).all()
    # Fitted on the target and tested on the same examples, mms against itself varies less than against chance.
    own = bootstrap.intervals(metrics.with_columns(source=pl.col("target")), scores, resamples=2000)
    assert own.filter(intervention="mms")["elicitation_high"].to_list() == [1.0] * 6


def test_the_bootstrap_takes_little_more_memory_than_a_byte_for_each_count() -> None:
    """As float32, those of 20,000 examples took 0.8 GB for each distribution, and 1.6 GB more while they were drawn."""
    examples = 2_500
    correct = np.random.default_rng(0).choice([0.0, 0.5, 1.0], examples)
    key = ("model", "mms", "north", "south")
    scores = {key: Scored(correct, np.arange(examples), correct)}
    place = dict(zip(("model", "intervention", "source", "target"), key, strict=True))
    capability = {"target_reference": "south", "target_tuned_capability": 1.0, bootstrap.ADJUSTED: 0.5}
    metrics = pl.DataFrame([{**place, **capability, "target_tuned_capability_intervention": "mms"}])
    tracemalloc.start()
    bootstrap.intervals(metrics, scores)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < bootstrap.RESAMPLES * examples + 64 * 2**20


@pytest.mark.long
def test_bootstrap_intervals_cover_an_elicitation(tmp_path: Path) -> None:
    generator, covered = np.random.default_rng(16), []
    shift = SHIFTS[0]
    for trial in range(300):
        of_target, of_capability = ((generator.random(250) < level).astype(float) for level in (0.6, 0.8))
        scores = {
            ("m", "mms", "easy", "t0"): Scored(of_target, np.arange(250), of_target),
            ("m", "mms", "t0", "t0"): Scored(of_capability, np.arange(250), of_capability),
        }
        cells = [
            {**dict.fromkeys(CELLS.columns), "model": "m", "intervention": "mms", "source": s, "target": "t0",
             "accuracy": float(scores["m", "mms", s, "t0"].correct.mean()), "test_pairs": 250}
            for s in ("easy", "t0")
        ]  # fmt: skip
        cells.append({**cells[0], "target": "easy"})
        metrics = generalization_metrics(pl.DataFrame(cells, schema=CELLS.columns), [shift], ["mms"])
        row = bootstrap.intervals(metrics, scores, seed=trial, resamples=1000).row(0, named=True)
        covered.append(row["elicitation_low"] <= 0.75 <= row["elicitation_high"])
    assert 0.91 <= np.mean(covered) <= 0.98


def trials_of(accuracy: float, capability: float, trials: int) -> tuple[pl.DataFrame, dict[Key, Scored]]:
    """A shift per trial, with 60 pairs in either measurement."""
    generator, scores, rows = np.random.default_rng(int(1000 * (accuracy + 10 * capability))), {}, []
    levels = {("mms", "s"): accuracy, ("zero_shot", "s"): 0.6, ("mms", "t"): capability}
    for trial in range(trials):
        target = f"t{trial}"
        for (name, source), level in levels.items():
            correct = (generator.random(60) < level).astype(float)
            scores["m", name, "s" if source == "s" else target, target] = Scored(correct, np.arange(60), correct)
        known = {"target_tuned_capability": float(scores["m", "mms", target, target].correct.mean())}
        place = {"model": "m", "intervention": "mms", "source": "s", "target": target, "target_reference": target}
        rows.append({**place, **known, "target_tuned_capability_intervention": "mms", bootstrap.ADJUSTED: None})
    return pl.DataFrame(rows), scores


@pytest.mark.long
@pytest.mark.parametrize(
    ("accuracy", "capability"),
    [(0.5, 0.8), (0.8, 0.8), (0.5, 0.995), (0.8, 0.97), (0.97, 0.995), (0.995, 0.97), (0.995, 0.995)],
)
def test_elicitation_is_covered_with_few_pairs_and_hardly_any_wrong(accuracy: float, capability: float) -> None:
    """Where no pair is wrong, draws of examples do not vary."""
    found = bootstrap.intervals(*trials_of(accuracy, capability, trials=200), resamples=300)
    for name, truth in (("elicitation", accuracy), ("differential_elicitation", accuracy - 0.6)):
        low, high = (found[f"{name}_{end}"].to_numpy() for end in ("low", "high"))
        assert (high > low).all()
        # Three standard errors of 200 trials below 0.95.
        assert np.mean((low <= truth / capability) & (truth / capability <= high)) >= 0.9
    if capability == 0.8:  # as wide as ever where draws do vary
        spread = np.sqrt((1 - accuracy) / accuracy / 60 + (1 - capability) / capability / 60) * accuracy / capability
        assert (found["elicitation_high"] - found["elicitation_low"]).mean() < 1.06 * 2 * 1.96 * spread
