"""The spread of results over seeds."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from helpers import write_evaluation

from genies.data.shifts import Shift
from genies.errors import StoreError
from genies.evaluation.evaluations import Fits
from genies.evaluation.tables import seeds
from genies.evaluation.tables.cells import measured_cells
from genies.evaluation.tables.generalization_metrics import generalization_metrics

SHIFTS = [Shift("a", "b", "b", "extreme", "skill", 1), Shift("a", "c", "c", "extreme", "skill", 2)]
RIGHT, WRONG = 0.9, 0.1


@pytest.fixture
def evaluations(tmp_path: Path) -> Path:
    """One model; ``mms`` with two further seeds, and ``random`` with none."""
    drawn = {
        "mms": ([RIGHT, RIGHT], [RIGHT, WRONG]),
        "mms@1": ([RIGHT, WRONG], [RIGHT, WRONG]),
        "mms@2": ([RIGHT, RIGHT], [WRONG, WRONG]),
        "random": ([0.5, 0.5], [0.5, 0.5]),
    }
    for name, (b, c) in drawn.items():
        write_evaluation(tmp_path, "m", name, "a", {"a": b, "b": b, "c": c})
    write_evaluation(tmp_path, "m", "mms", "b", {"b": [RIGHT, RIGHT]})
    write_evaluation(tmp_path, "m", "mms", "c", {"c": [RIGHT, RIGHT]})
    return tmp_path


def fits_of(evaluations: Path) -> Fits:
    return Fits(evaluations, ["m", "tuned"], {"mms": ["a"]}, absent=["tuned/mms", "tuned/mms@1", "tuned/mms@2"])


def metrics_of(evaluations: Path) -> pl.DataFrame:
    cells = measured_cells(Fits(evaluations, ["m"], {"mms": ["a", "b", "c"], "random": ["a"]}))
    return generalization_metrics(cells, SHIFTS, ["mms"])


def test_mean_deviation_and_range_are_over_the_runs_own_seed_and_the_further_ones(evaluations: Path) -> None:
    table = seeds.spread(fits_of(evaluations), metrics_of(evaluations), {"mms": ["mms@1", "mms@2"]})
    assert dict(table.schema) == seeds.TABLE.columns
    overall, b, c = table.rows(named=True)
    assert (b["target"], b["seeds"], b["accuracy_least"], b["accuracy_most"]) == ("b", 3, 0.5, 1.0)
    assert b["accuracy_mean"] == pytest.approx(2.5 / 3) and b["accuracy_sd"] == pytest.approx(0.28867513)
    assert (c["accuracy_least"], c["accuracy_most"]) == (0.0, 0.5)
    # Of each seed the mean over shifts: 0.75, 0.5, 0.5. What varies within a shift may cancel over shifts.
    assert (overall["over"], overall["seeds"], overall["source"]) == ("all", 3, None)
    assert overall["accuracy_mean"] == pytest.approx(1.75 / 3) and overall["accuracy_sd"] == pytest.approx(0.14433757)


def test_without_further_seeds_the_table_is_empty(evaluations: Path) -> None:
    assert dict(seeds.spread(fits_of(evaluations), metrics_of(evaluations), {}).schema) == seeds.TABLE.columns
    assert not len(seeds.spread(fits_of(evaluations), metrics_of(evaluations), {}))


def test_a_seed_that_was_not_evaluated_is_an_error(evaluations: Path) -> None:
    with pytest.raises(StoreError, match="mms@3"):
        seeds.spread(fits_of(evaluations), metrics_of(evaluations), {"mms": ["mms@1", "mms@3"]})


def test_a_repeat_that_does_not_read_a_tuned_model_has_no_row_of_it(evaluations: Path) -> None:
    write_evaluation(evaluations, "tuned", "random", "a", {"a": [RIGHT, RIGHT], "b": [RIGHT, RIGHT], "c": [0.5, 0.5]})
    write_evaluation(evaluations, "tuned", "random@1", "a", {"a": [0.5, 0.5], "b": [WRONG, WRONG], "c": [0.5, 0.5]})
    for own in ("b", "c"):
        write_evaluation(evaluations, "tuned", "random", own, {own: [RIGHT, RIGHT]})
        write_evaluation(evaluations, "tuned", "random@1", own, {own: [RIGHT, RIGHT]})
    tuned = measured_cells(Fits(evaluations, ["tuned"], {"random": ["a", "b", "c"]}))
    metrics = pl.concat([metrics_of(evaluations), generalization_metrics(tuned, SHIFTS, ["random"])])
    fits = Fits(evaluations, ["m", "tuned"], {"mms": ["a"]}, ["tuned/mms", "tuned/mms@1", "m/random@1"])
    table = seeds.spread(fits, metrics, {"mms": ["mms@1"], "random": ["random@1"]})
    assert set(table.filter(pl.col("model") == "tuned")["intervention"]) == {"random"}
    assert set(table.filter(pl.col("model") == "m", pl.col("seeds") > 1)["intervention"]) == {"mms"}
