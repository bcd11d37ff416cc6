"""Tables, from parquet files of single pairs to averages over shifts."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from helpers import write_evaluation

from genies.data.shifts import Shift
from genies.errors import StoreError
from genies.evaluation import metrics as metric
from genies.evaluation.evaluations import PLACE, Fits
from genies.evaluation.table import read_csv, write_csv
from genies.evaluation.tables.cells import TABLE as CELLS
from genies.evaluation.tables.cells import measured_cells
from genies.evaluation.tables.comparisons import compare
from genies.evaluation.tables.elicitation_by_category import TABLE as CATEGORIES
from genies.evaluation.tables.elicitation_by_category import by_category
from genies.evaluation.tables.generalization_metrics import TABLE as METRICS
from genies.evaluation.tables.generalization_metrics import generalization_metrics
from genies.evaluation.tables.leaderboard import TABLE as LEADERBOARD
from genies.evaluation.tables.leaderboard import leaderboard
from genies.evaluation.uncertainty import accuracy_interval, clustered_mean
from genies.stages.metrics import write_tables

ENDS = ("_low", "_high")
SHIFTS = [
    Shift("a", "b", "b", "extreme", "skill", 1),
    Shift("a", "c", "r", "probing", "personas", 2),
    Shift("b", "c", "c", "probing", "personas", 2),
]


def test_evaluations_of_an_earlier_configuration_are_passed_over(tmp_path: Path) -> None:
    """``lora`` gave a capability once, and was evaluated on a reference that has other pairs since, and no more."""
    shifts = tmp_path / "shifts.yaml"
    shifts.write_text("- {source: a, target: b, target_reference: r}")
    evaluations = tmp_path / "evaluations"
    for name in ("mms", "lora"):
        write_evaluation(evaluations, "m", name, "a", {"a": [0.9, 0.2], "b": [0.8, 0.6]})
    write_evaluation(evaluations, "m", "mms", "r", {"r": [0.9, 0.2]})
    left_over = write_evaluation(evaluations, "m", "lora", "r", {"r": [0.9, 0.2, 0.3, 0.4]})

    def table() -> pl.DataFrame:
        write_tables(
            evaluations, models=["m"], interventions=["mms", "lora"], shifts=[shifts], protocol="paper",
            capability=["mms"], on_references=["mms"], output=tmp_path,
        )  # fmt: skip
        return read_csv(tmp_path / CELLS.file, CELLS.columns)

    read = [("mms", "a", "a"), ("mms", "a", "b"), ("mms", "r", "r"), ("lora", "a", "a"), ("lora", "a", "b")]
    assert table().select("intervention", "source", "target").rows() == read
    left_over.write_bytes(b"damaged")
    assert len(table()) == len(read)


def make_cells(accuracies: dict[tuple[str, str, str], float], model: str = "m") -> pl.DataFrame:
    """A cells table with the accuracies given by (intervention, source, target)."""
    rows = [
        {
            "model": model,
            "intervention": intervention,
            "source": source,
            "target": target,
            "accuracy": accuracy,
            "low": accuracy - 0.1,
            "high": accuracy + 0.1,
            "RMS_calibration_error": 0.3,
            "calibration_error": 0.1,
            "brier": 0.2,
            "test_pairs": 10,
            **{"clean_accuracy": accuracy - 0.02, "clean_low": accuracy - 0.12, "clean_high": accuracy + 0.08},
            "clean_pairs": 7,
        }
        for (intervention, source, target), accuracy in accuracies.items()
    ]
    return pl.DataFrame(rows, schema=CELLS.columns)


def full_cells(*interventions: str, model: str = "m") -> pl.DataFrame:
    """Every cell that SHIFTS can need, each with an accuracy of its own."""
    places = [("a", "a"), ("a", "b"), ("a", "c"), ("b", "b"), ("b", "c"), ("c", "c"), ("r", "r")]
    return make_cells(
        {
            (intervention, *place): 0.4 + 0.05 * row + 0.011 * column
            for row, intervention in enumerate(interventions)
            for column, place in enumerate(places)
        },
        model,
    )


def test_cells_hold_the_metrics_of_each_target(tmp_path):
    p = np.random.default_rng(0).random(300).tolist()
    write_evaluation(tmp_path, "m", "mms", "a", {"a": [0.9] * 10, "b": p})
    frame = measured_cells(Fits(tmp_path, ["m"], {"mms": ["a"]}))
    assert dict(frame.schema) == CELLS.columns
    cell = frame.row(by_predicate=pl.col("target") == "b", named=True)
    low, high = accuracy_interval(metric.correctness(p), np.arange(300) // 2)
    assert cell == {
        "model": "m",
        "intervention": "mms",
        "source": "a",
        "target": "b",
        "accuracy": metric.accuracy(p),
        "low": low,
        "high": high,
        "RMS_calibration_error": metric.published_rms_calibration_error(p),
        "calibration_error": pytest.approx(metric.calibration_error(p)),
        "brier": pytest.approx(metric.brier(p)),
        "test_pairs": 300,
        **dict.fromkeys(("clean_accuracy", "clean_low", "clean_high", "clean_pairs", "clean_clusters")),
        **dict.fromkeys(("seen_difference", "seen_difference_low", "seen_difference_high")),
        "calibration_error_by_chance": metric.calibration_error_by_chance(p),
        **dict.fromkeys(("fresh_accuracy", "fresh_low", "fresh_high", "fresh_pairs", "fresh_clusters")),
        **dict.fromkeys(("near_difference", "near_difference_low", "near_difference_high")),
    }
    # Ten pairs fill no bin of the published error.
    assert frame.row(by_predicate=pl.col("target") == "a", named=True)["RMS_calibration_error"] is None


def test_the_order_of_rows_in_a_file_plays_no_part(tmp_path):
    path = write_evaluation(tmp_path, "m", "mms", "a", {"a": np.random.default_rng(0).random(60).tolist()})
    before = measured_cells(Fits(tmp_path, ["m"], {"mms": ["a"]}))
    pl.read_parquet(path).sort("example", "pair", descending=True).write_parquet(path)
    assert measured_cells(Fits(tmp_path, ["m"], {"mms": ["a"]})).equals(before)


def test_cells_read_what_is_asked_for_in_that_order(tmp_path):
    for model in ("m", "old"):
        for intervention in ("mms", "ccs", "random"):
            write_evaluation(tmp_path, model, intervention, "a", {"a": [0.9, 0.1]})
    frame = measured_cells(Fits(tmp_path, ["m"], {"random": ["a"], "mms": ["a"]}))
    assert frame.select("model", "intervention").rows() == [("m", "random"), ("m", "mms")]


@pytest.mark.parametrize("value", [1.5, -0.1, float("nan")])
def test_a_value_that_is_no_probability_is_named_with_its_file_and_target(tmp_path, value):
    path = write_evaluation(tmp_path, "m", "mms", "a", {"a": [0.9, 0.1], "b": [0.3, value]})
    with pytest.raises(StoreError) as caught:
        measured_cells(Fits(tmp_path, ["m"], {"mms": ["a"]}))
    assert str(path) in str(caught.value) and "b: probability 1" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_foreign_and_doubled_evaluations_are_refused(tmp_path):
    path = write_evaluation(tmp_path, "m", "mms", "a", {"a": [0.9, 0.1]})
    good = pl.read_parquet(path)
    pl.concat([good, good]).write_parquet(path)
    with pytest.raises(StoreError, match="example 0, pair 0 occurs twice"):
        measured_cells(Fits(tmp_path, ["m"], {"mms": ["a"]}))
    good.drop("score_best").write_parquet(path)
    with pytest.raises(StoreError, match="columns"):
        measured_cells(Fits(tmp_path, ["m"], {"mms": ["a"]}))
    path.write_bytes(b"PAR1 no more")
    with pytest.raises(StoreError, match="cannot be read") as caught:
        measured_cells(Fits(tmp_path, ["m"], {"mms": ["a"]}))
    assert "\n" not in str(caught.value)


def test_what_is_asked_for_and_missing_is_refused(tmp_path):
    write_evaluation(tmp_path, "m", "mms", "a", {"a": [0.9, 0.1]})
    for models, interventions, missing in ((["m", "large"], ["mms"], "large/mms"), (["m"], ["mms", "ccs"], "m/ccs")):
        with pytest.raises(StoreError, match=f"{missing}/a.parquet: file not found; run"):
            measured_cells(Fits(tmp_path, models, {name: ["a"] for name in interventions}))


def test_uneven_evaluations_are_refused(tmp_path):
    write_evaluation(tmp_path, "m", "mms", "a", {"a": [0.9, 0.1]})
    write_evaluation(tmp_path, "m", "ccs", "a", {"a": [0.9, 0.1, 0.2]})
    with pytest.raises(StoreError, match="a was evaluated on 2 pairs by one intervention and on 3"):
        measured_cells(Fits(tmp_path, ["m"], {"mms": ["a"], "ccs": ["a"]}))


def test_metrics_have_the_published_columns_in_order():
    frame = generalization_metrics(full_cells("zero_shot", "mms"), SHIFTS, ["mms"])
    assert ",".join(frame.columns) == (
        "model,intervention,label,category,benchmark,"
        "source,target,target_reference,generalization_accuracy,baseline_accuracy,baseline_intervention,"
        "target_tuned_capability,target_tuned_capability_intervention,source_ID_accuracy,RMS_calibration_error,"
        "differential_elicitation,"
        "elicitation,calibration_error,brier,generalization_accuracy_low,generalization_accuracy_high,test_pairs,"
        "published_entries,clean_accuracy,clean_low,clean_high,clean_pairs,chance_adjusted_elicitation,"
        "capability_low,capability_high,capability_chosen_by,capability_chosen_from,remarks,calibration_error_by_chance,"
        "fresh_accuracy,fresh_low,fresh_high,fresh_pairs"
    )
    assert len(frame) == 2 * len(SHIFTS)


def test_metrics_of_a_shift_come_from_the_right_cells():
    cells = full_cells("zero_shot", "mms", "lora")
    frame = generalization_metrics(cells, SHIFTS, ["mms", "lora"])
    row = frame.row(
        by_predicate=(pl.col("intervention") == "mms") & (pl.col("source") == "a") & (pl.col("target") == "c"),
        named=True,
    )
    at = {(c["intervention"], c["source"], c["target"]): c["accuracy"] for c in cells.iter_rows(named=True)}
    accuracy, capability = at["mms", "a", "c"], at["lora", "r", "r"]
    assert row == {
        "model": "m",
        "intervention": "mms",
        "label": "probing",
        "category": "personas",
        "benchmark": None,
        "source": "a",
        "target": "c",
        "target_reference": "r",
        "generalization_accuracy": accuracy,
        "baseline_accuracy": at["zero_shot", "a", "c"],
        "baseline_intervention": "zero_shot",
        "target_tuned_capability": capability,
        "target_tuned_capability_intervention": "lora",
        "source_ID_accuracy": at["mms", "a", "a"],
        "RMS_calibration_error": 0.3,
        "differential_elicitation": pytest.approx((accuracy - at["zero_shot", "a", "c"]) / capability),
        "elicitation": pytest.approx(accuracy / capability),
        "calibration_error": 0.1,
        "brier": 0.2,
        "generalization_accuracy_low": accuracy - 0.1,
        "generalization_accuracy_high": accuracy + 0.1,
        "test_pairs": 10,
        "published_entries": 2,
        **{"clean_accuracy": accuracy - 0.02, "clean_low": accuracy - 0.12, "clean_high": accuracy + 0.08},
        "clean_pairs": 7,
        "chance_adjusted_elicitation": pytest.approx((accuracy - 0.5) / (capability - 0.5)),
        **dict.fromkeys(("capability_low", "capability_high", "remarks", "calibration_error_by_chance")),
        **dict.fromkeys(("fresh_accuracy", "fresh_low", "fresh_high", "fresh_pairs")),
        "capability_chosen_by": "accuracy on test pairs",
        "capability_chosen_from": "mms, lora",
    }


def test_capability_goes_to_the_earlier_of_equals():
    cells = full_cells("mms", "lora").with_columns(accuracy=pl.lit(0.8))
    for order in (["mms", "lora"], ["lora", "mms"]):
        frame = generalization_metrics(cells, SHIFTS, order)
        assert set(frame["target_tuned_capability_intervention"]) == {order[0]}


def test_what_was_not_run_is_null_and_not_zero():
    frame = generalization_metrics(full_cells("mms"), SHIFTS, ["lora"])
    for name in (
        "baseline_accuracy",
        "baseline_intervention",
        "target_tuned_capability",
        "target_tuned_capability_intervention",
        "elicitation",
        "differential_elicitation",
    ):
        assert frame[name].null_count() == len(frame), name
    board = leaderboard(frame)
    assert board["elicitation"].null_count() == len(board)
    assert board["generalization_accuracy"].null_count() == 0


def test_a_capability_of_zero_gives_no_elicitation():
    cells = full_cells("mms").with_columns(accuracy=pl.when(pl.col("source") == "r").then(0.0).otherwise("accuracy"))
    frame = generalization_metrics(cells, SHIFTS, ["mms"])
    assert frame.filter(pl.col("target_reference") == "r")["elicitation"].to_list() == [None]
    assert frame.filter(pl.col("target_reference") != "r")["elicitation"].null_count() == 0


@pytest.mark.parametrize(
    "place", [("mms", "a", "c"), ("mms", "a", "a"), ("mms", "r", "r"), ("zero_shot", "a", "c")], ids="-".join
)
def test_a_missing_cell_is_named_with_its_shift(place):
    cells = full_cells("zero_shot", "mms")
    intervention, source, target = place
    there = (pl.col("intervention") == intervention) & (pl.col("source") == source) & (pl.col("target") == target)
    with pytest.raises(StoreError) as caught:
        generalization_metrics(cells.filter(~there), SHIFTS[1:2], ["mms"])
    message = str(caught.value)
    assert f"{intervention} fitted on {source} and tested on {target}" in message
    assert "a → c" in message and "\n" not in message


def block(board: pl.DataFrame, label: str, averaged_over: str) -> pl.DataFrame:
    return board.filter((pl.col("label") == label) & (pl.col("averaged_over") == averaged_over))


def test_leaderboard_averages_over_distinct_shifts_and_over_published_entries():
    metrics = generalization_metrics(full_cells("zero_shot", "mms"), SHIFTS, ["mms"])
    board = leaderboard(metrics)
    own = metrics.filter(intervention="mms")
    for averaged_over, weights, entries in (("distinct", [1, 1, 1], 3), ("published", [1, 2, 2], 5)):
        row = block(board, "all", averaged_over).row(by_predicate=pl.col("intervention") == "mms", named=True)
        assert (row["shifts"], row["entries"]) == (3, entries)
        expected = clustered_mean(*(np.repeat(own[name], weights) for name in ("generalization_accuracy", "source")))
        low, high = expected.interval()
        assert row["generalization_accuracy"] == pytest.approx(expected.mean)
        assert row["generalization_accuracy_low"] == pytest.approx(max(low, 0))
        assert row["generalization_accuracy_high"] == pytest.approx(min(high, 1))
        assert row["degrees_of_freedom"] == pytest.approx(expected.degrees_of_freedom)
        assert row["generalization_accuracy_examples_low"] is None


def test_leaderboard_counts_the_shifts_whose_accuracy_chance_could_give():
    cells = make_cells(
        {("mms", "a", "a"): 0.9, ("mms", "a", "b"): 0.55, ("mms", "a", "c"): 0.65, ("mms", "b", "b"): 0.9}
        | {("mms", "b", "c"): 0.4, ("mms", "c", "c"): 0.9, ("mms", "r", "r"): 0.9}
    )
    metrics = generalization_metrics(cells, SHIFTS, ["mms"])
    # Intervals are 0.1 to either side, and the ends belong to them.
    assert leaderboard(metrics).select("averaged_over", "shifts", "shifts_at_chance").rows()[:2] == [
        ("distinct", 3, 2), ("published", 3, 2),
    ]  # fmt: skip
    unknown = metrics.with_columns(pl.lit(None, pl.Float64).alias("generalization_accuracy_low"))
    assert leaderboard(unknown)["shifts_at_chance"].null_count() == len(leaderboard(unknown))


def test_each_shift_names_its_benchmark():
    shifts = [replace(SHIFTS[0], benchmark="GENIES"), *SHIFTS[1:]]
    metrics = generalization_metrics(full_cells("mms"), shifts, ["mms"])
    assert metrics["benchmark"].to_list() == ["GENIES", None, None]


def test_leaderboard_ranks_and_pairs_differences_by_shift():
    cells = full_cells("zero_shot", "mms", "lora")
    metrics = generalization_metrics(cells, SHIFTS, ["mms"])
    # Another order of rows for one intervention must not change what is paired.
    shuffled = pl.concat(
        [metrics.filter(pl.col("intervention") != "mms"), metrics.filter(pl.col("intervention") == "mms").reverse()]
    )
    comparisons = compare(shuffled, {})
    rows = block(leaderboard(shuffled, comparisons=comparisons), "all", "distinct").rows(named=True)
    assert [row["intervention"] for row in rows] == ["lora", "mms", "zero_shot"]
    assert rows[0]["difference_to_best"] is None
    # Each intervention is a constant below the next. On so few shifts that is no evidence: the interval has no end.
    for row, expected in zip(rows[1:], (-0.05, -0.1), strict=True):
        assert row["difference_to_best"] == pytest.approx(expected)
        assert (row["difference_to_best_low"], row["difference_to_best_high"], row["may_be_best"]) == (None, None, True)
    assert set(leaderboard(shuffled)["may_be_best"]) == {None}


def test_leaderboard_has_a_block_for_each_label_and_none_over_own_shifts_as_published():
    metrics = generalization_metrics(full_cells("mms"), SHIFTS, ["mms"])
    board = leaderboard(metrics)
    assert board.select("label", "averaged_over").unique(maintain_order=True).rows() == [
        (label, over) for label in ("all", "extreme", "probing") for over in ("distinct", "published")
    ]
    own = [replace(shift, published_entries=None) for shift in SHIFTS]
    board = leaderboard(generalization_metrics(full_cells("mms"), own, ["mms"]))
    assert set(board["averaged_over"]) == {"distinct"}


def test_one_shift_has_a_mean_and_no_interval():
    metrics = generalization_metrics(full_cells("mms", "lora"), SHIFTS, ["mms"])
    row = block(leaderboard(metrics), "extreme", "distinct").row(0, named=True)
    assert row["generalization_accuracy"] is not None
    assert row["generalization_accuracy_low"] is None and row["generalization_accuracy_high"] is None
    categories = by_category(metrics)
    skill = categories.filter(pl.col("category") == "skill")
    assert skill["shifts"].to_list() == [1, 1]
    assert skill["elicitation"].null_count() == 0
    assert skill["elicitation_low"].null_count() == 2


def test_a_category_of_one_shift_has_the_intervals_of_that_shift_over_examples():
    metrics = generalization_metrics(full_cells("mms", "lora"), SHIFTS, ["mms"])
    metrics = metrics.with_columns(capability_low=pl.lit(0.4), capability_high=pl.lit(0.7))
    ends = {"elicitation_low": pl.col("elicitation") - 0.1, "elicitation_high": pl.col("elicitation") + 0.1}
    intervals = metrics.filter(intervention="mms").select(*PLACE, **ends)
    categories = by_category(metrics, intervals)
    assert dict(categories.schema) == CATEGORIES.columns
    mms, lora = categories.filter(category="skill").rows(named=True)
    assert mms["elicitation_low"] == mms["elicitation"] - 0.1 and mms["elicitation_high"] == mms["elicitation"] + 0.1
    assert (lora["elicitation_low"], lora["elicitation_high"]) == (None, None)
    for row in (mms, lora):
        own = metrics.filter(category="skill", intervention=row["intervention"]).row(0, named=True)
        assert (row["shifts"], row["sources"], row["degrees_of_freedom"]) == (1, 1, None)
        assert row["interval_over"] == "examples"
        assert row["target_tuned_capability"] == own["target_tuned_capability"]
        assert (row["target_tuned_capability_low"], row["target_tuned_capability_high"]) == (0.4, 0.7)
        assert row["generalization_accuracy_low"] == pytest.approx(row["generalization_accuracy"] - 0.1)


def of_sources(sources: int) -> pl.DataFrame:
    """Metrics of a category with one shift per source."""
    shifts = [Shift(f"s{n}", f"t{n}", f"t{n}", "probing", "personas", 1) for n in range(sources)]
    places = [(s.source, place) for s in shifts for place in (s.source, s.target)]
    accuracies = {("mms", *place): 0.6 + 0.02 * (n % 5) for n, place in enumerate(places)}
    accuracies |= {("mms", s.target, s.target): 0.8 + 0.01 * n for n, s in enumerate(shifts)}
    return generalization_metrics(make_cells(accuracies), shifts, ["mms"])


def test_means_of_a_category_have_intervals_for_new_shifts_where_its_shifts_support_them():
    metrics = of_sources(5)
    row = by_category(metrics).row(0, named=True)
    assert (row["shifts"], row["sources"], row["interval_over"]) == (5, 5, "new shifts")
    assert row["degrees_of_freedom"] == pytest.approx(4)
    for name in ("elicitation", "generalization_accuracy", "target_tuned_capability"):
        low, high = clustered_mean(metrics[name], metrics["source"]).interval()
        assert row[name] == pytest.approx(metrics[name].mean())
        assert (row[f"{name}_low"], row[f"{name}_high"]) == pytest.approx((low, high))
    assert row["random_elicitation"] == pytest.approx(np.mean(0.5 / metrics["target_tuned_capability"].to_numpy()))


def test_a_category_of_too_few_sources_has_no_interval_for_new_shifts():
    """Four sources have three degrees of freedom, fewer than a claim about new shifts needs."""
    row = by_category(of_sources(4)).row(0, named=True)
    assert row["degrees_of_freedom"] == pytest.approx(3)
    assert row["interval_over"] is None
    assert all(row[f"{name}{end}"] is None for name in ("elicitation", "generalization_accuracy") for end in ENDS)


def test_models_are_kept_apart():
    cells = pl.concat([full_cells("mms", model="small"), full_cells("lora", "mms", model="large")])
    metrics = generalization_metrics(cells, SHIFTS, ["lora", "mms"])
    assert metrics["model"].unique(maintain_order=True).to_list() == ["small", "large"]
    assert set(metrics.filter(pl.col("model") == "small")["target_tuned_capability_intervention"]) == {"mms"}
    assert leaderboard(metrics).filter(pl.col("model") == "small")["intervention"].unique().to_list() == ["mms"]


def test_written_tables_read_back_equal_even_with_awkward_names(tmp_path):
    shifts = [replace(SHIFTS[0], label="1", category='a,"b"'), *SHIFTS[1:]]
    metrics = generalization_metrics(full_cells("007", "mms", model="1e3"), shifts, ["lora"])
    written = (metrics, leaderboard(metrics), by_category(metrics))
    for frame, name in zip(written, (METRICS.file, LEADERBOARD.file, CATEGORIES.file), strict=True):
        write_csv(frame, tmp_path / name)
    for before, table in zip(written, (METRICS, LEADERBOARD, CATEGORIES), strict=True):
        after = table.read(tmp_path)
        assert after.equals(before)


def test_tables_that_are_missing_or_foreign_are_refused(tmp_path):
    with pytest.raises(StoreError, match="file not found"):
        METRICS.read(tmp_path)
    (tmp_path / METRICS.file).write_text("model,source\nm,a\n")
    with pytest.raises(StoreError, match="lacks|has more"):
        METRICS.read(tmp_path)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_not_written(tmp_path, value):
    with pytest.raises(ValueError, match="column x"):
        write_csv(pl.DataFrame({"x": [0.5, None, value]}), tmp_path / "t.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_benchmark_has_a_block_of_its_own_unless_it_is_all_there_is(tmp_path: Path) -> None:
    metrics = generalization_metrics(full_cells("mms"), SHIFTS, ["mms"])
    first = {(SHIFTS[0].source, SHIFTS[0].target)}
    board = leaderboard(metrics, {"GENIES": first, "elsewhere": {("no", "such")}})
    assert board.select("label", "averaged_over").unique(maintain_order=True).rows()[:3] == [
        ("all", "distinct"), ("all", "published"), ("all", "GENIES"),
    ]  # fmt: skip
    row = board.filter(averaged_over="GENIES").row(0, named=True)
    assert row["shifts"] == 1
    assert row["generalization_accuracy"] == metrics["generalization_accuracy"][0]
    everything = {(shift.source, shift.target) for shift in SHIFTS}
    assert "GENIES" not in leaderboard(metrics, {"GENIES": everything})["averaged_over"].to_list()
