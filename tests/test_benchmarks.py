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
    "growth": ["grown", "--sizes", "60", "--plot", "growth.svg"],
    "overlap": [DATA, SHIFTS],
    "page": ["--shifts", SHIFTS, "--probes", "mms", "--others", "zero_shot", "--widths", "400"],
    "precision": [MODEL, DATA, SHIFTS],
    "tokens": [DATA, TOKENIZER],
    "training": [MODEL, DATA, "--names", "north", "--pairs", "4", "--steps", "1", "--rounds", "1", "--device", "cpu"],
    "warm": [
        *("--shifts", SHIFTS, "--train", "20", "--test", "10", "--blocks", "2", "--hidden", "16", "--heads", "2"),
        *("--methods", "ccs"),
    ],
    "workflow": ["--models", "model-a", "--interventions", "mms", "--shifts", "config/shifts/genies15.yaml",
                 "--repeats", "1"],
}  # fmt: skip
ROWS = {
    "extraction": ["as published", "one by one", "bucketed", "packed"],
    "growth": ["model", "tokenize", "extract", "fit", "evaluate", "overlap", "metrics", "all"],
    "overlap": ["north", "the 2 distributions"],
    "precision": ["zero_shot", "mms"],
    "tokens": ["every response", "those that a run reads"],
    "training": ["north"],
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


HEAVY = ("polars", "pydantic", "snakemake", "sklearn", "scipy", "h5py", "altair", "cyclopts")
"""What a machine with a GPU need not have for ``make gpu``."""


GUARD = f"""
import builtins, runpy, sys

imported = builtins.__import__

def guarded(name, globals=None, *rest, **named):
    who = (globals or {{}}).get("__name__", "")
    if name.split(".")[0] in {HEAVY} and who.split(".")[0] in ("genies", "__main__"):
        raise ImportError(f"{{who}} imports {{name}}")
    return imported(name, globals, *rest, **named)

builtins.__import__ = guarded
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_script_for_gpus_rehearses_without_one_and_needs_few_packages(tmp_path: Path) -> None:
    (tmp_path / "guard.py").write_text(GUARD)
    words = ["guard.py", REPOSITORY / "benchmarks/gpu.py", "--shape", "tiny", "--device", "cpu", "--output", "gpu.md"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    result = run_to_end([sys.executable, *words], tmp_path, environment)
    assert result.returncode == 0, result.stdout + result.stderr
    table = (tmp_path / "gpu.md").read_text()
    found = [line.strip("| ").split(" | ")[0] for line in table.splitlines() if line.startswith("| ")]
    for what in ("packed against separate", "(c) against (a)", "out of memory", "LoRA, 4 pairs a step"):
        assert f"tiny, float32: {what}" in found
    assert any(what.startswith("disk") for what in found)
    assert "wrong" not in table


def test_the_script_for_gpus_says_what_is_missing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": ""}
    result = run_to_end([sys.executable, REPOSITORY / "benchmarks/gpu.py"], tmp_path, environment)
    assert result.returncode == 2
    assert "torch finds no GPU here" in result.stderr


LONG = ("extraction", "growth", "overlap", "precision", "training")


@pytest.mark.parametrize("name", ["tokens", "warm", *(pytest.param(name, marks=pytest.mark.torture) for name in LONG)])
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
    assert {path.stem for path in (REPOSITORY / "benchmarks").glob("*.py")} == {*SIZES, "gpu"}
