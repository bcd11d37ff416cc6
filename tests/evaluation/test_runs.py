"""Two runs compared: what moved beyond noise is told, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from helpers import write_evaluation

from genies.cli import main
from genies.errors import StoreError
from genies.evaluation.evaluations import PAIR_COLUMNS, Fits
from genies.evaluation.runs import compare_runs, describe
from genies.evaluation.table import write_csv
from genies.evaluation.tables.cells import TABLE as CELLS
from genies.evaluation.tables.cells import measured_cells

TARGETS = ("code", "hard", "math")


def write_run(folder: Path, levels: dict[str, float], seed: int, evaluations: bool = True) -> Path:
    """A run of one model and intervention on three targets, with these accuracies."""
    generator, frames = np.random.default_rng(seed), []
    for target in TARGETS:
        right = generator.random(300) < levels[target]
        frames.append(
            pl.DataFrame(
                {
                    "target": target,
                    "example": np.arange(300) // 3,
                    "pair": np.arange(300) % 3,
                    "cluster": np.arange(300) // 3,
                    "probability": np.where(right, 0.9, 0.1),
                    **dict.fromkeys(list(PAIR_COLUMNS)[4:5] + list(PAIR_COLUMNS)[6:]),
                },
                schema=PAIR_COLUMNS,
            )
        )
    place = folder / "evaluations/m/mms"
    place.mkdir(parents=True)
    pl.concat(frames).write_parquet(place / "easy.parquet")
    write_csv(measured_cells(Fits(folder / "evaluations", ["m"], {"mms": ["easy"]})), folder / CELLS.file)
    if not evaluations:
        (place / "easy.parquet").unlink()
    return folder


@pytest.mark.parametrize("evaluations", [True, False])
def test_the_cell_that_moved_is_told_alone(tmp_path: Path, evaluations: bool, capsys: pytest.CaptureFixture) -> None:
    a = write_run(tmp_path / "a", {"code": 0.7, "hard": 0.5, "math": 0.6}, 1, evaluations)
    b = write_run(tmp_path / "b", {"code": 0.7, "hard": 0.8, "math": 0.6}, 2, evaluations)
    compared = compare_runs(a, b)
    assert compared.row(0, named=True)["target"] == "hard"
    assert compared["test"].unique().to_list() == ["paired" if evaluations else "apart"]
    assert (compared["p_corrected"] < 0.05).sum() == 1
    assert main(["compare", str(a), str(b), "--output", str(tmp_path / "c.csv")]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(
        "3 cells in both runs, 0 of equal accuracy, 1 moved beyond noise\n  m, mms, easy → hard: "
    )
    assert len(pl.read_csv(tmp_path / "c.csv")) == 3


def test_other_examples_in_clusters_of_the_same_numbers_are_not_paired(tmp_path: Path) -> None:
    """As two limits give them: clusters are numbered from 0 in either run."""
    a = write_run(tmp_path / "a", dict.fromkeys(TARGETS, 0.6), 1)
    b = write_run(tmp_path / "b", dict.fromkeys(TARGETS, 0.6), 1)
    evaluation = b / "evaluations/m/mms/easy.parquet"
    other = pl.when(pl.col("target") == "hard").then(100).otherwise(0)
    pl.read_parquet(evaluation).with_columns(pl.col("example") + other).write_parquet(evaluation)
    tests = {row["target"]: row["test"] for row in compare_runs(a, b).iter_rows(named=True)}
    assert tests == {"code": "paired", "hard": "apart", "math": "paired"}


def test_a_run_against_itself_moved_nowhere(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", dict.fromkeys(TARGETS, 0.6), 1)
    assert list(describe(compare_runs(a, a))) == ["3 cells in both runs, 3 of equal accuracy, 0 moved beyond noise"]


def test_runs_without_a_common_cell_are_refused(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", dict.fromkeys(TARGETS, 0.6), 1)
    b = write_run(tmp_path / "b", dict.fromkeys(TARGETS, 0.6), 1)
    (b / "cells.csv").write_text((b / "cells.csv").read_text().replace("mms", "lora"))
    with pytest.raises(StoreError, match="have no cell"):
        compare_runs(a, b)
    assert main(["compare", str(a), str(tmp_path / "none")]) == 2


def test_ties_throughout_on_other_pairs_are_no_difference(tmp_path: Path) -> None:
    """``random`` in two framings: its pairs are not the same."""
    for name, pairs in (("a", 4), ("b", 8)):
        write_evaluation(tmp_path / name / "evaluations", "m", "random", "easy", {"hard": [0.5] * pairs})
        cells = measured_cells(Fits(tmp_path / name / "evaluations", ["m"], {"random": ["easy"]}))
        write_csv(cells, tmp_path / name / CELLS.file)
    compared = compare_runs(tmp_path / "a", tmp_path / "b")
    assert compared.select("difference", "test", "p", "p_corrected").rows() == [(0, "apart", 1, 1)]


def test_intervals_without_a_width_have_no_test(tmp_path: Path) -> None:
    """As earlier versions wrote them for ties throughout."""
    for name, pairs in (("a", 4), ("b", 8)):
        write_evaluation(tmp_path / name / "evaluations", "m", "random", "easy", {"hard": [0.5] * pairs})
        cells = measured_cells(Fits(tmp_path / name / "evaluations", ["m"], {"random": ["easy"]}))
        write_csv(cells.with_columns(low=0.5, high=0.5), tmp_path / name / CELLS.file)
    compared = compare_runs(tmp_path / "a", tmp_path / "b")
    assert compared.select("difference", "test", "p", "p_corrected").rows() == [(0, None, None, None)]
