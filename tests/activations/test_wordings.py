"""Wordings of views are tokenized and stored next to their originals, and read in their places."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import save_model, write_distribution
from staged import StagedRuns

from genies.data.views import VIEWS, View
from genies.data.wordings import MOST
from genies.errors import ConfigError, DataError
from genies.files import write_json
from genies.interventions.ccs import ContrastConsistentSearch
from genies.interventions.lat_stim_2 import LatStim2
from genies.models.describe import describe_model
from genies.stages.splits import Splits
from genies.stages.tokenize import tokenize_splits
from genies.store.tokens import read_tokens, tokens_path


@pytest.fixture
def tight(tmp_path: Path) -> tuple[Path, Path, int]:
    """A model whose context holds the longest text under ``yes`` exactly; its manifest, a split, and the context."""
    file = write_distribution(tmp_path / "cities") / "test.json"
    longest = _tokenized(_described(tmp_path, "wide", 512), file)["yes"]
    return _described(tmp_path, "tight", longest + 3), file, longest + 3


def _described(folder: Path, name: str, context: int) -> Path:
    saved = save_model(folder / name, "llama", context=context)
    write_json(folder / f"{name}.json", describe_model(str(saved), None, folder / "sha256.json"))
    return folder / f"{name}.json"


def _manifest(model: Path, file: Path, **options: Any) -> dict[str, Any]:
    output = model.with_name("tokens.json")
    asked = {"worded_test": ["cities"], **options}
    tokenize_splits(model=model, test=[file], test_views=["yes"], cache=model.parent, output=output, **asked)
    return json.loads(output.read_text())


def _tokenized(model: Path, file: Path, **options: Any) -> dict[str, int]:
    """Tokens of the longest text by view."""
    entries = _manifest(model, file, **options)["tokens"]
    folder = model.parent
    return {e["view"]: int(np.diff(read_tokens(tokens_path(folder, e["digest"])).offsets).max()) for e in entries}


def test_wordings_add_tokens_and_change_neither_names_nor_which_examples_are_read(
    tight: tuple[Path, Path, int],
) -> None:
    model, file, _ = tight
    without, with_them = _manifest(model, file), _manifest(model, file, wordings=MOST)
    assert {entry["view"] for entry in without["tokens"]} == {"plain", "yes"}
    further = [entry for entry in with_them["tokens"] if entry not in without["tokens"]]
    assert [entry["view"] for entry in further] == [f"yes_{number}" for number in range(1, MOST + 1)]
    assert all(entry in with_them["tokens"] for entry in without["tokens"])
    apart = {"tokens", "templates"}
    assert {k: v for k, v in with_them.items() if k not in apart} == {
        k: v for k, v in without.items() if k not in apart
    }
    assert with_them["templates"] != without["templates"]


def test_only_what_is_fitted_or_tested_under_wordings_is_tokenized_under_them(tmp_path: Path) -> None:
    folders = [write_distribution(tmp_path / name, offset=31 * n) for n, name in enumerate(("north", "south", "east"))]
    files = {split: [folder / f"{split}.json" for folder in folders] for split in ("train", "test")}
    views, output = {f"{split}_views": ["lat_template"] for split in files}, tmp_path / "tokens.json"
    tokenize_splits(
        model=_described(tmp_path, "wide", 512), **files, **views, wordings=2, worded_train=["north"],
        worded_test=["north", "south"], cache=tmp_path, output=output,
    )  # fmt: skip
    entries = json.loads(output.read_text())["tokens"]
    places = [[(e["distribution"], e["split"]) for e in entries if e["view"] == f"lat_template{n}"] for n in ("", "_2")]
    assert {*places[0]} == {(folder.name, split) for folder in folders for split in files}
    assert {*places[1]} == {("north", "train"), ("north", "test"), ("south", "test")}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"worded_train": ["cities"]}, "--worded-train=cities: is not read; give --train cities/train.json, too"),
        ({"worded_test": ["cities", "citis"]}, "--worded-test=citis: is not read; give --test citis/test.json, too"),
        ({"wordings": MOST + 1}, f"--wordings={MOST + 1}: give 0 to {MOST}"),
        ({"wordings": -1}, f"--wordings=-1: give 0 to {MOST}"),
        ({"worded_test": []}, "--wordings=1: of no split; name some with --worded-train or --worded-test"),
    ],
)
def test_wordings_of_what_is_not_read_and_too_many_are_refused(
    tight: tuple[Path, Path, int], asked: dict[str, Any], message: str
) -> None:
    model, file, _ = tight
    with pytest.raises(ConfigError) as refused:
        _manifest(model, file, **{"wordings": 1, **asked})
    assert str(refused.value) == message


def test_a_wording_that_the_context_does_not_hold_is_named(
    tight: tuple[Path, Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No packaged wording is that long under a usual tokenizer; one that is would go beyond the model's positions."""
    model, file, context = tight
    monkeypatch.setitem(VIEWS, "yes_3", View("yes_3", after="\n" + "red " * 60 + "Yes"))
    with pytest.raises(DataError) as refused:
        _manifest(model, file, wordings=MOST)
    assert "tokens under the wording yes_3, more than the context of tight" in str(refused.value)
    assert str(file) in str(refused.value) and f"({context})" in str(refused.value)
    assert str(refused.value).endswith("set wordings to 0, or to less than 3")
    assert len(_manifest(model, file, wordings=2)["tokens"]) == 4


def test_a_probe_finds_the_features_of_a_wording_under_the_names_of_its_views(tmp_path: Path) -> None:
    runs = StagedRuns(tmp_path, train=6, test=6)
    read = ["yes", "no", "lat_template"]
    manifest = runs.extract("run", [f"{view}{suffix}" for view in read for suffix in ("", "_2")])
    splits = Splits(runs.files("train"), runs.files("test"), [manifest], runs.cache)

    class Reads2(LatStim2):
        fit_views = predict_views = ("lat_template_2",)

    own, worded = (splits.stored(LatStim2(), "north", "train", True, number) for number in (0, 2))
    there = splits.stored(Reads2(), "north", "train", True).residual("lat_template_2", 1)
    assert np.array_equal(worded.residual("lat_template", 1), there)
    assert not np.allclose(own.residual("lat_template", 1), there)
    both = [splits.stored(ContrastConsistentSearch(), "north", "test", False, number) for number in (0, 2)]
    for view in ("yes", "no"):
        first, second = (pairs.residual(view, pairs.final_layer) for pairs in both)
        assert first.shape == second.shape and not np.allclose(first, second)
