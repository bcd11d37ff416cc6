"""The example of docs/python.md runs as written, and `import genies` alone loads nothing heavy."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from helpers import save_model, write_distribution

import genies
from genies.evaluation.tables.generalization_metrics import TABLE as METRICS

PAGE = Path(__file__).parents[2] / "docs/python.md"
NAME = "SmolLM2-135M-Instruct.Q4_1"
MODEL = f"resources/demo/{NAME}"
"""A small random model in place of the page's GGUF file; both have the same name in results."""


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """Where the page's blocks have run, one after the other, and the names that they left."""
    folder = tmp_path_factory.mktemp("page")
    save_model(folder / MODEL, "llama")
    for number, name in enumerate(("easy_facts", "misconceptions", "hard_facts")):
        write_distribution(folder / "resources/demo/distributions" / name, train=24, test=8, offset=31 * number)
    names: dict = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        page = PAGE.read_text(encoding="utf-8").replace(f"{MODEL}.gguf", MODEL)
        for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
            exec(compile(block, PAGE.name, "exec"), names)
    return folder, names


def test_the_example_runs_as_written_and_its_tables_are_those_of_metrics(example: tuple[Path, dict]) -> None:
    folder, names = example
    for run, table in (("python", "metrics"), ("few_heads", "few_heads"), ("trained", "trained")):
        assert dict(names[table].schema) == METRICS.columns
        assert (folder / "results" / run / "generalization_metrics.csv").is_file()
    assert names["lora"].score(names["prompts"], names["responses"]).height == 2


def test_a_probe_on_own_arrays_of_the_same_features_is_that_of_the_run(example: tuple[Path, dict]) -> None:
    folder, names = example
    theirs = pl.read_parquet(folder / f"results/python/evaluations/{NAME}/logistic/easy_facts.parquet")
    theirs = theirs.filter(pl.col("target") == "misconceptions")["probability"].to_numpy()
    assert names["probability"] == pytest.approx(theirs, abs=1e-12)
    assert len(set(theirs)) > 4


def test_every_public_name_is_there_and_shown() -> None:
    assert set(genies.__all__) <= set(dir(genies))
    for name in genies.__all__:
        assert getattr(genies, name).__name__ == name
        assert f"{name}" in PAGE.read_text(encoding="utf-8")
    with pytest.raises(AttributeError, match="no attribute 'evaluate_shift'"):
        genies.evaluate_shift  # noqa: B018


def test_importing_genies_alone_loads_no_heavy_library() -> None:
    heavy = ("torch", "zarr", "polars", "numpy", "transformers", "sklearn", "pydantic")
    code = f"import sys, genies; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
