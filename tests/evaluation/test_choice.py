"""Choosing on other shifts: chosen on the reported ones themselves, a method looks too good."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genies.commands.select import select
from genies.data.shifts import read_shifts
from genies.errors import DataError
from genies.evaluation.choice import CHOICES, apart, choice, choices
from genies.evaluation.related import SHARED, one_name
from genies.evaluation.tables.generalization_metrics import TABLE as METRICS
from genies.evaluation.tables.leaderboard import TABLE as LEADERBOARD
from genies.report.tables import Tables

SHIFTS = read_shifts("published69")
REPORTED = sorted((s.source, s.target) for s in SHIFTS if s.benchmark == "GENIES")
OTHERS = sorted({(s.source, s.target) for s in SHIFTS} - {*REPORTED})
METHODS, REPEATS = 20, 400


def noise(random: np.random.Generator, of_source: float = 0.0) -> dict[str, dict[tuple[str, str], float]]:
    """Twenty methods that are all right half of the time; what a source does to a method is shared by its shifts."""
    found: dict[str, dict[tuple[str, str], float]] = {}
    for number in range(METHODS):
        by_source = {shift.source: random.normal(0, of_source) for shift in SHIFTS}
        found[f"m{number}"] = {
            place: 0.5 + by_source[place[0]] + random.normal(0, 0.05) for place in (*REPORTED, *OTHERS)
        }
    return found


def test_the_published_shifts_apart_from_the_benchmark_share_no_distribution_with_it() -> None:
    there = apart(OTHERS, REPORTED)
    assert (len(REPORTED), len(OTHERS), len(there)) == (15, 41, 12)
    used = {name for place in REPORTED for name in place}
    assert not any(used & {*place} for place in there)
    assert all(used & {*place} for place in OTHERS if place not in there)


def test_a_shift_of_a_copied_distribution_is_not_chosen_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copy of a reported target under another name: by names alone its shift was one to choose by."""
    there, (_, target) = apart(OTHERS, REPORTED), REPORTED[0]
    copied = there[0][1]
    shared = SHARED.frame([{"first": copied, "second": target, "examples": 10, "shared": 2}])
    assert [place for place in there if copied in place] == [
        place for place in there if place not in apart(OTHERS, REPORTED, one_name(shared))
    ]
    runs = {tmp_path / "run": (metrics(flat(mms=0.6)), {"mms": "source labels"})}
    (by_names,) = chosen_by_the_verb(runs, tmp_path, monkeypatch)
    assert "texts were not compared" in capsys.readouterr().out
    SHARED.write(shared, tmp_path / "run")
    (by_texts,) = chosen_by_the_verb(runs, tmp_path, monkeypatch)
    assert "texts were not compared" not in capsys.readouterr().out
    assert by_texts["chosen_on"] == by_names["chosen_on"] - sum(copied in place for place in there)
    assert by_texts["dropped"] == by_names["dropped"] + sum(copied in place for place in there)


@pytest.mark.parametrize("of_source", [0.0, 0.1])
def test_of_equal_methods_the_naive_choice_is_optimistic_and_the_honest_one_is_not(of_source: float) -> None:
    random = np.random.default_rng(5)
    there = apart(OTHERS, REPORTED)
    drawn = [noise(random, of_source) for _ in range(REPEATS)]
    found = [choice(accuracy, there, REPORTED) for accuracy in drawn]
    honest, naive = (np.array([row[name] for row in found]) - 0.5 for name in ("accuracy", "naive_accuracy"))
    optimism = np.array([row["optimism"] for row in found])
    error = [values.std(ddof=1) / np.sqrt(REPEATS) for values in (honest, naive)]
    assert abs(honest.mean()) < 3 * error[0]
    assert naive.mean() > 10 * error[1] and naive.mean() > 0.02
    assert optimism.mean() == pytest.approx(naive.mean() - honest.mean())
    assert (optimism >= -1e-12).all()
    if of_source:
        # Chosen on all of the others, which share sources with the reported ones, it is optimistic as well.
        leaky = np.array([choice(accuracy, OTHERS, REPORTED)["accuracy"] for accuracy in drawn]) - 0.5
        assert leaky.mean() > 5 * leaky.std(ddof=1) / np.sqrt(REPEATS)


def test_reported_shifts_of_a_copied_source_are_one_cluster() -> None:
    random = np.random.default_rng(2)
    copied = [("a", "x"), ("copy of a", "y"), ("b", "z"), ("c", "w"), ("d", "v")]
    plain = [("a", "x"), ("a", "y"), *copied[2:]]
    own = {name: random.random(5) for name in ("one", "two")}
    there = [("there", "elsewhere")]
    by_names, renamed, apart_from_each_other = (
        choice(
            {name: dict(zip(places, values, strict=True)) | {there[0]: 0.5} for name, values in own.items()},
            there, places, names,
        )
        for places, names in ((copied, {"copy of a": "a"}), (plain, {}), (copied, {}))
    )  # fmt: skip
    assert by_names == renamed and by_names["degrees_of_freedom"] < apart_from_each_other["degrees_of_freedom"]


