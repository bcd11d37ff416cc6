"""The stage ``probe``: it writes what ``fit`` and ``evaluate`` write, and computes no fit that the cache has."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from verbs import COMMON, Verbs

from genies.cli import main
from genies.interventions.mms import MassMeanShift

EVALUATION = Path("results/run/evaluations/tiny/mms/north.parquet")


def probe(run: Verbs) -> int:
    data = Path("data/north")
    return main(
        ["probe", "mms", "north:north", "--parameters", json.dumps(COMMON), "--train", str(data / "train.json"),
         "--test", str(data / "test.json"), "--activations", run.activations, "--fits", run.fits["mms"],
         "--output", str(EVALUATION.parent)]
    )  # fmt: skip


@pytest.fixture
def fits(run: Verbs, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of training pairs, one for each fit that is computed."""
    counted: list[int] = []
    fit: Callable = MassMeanShift.fit
    monkeypatch.setattr(MassMeanShift, "fit", lambda self, pairs: (counted.append(len(pairs)), fit(self, pairs))[1])
    return counted


def test_it_writes_what_the_two_verbs_write(run: Verbs, fits: list[int]) -> None:
    made = [Path(run.fits["mms"]), EVALUATION]
    before = [file.read_bytes() for file in made]
    for file in made:
        file.unlink()
    shutil.rmtree("cache/interventions")
    assert probe(run) == 0
    assert [file.read_bytes() for file in made] == before
    assert len(fits) == 1


def test_a_fit_that_is_there_is_found_without_any_training_feature(run: Verbs, fits: list[int]) -> None:
    """A changed test split costs its tests: nothing is fitted, and the stores of training splits may be gone."""
    before = pl.read_parquet(EVALUATION)
    stores = [store for store in json.loads(Path(run.activations).read_text())["stores"] if store["split"] == "train"]
    for store in stores:
        shutil.rmtree(Path("cache/activations", store["digest"]))
    test = Path("data/north/test.json")
    test.write_text(json.dumps(json.loads(test.read_text()), indent=1))
    assert len(stores) > 1 and probe(run) == 0
    assert fits == []
    assert pl.read_parquet(EVALUATION).equals(before)
    # Where the fit is not there either, it needs them.
    shutil.rmtree("cache/interventions")
    assert probe(run) == 2
