"""Means over shifts: what other examples and other shifts would change, and the tables that say so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from helpers import write_evaluation

from genies.data.shifts import Shift
from genies.evaluation import bootstrap
from genies.evaluation.averages import ranking
from genies.evaluation.metrics import correctness
from genies.evaluation.scored import Scored
from genies.evaluation.table import read_csv
from genies.evaluation.tables import correlations, means
from genies.evaluation.tables.cells import TABLE as CELLS
from genies.evaluation.tables.elicitation_by_category import by_category
from genies.evaluation.tables.generalization_metrics import TABLE as METRICS
from genies.evaluation.tables.generalization_metrics import generalization_metrics
from genies.evaluation.tables.leaderboard import OVER_EXAMPLES, leaderboard
from genies.evaluation.uncertainty import clustered_mean, two_way_mean
from genies.stages.metrics import write_tables

SHIFTS = [
    Shift("a", "b", "b", "extreme", "skill", 1, benchmark="GENIES"),
    Shift("a", "c", "c", "extreme", "skill", 2, benchmark="GENIES"),
    Shift("b", "c", "c", "probing", "personas", 1),
    Shift("d", "e", "e", "probing", "personas", 2),
]
LEVELS = {"zero_shot": 0.5, "mms": 0.7, "lora": 0.6}


@pytest.fixture
def world() -> tuple[pl.DataFrame, dict]:
    """Metrics and scores of three methods; what a method says of an example depends on how hard it is."""
    generator, scores, cells = np.random.default_rng(31), {}, []
    hardness = {name: generator.random(200) for name in "abcde"}
    places = {(s.source, s.target) for s in SHIFTS} | {(name, name) for name in "abcde"}
    for intervention, level in LEVELS.items():
        for source, target in sorted(places):
            correct = (hardness[target] < level + 0.2 * (source == target)).astype(float)
            scores["m", intervention, source, target] = Scored(correct, np.arange(200) // 2, correct)
            accuracy = float(correct.mean())
            cells.append({"model": "m", "intervention": intervention, "source": source, "target": target,
                          "accuracy": accuracy, "low": accuracy - 0.07, "high": accuracy + 0.07,
                          "RMS_calibration_error": None, "calibration_error": 0.1, "brier": 0.2,
                          "test_pairs": 200})  # fmt: skip
    frame = pl.DataFrame(cells, schema=CELLS.columns)
    return generalization_metrics(frame, SHIFTS, ["mms", "lora"]), scores


def test_every_mean_has_the_intervals_of_its_questions(world: tuple) -> None:
    metrics, scores = world
    examples = bootstrap.DrawnMeans(metrics, scores, resamples=500)
    found = means.means(metrics, examples, {"GENIES": {("a", "b"), ("a", "c")}})
    assert dict(found.schema) == means.TABLE.columns
    own = metrics.filter(intervention="mms")
    rows = found.filter(label="all", averaged_over="published", intervention="mms", metric="elicitation").to_dicts()
    assert [row["over"] for row in rows] == ["new examples", "new shifts", "new shifts and targets"]
    values, sources, targets = (
        np.repeat(own[name].to_numpy(), own["published_entries"]) for name in ("elicitation", "source", "target")
    )
    for row, expected in zip(
        rows[1:], (clustered_mean(values, sources), two_way_mean(values, sources, targets)), strict=True
    ):
        low, high = expected.interval()
        assert (row["mean"], row["low"], row["high"]) == pytest.approx((expected.mean, max(low, 0), high))
        assert row["degrees_of_freedom"] == expected.degrees_of_freedom and row["clusters"] == expected.clusters == 3
    assert rows[0]["low"] < rows[0]["mean"] < rows[0]["high"]
    assert (rows[0]["degrees_of_freedom"], rows[0]["clusters"]) == (None, None)
    # Both shifts of the benchmark have one source.
    one = found.filter(averaged_over="GENIES", metric="generalization_accuracy", over="new shifts")
    assert len(one) == 3 and one["low"].null_count() == 3 and set(one["clusters"]) == {1}


def test_the_leaderboard_states_the_same_intervals(world: tuple) -> None:
    metrics, scores = world
    examples = bootstrap.DrawnMeans(metrics, scores, resamples=500)
    table, board = means.means(metrics, examples), leaderboard(metrics, examples=examples)
    assert board.select("intervention", "averaged_over").rows() == (
        table.filter(metric="generalization_accuracy", over="new shifts").select("intervention", "averaged_over").rows()
    )
    place = {"label": "all", "averaged_over": "distinct", "intervention": "lora"}
    row = board.filter(**place).row(0, named=True)
    shared = [(metric, "new examples", "_examples") for metric in OVER_EXAMPLES]
    for metric, over, kind in (*shared, ("generalization_accuracy", "new shifts", "")):
        ends = table.filter(**place, metric=metric, over=over).row(0, named=True)
        assert (row[f"{metric}{kind}_low"], row[f"{metric}{kind}_high"]) == (ends["low"], ends["high"])
    # For new shifts, a difference has the one interval that comparisons give it.
    assert table.filter(metric="difference_to_best")["over"].unique().to_list() == ["new examples"]


def test_shifts_that_share_a_target_vary_together(world: tuple) -> None:
    metrics, scores = world
    own = metrics.filter(intervention="mms")
    shared, apart = (own.filter(pl.col("source").is_in(sources)) for sources in (["a", "b"], ["a", "d"]))
    shared, apart = shared.filter(target="c"), apart.filter(pl.col("target").is_in(["b", "e"]))
    assert len(shared) == len(apart) == 2
    examples = bootstrap.DrawnMeans(metrics, scores)
    widths = [high - low for low, high in (examples.interval(f, "generalization_accuracy") for f in (shared, apart))]
    # Equal answers to the same examples tell no more than one of them.
    assert widths[0] > 1.25 * widths[1]


def test_where_no_pair_is_right_a_mean_is_as_unsure_as_its_shifts(world: tuple) -> None:
    metrics, scores = world
    key = ("m", "mms", "a", "b")
    scores[key] = Scored(np.zeros(200), np.arange(200) // 2, np.zeros(200))
    own = metrics.filter(intervention="mms", source="a")
    examples = bootstrap.DrawnMeans(metrics, scores)
    one, both = (examples.interval(f, "generalization_accuracy") for f in (own.filter(target="b"), own))
    assert one == pytest.approx(scores[key].interval) and one[0] == 0 and 0.03 < one[1] < 0.04
    twice = examples.interval(pl.concat([own.filter(target="b")] * 2), "generalization_accuracy")
    assert twice == pytest.approx(one)
    other = examples.interval(own.filter(target="c"), "generalization_accuracy")
    assert other == scores["m", "mms", "a", "c"].interval
    assert both[1] - both[0] > (other[1] - other[0]) / 2


def test_a_difference_on_the_same_examples_is_surer_than_either_accuracy(world: tuple) -> None:
    metrics, scores = world
    examples = bootstrap.DrawnMeans(metrics, scores)
    _, own = ranking(metrics, weighted=False)[1]
    low, high = examples.interval(own, "difference_to_best")
    wide = examples.interval(own, "generalization_accuracy")
    assert low < own["difference_to_best"].mean() < high < 0
    assert high - low < wide[1] - wide[0]


def test_what_is_not_known_pair_by_pair_has_no_interval_over_examples(world: tuple) -> None:
    metrics, scores = world
    del scores["m", "mms", "a", "b"]
    own, other = (metrics.filter(intervention=name) for name in ("mms", "lora"))
    examples = bootstrap.DrawnMeans(metrics, scores, resamples=100)
    assert examples.interval(own, "generalization_accuracy") is None
    assert examples.interval(other, "generalization_accuracy") is not None
    assert examples.interval(other, "brier") is None


def test_a_capability_that_is_not_that_of_the_pairs_counts_as_given(world: tuple) -> None:
    """Among the published results, that of arc_easy is 1 and the evaluation that it names has 0.889."""
    metrics, scores = world
    metrics = metrics.with_columns(target_tuned_capability=pl.lit(1.0), elicitation="generalization_accuracy")
    found = bootstrap.intervals(metrics, scores, resamples=500)
    both = metrics.join(found, on=["model", "intervention", "source", "target"])
    assert ((both["elicitation_low"] < both["elicitation"]) & (both["elicitation"] < both["elicitation_high"])).all()
    examples = bootstrap.DrawnMeans(metrics, scores, resamples=500)
    own = metrics.filter(intervention="mms")
    accuracy = examples.interval(own, "generalization_accuracy")
    assert examples.interval(own, "elicitation") == pytest.approx(accuracy)


def test_seeds_are_drawn_as_well(world: tuple) -> None:
    """Seeds that disagree widen the interval by about their own variance; equal ones change nothing."""
    metrics, scores = world
    own = metrics.filter(intervention="mms", target="b")
    key = ("m", "mms", "a", "b")

    def width(by_seed: np.ndarray) -> float:
        correct = np.mean([correctness(drawn) for drawn in by_seed], axis=0)
        of_seeds = {**scores, key: Scored(correct, np.arange(200) // 2, by_seed.mean(0), by_seed)}
        low, high = bootstrap.DrawnMeans(metrics, of_seeds, resamples=4_000).interval(own, "generalization_accuracy")
        return high - low

    one = scores[key].probability
    assert width(np.stack([one, one, one])) == pytest.approx(width(one[None]))
    # Four seeds of accuracies 0.5, 0.6, 0.8 and 0.9 on examples that hardly differ between draws.
    apart = np.stack([(np.arange(200) % 10 < tenths).astype(float) for tenths in (5, 6, 8, 9)])
    accuracies = apart.mean(1)
    assert width(apart) > 2 * 1.96 * np.sqrt(accuracies.var() / 4)


def test_a_category_of_too_few_sources_has_intervals_over_examples(world: tuple) -> None:
    """The shifts of one category have one source, those of the other two."""
    metrics, scores = world
    examples = bootstrap.DrawnMeans(metrics, scores, resamples=500)
    categories = by_category(metrics, examples=examples)
    assert set(categories["interval_over"]) == {"examples"}
    for category in ("skill", "personas"):
        row = categories.filter(category=category, intervention="mms").row(0, named=True)
        own = metrics.filter(category=category, intervention="mms")
        for name in ("elicitation", "generalization_accuracy", "target_tuned_capability"):
            low, high = examples.interval(own, name)
            assert (row[f"{name}_low"], row[f"{name}_high"]) == (low, high) and low < row[name] < high
    assert by_category(metrics)["interval_over"].null_count() == len(categories)


def test_a_capability_that_counts_as_given_has_no_interval(world: tuple) -> None:
    metrics, scores = world
    given = metrics.with_columns(target_tuned_capability=pl.lit(0.99))
    examples = bootstrap.DrawnMeans(given, scores, resamples=100)
    row = by_category(given, examples=examples).row(0, named=True)
    assert row["target_tuned_capability"] == pytest.approx(0.99) and row["target_tuned_capability_low"] is None
    assert row["generalization_accuracy_low"] is not None


def test_the_stage_writes_means_and_correlations(tmp_path: Path) -> None:
    shifts = tmp_path / "shifts.yaml"
    shifts.write_text("".join(f"- {{source: s{n}, target: t{n}, benchmark: own-benchmark}}\n" for n in range(5)))
    generator = np.random.default_rng(32)
    for name in ("zero_shot", "mms"):
        for n in range(5):
            answers = {place: generator.random(40).tolist() for place in (f"s{n}", f"t{n}")}
            write_evaluation(tmp_path / "e", "m", name, f"s{n}", answers)
            write_evaluation(tmp_path / "e", "m", name, f"t{n}", {f"t{n}": generator.random(40).tolist()})
    names = ["zero_shot", "mms"]
    write_tables(
        tmp_path / "e", models=["m"], interventions=names, shifts=[shifts], protocol="corrected",
        capability=["mms"], on_references=names, output=tmp_path,
    )  # fmt: skip
    found = read_csv(tmp_path / means.TABLE.file, means.TABLE.columns)
    assert set(found["over"]) == {"new examples", "new shifts", "new shifts and targets"}
    assert found["low"].null_count() == 0
    related = read_csv(tmp_path / correlations.TABLE.file, correlations.TABLE.columns)
    assert related.select("of", "intervention", "with", "shifts").rows() == [("m", "mms", "zero_shot", 5)]
    metrics = read_csv(tmp_path / METRICS.file, METRICS.columns)
    assert set(metrics["benchmark"]) == {"own-benchmark"}