def metrics(accuracy: dict[str, dict[tuple[str, str], float]]) -> pl.DataFrame:
    benchmark = {(s.source, s.target): s.benchmark for s in SHIFTS}
    return METRICS.frame(
        {"model": "m", "intervention": name, "label": "l", "category": "c", "source": source, "target": target,
         "generalization_accuracy": value, "benchmark": benchmark[source, target]}
        for name, own in accuracy.items() for (source, target), value in own.items()
    )  # fmt: skip


def test_a_method_that_is_better_everywhere_is_chosen_within_its_class_alone() -> None:
    accuracy = noise(np.random.default_rng(1))
    accuracy["m3"] = {place: value + 0.2 for place, value in accuracy["m3"].items()}
    accuracy["judge"] = dict.fromkeys(accuracy["m3"], 0.9)
    accuracy["random"] = dict.fromkeys(accuracy["m3"], 0.99)
    accuracy["short"] = dict.fromkeys(REPORTED, 0.95)
    classes = dict.fromkeys(accuracy, "source labels") | {"judge": "a judge"}
    found = choices(metrics(accuracy), classes, "GENIES")
    assert dict(found.schema) == CHOICES
    own, judge = found.to_dicts()
    assert (own["saw"], own["candidates"], own["chosen"], own["naive"]) == ("source labels", 20, "m3", "m3")
    assert (own["chosen_on"], own["dropped"], own["reported_on"], own["optimism"]) == (12, 29, 15, 0)
    assert own["accuracy"] == pytest.approx(np.mean([accuracy["m3"][place] for place in REPORTED]))
    assert own["accuracy_low"] < own["accuracy"] < own["accuracy_high"]
    assert own["incomplete"] == "short"
    assert (judge["saw"], judge["chosen"], judge["candidates"]) == ("a judge", "judge", 1)


def test_without_shifts_to_choose_by_or_to_report_on_nothing_is_chosen() -> None:
    accuracy = {"mms": dict.fromkeys(REPORTED, 0.6)}
    nothing = "m: all of its shifts are of GENIES, so there is nothing to choose by; run config/published69"
    with pytest.raises(DataError, match=nothing):
        choices(metrics(accuracy), {}, "GENIES")
    with pytest.raises(DataError, match="no shift of its results is of the benchmark OTHER"):
        choices(metrics(accuracy), {}, "OTHER")


def test_the_verb_needs_a_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from genies.cli import main

    assert main(["select"]) == 2
    assert "name the folder of a run's results" in capsys.readouterr().err


def chosen_by_the_verb(
    runs: dict[Path, tuple[pl.DataFrame, dict[str, str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[dict]:
    """Rows of ``genies select`` over runs of these metrics and classes."""
    tables = {
        folder: Tables(
            {
                "generalization_metrics": frame,
                "leaderboard": LEADERBOARD.frame({"intervention": name, "saw": saw} for name, saw in classes.items()),
            }
        )
        for folder, (frame, classes) in runs.items()
    }
    monkeypatch.setattr(Tables, "of_run", lambda folder, earlier: tables[folder])
    for folder in runs:
        folder.mkdir(parents=True, exist_ok=True)
    select(*runs, output=tmp_path / "choices.csv")
    return pl.read_csv(tmp_path / "choices.csv").to_dicts()


def flat(**levels: float) -> dict[str, dict[tuple[str, str], float]]:
    return {name: dict.fromkeys((*REPORTED, *OTHERS), level) for name, level in levels.items()}


def test_a_method_that_saw_target_labels_in_one_run_is_apart_whatever_its_name_saw_in_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fair, all_labels = "source labels", "source labels, target texts, target labels"
    big = metrics(flat(ccs=0.9, mms=0.7)).with_columns(model=pl.lit("big"))
    small = metrics(flat(ccs=0.6, mms=0.7)).with_columns(model=pl.lit("small"))
    runs = {
        tmp_path / "paper": (big, {"ccs": all_labels, "mms": fair}),
        tmp_path / "corrected": (small, {"ccs": fair, "mms": fair}),
    }
    rows = chosen_by_the_verb(runs, tmp_path, monkeypatch)
    found = {(row["model"], row["saw"]): (row["chosen"], row["candidates"]) for row in rows}
    assert found == {("big", all_labels): ("ccs", 1), ("big", fair): ("mms", 1), ("small", fair): ("mms", 2)}


def test_runs_of_folders_of_one_name_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "a" / "run", tmp_path / "b" / "run"
    runs = {
        folder: (metrics(flat(mms=level)), {"mms": "source labels"}) for folder, level in ((first, 0.8), (second, 0.6))
    }
    (row,) = chosen_by_the_verb(runs, tmp_path, monkeypatch)
    assert (row["candidates"], row["chosen"]) == (2, f"mms ({first})")
    assert (row["accuracy_there"], row["accuracy"]) == (pytest.approx(0.8), pytest.approx(0.8))
