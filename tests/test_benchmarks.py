"""Every benchmark runs to its table, at a miniature size."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from helpers import save_model, write_distribution
from project import REPOSITORY, run_to_end

MODEL, DATA, SHIFTS, TOKENIZER = "tiny", "data", "shifts.yaml", "tokenizer"
SIZES = {
    "extraction": [DATA, "--names", "north", "--kinds", "tiny", "--limit", "3"],
    "page": ["--shifts", SHIFTS, "--probes", "mms", "--others", "zero_shot", "--widths", "400"],
    "precision": [MODEL, DATA, SHIFTS],
    "tokens": [DATA, TOKENIZER],
    "warm": [
        *("--shifts", SHIFTS, "--train", "20", "--test", "10", "--blocks", "2", "--hidden", "16", "--heads", "2"),
        *("--methods", "ccs"),
    ],
    "workflow": ["--models", "model-a", "--interventions", "mms", "--shifts", "config/shifts/genies15.yaml",
                 "--repeats", "1"],
}  # fmt: skip
ROWS = {
    "extraction": ["as published", "one by one", "bucketed", "packed"],
    "precision": ["zero_shot", "mms"],
    "tokens": ["every response", "those that a run reads"],
    "warm": ["ccs"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, two distributions and a shift between them."""
    folder = tmp_path_factory.mktemp("benchmarks")
    save_model(folder / MODEL, "llama")
    for number, name in enumerate(("north", "south")):
        write_distribution(folder / DATA / name, offset=31 * number)
    (folder / SHIFTS).write_text(json.dumps([{"source": "north", "target": "south"}]))
    return folder


def rows(name: str, folder: Path) -> list[list[str]]:
    """Cells of the table that a benchmark prints, without its head."""
    result = run_to_end(
        [sys.executable, REPOSITORY / f"benchmarks/{name}.py", *SIZES[name]],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    lines = [line.strip("| ").split(" | ") for line in result.stdout.splitlines() if line.startswith("|")]
    return [cells for cells in lines[1:] if not re.fullmatch("[-:|]+", cells[0])]


LONG = ("extraction", "precision", "warm")


@pytest.mark.parametrize("name", ["tokens", *(pytest.param(name, marks=pytest.mark.torture) for name in LONG)])
def test_a_benchmark_fills_its_table(name: str, folder: Path) -> None:
    assert [cells[0] for cells in rows(name, folder)] == ROWS[name]


@pytest.mark.torture
def test_the_workflows_benchmark_counts_jobs_and_outputs(folder: Path) -> None:
    ((jobs, outputs, *_),) = rows("workflow", folder)
    assert int(outputs) > int(jobs) > 0


@pytest.mark.torture
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs a browser: install chromium")
def test_the_pages_benchmark_times_what_is_pressed(folder: Path) -> None:
    seconds = {what: float(seconds) for what, _, seconds in rows("page", folder)}
    assert {"first screen", "every figure drawn", "samples: search", "figure-heatmap-0: another"} <= seconds.keys()
    assert all(value > 0 for value in seconds.values())


def test_no_benchmark_is_forgotten() -> None:
    assert {path.stem for path in (REPOSITORY / "benchmarks").glob("*.py")} == set(SIZES)
