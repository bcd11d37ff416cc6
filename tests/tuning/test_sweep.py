"""A sweep tries every combination on one part of a source and tests it on another."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from helpers import write_distribution

from genies.errors import DataError
from genies.files import write_json
from genies.interventions.training.grid import grid
from genies.models.describe import describe_model
from genies.stages.shown import ShownTexts
from genies.stages.sweep import COLUMNS, divided, join_sweeps, sweep_source
from genies.stages.tokenize import tokenize_splits


def test_a_grid_has_every_combination_and_log_grids_keep_their_ends() -> None:
    combinations = list(grid({"steps": [1, 2], "learning_rate": {"low": 1e-4, "high": 1e-2, "count": 3}}))
    assert len(combinations) == 6
    assert sorted({c["learning_rate"] for c in combinations}) == pytest.approx([1e-4, 1e-3, 1e-2])


@pytest.fixture(scope="module")
def prepared(model_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model's manifest, a source and its tokens."""
    folder = tmp_path_factory.mktemp("sweep")
    write_json(folder / "model.json", describe_model(str(model_folders["llama"]), None, folder / "sha256.json"))
    train = write_distribution(folder / "north", train=20) / "train.json"
    tokenize_splits(model=folder / "model.json", train=[train], cache=folder, output=folder / "tokens.json")
    return folder


def test_held_out_examples_are_others_than_those_trained_on(prepared: Path) -> None:
    shown = ShownTexts(prepared / "tokens.json", prepared / "model.json")
    fit, held_out = divided(prepared / "north/train.json", shown, (12, 8))
    assert (len(fit.pairs), len(held_out.pairs)) == (12, 8)
    assert set(fit.cluster).isdisjoint(held_out.cluster)
    assert fit.best_first.all()
    assert 0 < held_out.best_first.sum() < 8


@pytest.fixture
def repeated(prepared: Path, tmp_path: Path) -> tuple[Path, ShownTexts]:
    """A source of 24 examples, of which every two, and once four, have the same prompt, and what reads it."""
    examples = json.loads((prepared / "north/train.json").read_text())[:20]
    numbers = [0, 0, 0, 0, *(n for n in range(1, 11) for _ in range(2))]
    repeated = [
        {"prompt": examples[n]["prompt"], "responses": {f"red {k}": 1, "blue": 0}} for k, n in enumerate(numbers)
    ]
    train = tmp_path / "north/train.json"
    train.parent.mkdir()
    train.write_text(json.dumps([*repeated, *({**e, "prompt": f"see {e['prompt']}"} for e in examples[:76])]))
    tokenize_splits(model=prepared / "model.json", train=[train], cache=tmp_path, output=tmp_path / "tokens.json")
    return train, ShownTexts(tmp_path / "tokens.json", prepared / "model.json")


@pytest.mark.parametrize("counts", [(12, 8), (25, 15), (30, 14), (1, 43), (43, 1)])
def test_examples_with_one_prompt_stay_on_one_side(repeated: tuple[Path, ShownTexts], counts: tuple[int, int]) -> None:
    train, shown = repeated
    fit, held_out = divided(train, shown, counts)
    assert (len(fit.pairs), len(held_out.pairs)) == counts
    assert set(fit.cluster).isdisjoint(held_out.cluster)


def test_counts_that_clusters_cannot_fill_are_an_error(prepared: Path, tmp_path: Path) -> None:
    examples = json.loads((prepared / "north/train.json").read_text())
    train = tmp_path / "north/train.json"
    train.parent.mkdir()
    train.write_text(json.dumps([{**examples[0], "responses": {f"red {k}": 1, "blue": 0}} for k in range(4)]))
    shown = ShownTexts(prepared / "tokens.json", prepared / "model.json")
    with pytest.raises(DataError, match=r"examples with one prompt stay together, and 3 \+ 0 are left for 3 \+ 1"):
        divided(train, shown, (3, 1))


def test_more_examples_than_there_are_is_an_error(prepared: Path) -> None:
    shown = ShownTexts(prepared / "tokens.json", prepared / "model.json")
    with pytest.raises(DataError, match=r"20 examples for 15 \+ 8"):
        divided(prepared / "north/train.json", shown, (15, 8))


def test_the_table_has_a_row_per_combination(prepared: Path, tmp_path: Path) -> None:
    values = {"learning_rate": [1e-3, 1e-2]}
    for source in ("a", "b"):
        sweep_source(
            "lora", parameters={"steps": 2, "rank": 4}, values=values, counts=(10, 6), model=prepared / "model.json",
            tokens=prepared / "tokens.json", train=prepared / "north/train.json", device="cpu",
            work=tmp_path / "work", output=tmp_path / f"{source}.csv",
        )  # fmt: skip
    join_sweeps(tmp_path / "a.csv", tmp_path / "b.csv", output=tmp_path / "sweep.csv")
    table = pl.read_csv(tmp_path / "sweep.csv")
    assert table.columns == list(COLUMNS)
    assert sorted(json.loads(p)["learning_rate"] for p in table["parameters"]) == [1e-3, 1e-3, 1e-2, 1e-2]
    assert (table["low"] <= table["accuracy"]).all() and (table["accuracy"] <= table["high"]).all()
