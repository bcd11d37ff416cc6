"""A miniature run made by one call from Python, in the working directory of every test that asks for it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import polars as pl
import pytest
from helpers import one_thread_of_torch, save_model, write_distribution
from project import made_once

import genies

PROBES = ["random", "zero_shot", "mms", "cra", "lat_stim_1"]
TEXT_INTERVENTIONS = ["few_shot", "lora"]
OWN = str(Path(__file__).parents[1] / "interventions" / "own_probe.py")
PARAMETERS = {"lora": {"steps": 2, "pairs_per_step": 4, "rank": 2}, "few_shot": {"shots": 2}}
SHIFTS = [
    {"source": "north", "target": "south", "label": "extreme", "category": "place"},
    {"source": "north", "target": "west", "target_reference": "south"},
]
SETTINGS = {
    "distributions": [f"data/{name}" for name in ("north", "south", "west")],
    "capability_interventions": ["mms", "lora"],
    "intervention_parameters": PARAMETERS,
    "seed": 3,
}

one_thread = pytest.fixture(autouse=True)(one_thread_of_torch)


def call(folder: Path) -> None:
    """Make the run in a folder ``run``, and write the table that the call returned beside it."""
    save_model(folder / "run/tiny", "llama")
    for number, name in enumerate(("north", "south", "west")):
        write_distribution(folder / "run/data" / name, train=16, test=8, offset=31 * number)
    before = Path.cwd()
    os.chdir(folder / "run")
    try:
        table = genies.evaluate_shifts("tiny", [*PROBES, OWN, *TEXT_INTERVENTIONS], SHIFTS, **SETTINGS)
    finally:
        os.chdir(before)
    table.write_ipc(folder / "table.arrow")


@pytest.fixture(scope="session")
def made() -> tuple[Path, pl.DataFrame]:
    """Folder of a call, for all workers of pytest-xdist, and the table that it returned."""
    folder = made_once("call", call)
    return folder / "run", pl.read_ipc(folder / "table.arrow")


@pytest.fixture
def table(made: tuple[Path, pl.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pl.DataFrame:
    """The table of the call, in a copy of its folder as the working directory."""
    shutil.copytree(made[0], tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    return made[1]


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever loads a model fails."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("genies.engine.decoder.Decoder.load", refused)
    monkeypatch.setattr("genies.engine.classifier.new_reader", refused)
