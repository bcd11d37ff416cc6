"""Tables of answers to questions, and of the order of equally accurate sites; the seeds of a fit in a cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genies.evaluation import metrics
from genies.evaluation.evaluations import PAIR_COLUMNS, Fits, tabulate
from genies.evaluation.scored import Scored, scored
from genies.evaluation.table import Table
from genies.evaluation.tables import answers, ties
from genies.evaluation.tables.answers import TABLE as ANSWERED
from genies.evaluation.tables.cells import measured_cells
from genies.evaluation.tables.reliability import reliability
from genies.evaluation.tables.ties import TABLE as TIES
from genies.evaluation.uncertainty import accuracy_interval, margin_of_draws


def write(folder: Path, frame: pl.DataFrame) -> Path:
    path = folder / "m" / "mms" / "a.parquet"
    path.parent.mkdir(parents=True)
    frame.write_parquet(path)
    return folder


ROWS = {"answers": answers.row, "ties": ties.row}


def tabulated(table: Table, folder: Path) -> pl.DataFrame:
    return table.frame(tabulate(Fits(folder, ["m"], {"mms": ["a"]}), ROWS)[Path(table.file).stem])


def pairs(probability: np.ndarray, **columns: object) -> pl.DataFrame:
    rows = len(probability)
    known = {"target": "b", "example": np.arange(rows) // 2, "pair": np.arange(rows) % 2, "probability": probability}
    known |= {"cluster": np.arange(rows) // 2, **columns}
    return pl.DataFrame({name: known.get(name) for name in PAIR_COLUMNS}, schema=PAIR_COLUMNS)


def test_a_bias_towards_no_shows_in_the_answers_and_not_in_which_response_is_called_truer(tmp_path: Path) -> None:
    """Of each example first the best response (Yes is right), then a worse one: No throughout, but less surely so."""
    right = np.tile([0.3, 0.9], 50)
    frame = pairs(right, answer=["Yes", "No"] * 50)
    (row,) = tabulated(ANSWERED, write(tmp_path, frame)).to_dicts()
    assert (row["accuracy_yes"], row["accuracy_no"], row["always_no"], row["items"]) == (0.0, 1.0, 0.5, 100)
    assert (row["higher"], row["higher_high"]) == (1.0, 1.0) and row["higher_low"] > 0.9
    assert metrics.accuracy(right) == 0.5


def test_seeds_that_disagree_about_the_truer_response_widen_its_interval(tmp_path: Path) -> None:
    """Ten seeds: half of them call the best response of every example the truer one, half of every second one."""
    yes, example = np.arange(200) % 2 == 0, np.arange(200) // 2
    higher = (np.arange(10) % 2 == 0) | (example % 2 == 0)[:, None]
    said_yes = np.where(higher == yes[:, None], 0.8, 0.3)
    drawn = np.where(yes[:, None], said_yes, 1 - said_yes)
    answer = np.where(yes, "Yes", "No").tolist()
    frame = pairs(drawn.mean(axis=1), repeated_over="seeds", repeats=drawn.tolist(), answer=answer)
    (row,) = tabulated(ANSWERED, write(tmp_path, frame)).to_dicts()
    assert row["higher"] == pytest.approx(0.75)
    seeds = margin_of_draws(float(np.var([1.0, 0.5] * 5, ddof=1)) / 10, 10)
    assert row["higher_high"] - row["higher"] > seeds and row["higher"] - row["higher_low"] > seeds


def test_shifts_onto_one_target_share_its_examples_in_the_reliability_diagram() -> None:
    """Three sources are right about the same examples: the interval is that of one of them."""
    correct = (np.arange(100) % 5 > 0).astype(float)
    sure = Scored(correct, np.arange(100), np.where(correct, 0.9, 0.1))
    shifts = pl.DataFrame({"model": "m", "intervention": "mms", "source": ["a", "c", "d"], "target": "b"})
    (one,), (three,) = (
        reliability(shifts[:count], {("m", "mms", source, "b"): sure for source in "acd"}).to_dicts()
        for count in (1, 3)
    )
    assert (one["pairs"], three["pairs"]) == (100, 300)
    assert (three["low"], three["high"]) == pytest.approx((one["low"], one["high"]), abs=0.01)


def test_pairs_that_are_no_questions_have_no_answers(tmp_path: Path) -> None:
    folder = write(tmp_path, pairs(np.full(4, 0.7)))
    for table in (ANSWERED, TIES):
        frame = tabulated(table, folder)
        assert not len(frame) and dict(frame.schema) == table.columns


def test_the_spread_over_orders_of_equal_sites_is_that_of_their_accuracies(tmp_path: Path) -> None:
    repeats = np.random.default_rng(0).random((40, 20))
    frame = pairs(np.full(40, 0.7), repeated_over="tie orders", repeats=repeats.tolist())
    (row,) = tabulated(TIES, write(tmp_path, frame)).to_dicts()
    accuracies = (repeats > 0.5).mean(axis=0)
    assert (row["orders"], row["accuracy"]) == (20, 1.0)
    assert row["accuracy_mean"] == pytest.approx(accuracies.mean())
    assert row["accuracy_sd"] == pytest.approx(accuracies.std(ddof=1))
    assert (row["accuracy_least"], row["accuracy_most"]) == (accuracies.min(), accuracies.max())


def test_a_cell_over_seeds_is_their_mean_and_its_interval_holds_their_spread(tmp_path: Path) -> None:
    """Ten seeds, half of which are right throughout and half of which are right on every second pair."""
    drawn = np.where((np.arange(10) % 2 == 0) | (np.arange(100) % 2 == 0)[:, None], 0.8, 0.3)
    frame = pairs(drawn.mean(axis=1), repeated_over="seeds", repeats=drawn.tolist())
    cells = measured_cells(Fits(write(tmp_path, frame), ["m"], {"mms": ["a"]}))
    assert cells["accuracy"][0] == pytest.approx(0.75)
    judged = scored(frame)
    assert judged.seed_variance == pytest.approx(np.var([1.0, 0.5] * 5, ddof=1) / 10)
    low, high = accuracy_interval(judged.correct, judged.cluster)
    assert cells["low"][0] < low - 0.02 and cells["high"][0] > high + 0.02
    assert cells["brier"][0] == pytest.approx(np.mean((1 - drawn) ** 2))


def test_what_chance_makes_of_calibration_is_the_quantile_of_calibrated_methods() -> None:
    """250 pairs at p = ½ (statistics of 100,000 draws: 0.064), and the level where probabilities are right."""
    assert metrics.calibration_error_by_chance(np.full(250, 0.5)) == pytest.approx(0.064, abs=0.005)
    generator, below = np.random.default_rng(0), 0
    for _ in range(300):
        confidence = generator.uniform(0.5, 1, 200)
        right = generator.random(200) < confidence
        probability = np.where(right, confidence, 1 - confidence)
        below += metrics.calibration_error(probability) <= metrics.calibration_error_by_chance(probability)
    assert 0.92 <= below / 300 <= 0.98
