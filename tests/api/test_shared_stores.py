"""What a run's manifest opens is that run's, whatever other runs have left in the cache."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from staged import StagedRuns

import genies
from genies.api.stores import OpenStore
from genies.errors import StoreError
from genies.stages.evaluate import evaluate_fits
from genies.stages.fit import fit_sources
from genies.store.cache import entries, remove

BOTH = ["plain:inner+final"]


@pytest.fixture
def runs(tmp_path: Path) -> StagedRuns:
    return StagedRuns(tmp_path)


def test_a_run_with_a_lower_limit_opens_as_in_a_fresh_cache(runs: StagedRuns, tmp_path: Path) -> None:
    contrast = ["no:final", "yes:final"]
    runs.extract("one", [*contrast, "plain:inner"], 12)
    grown = runs.extract("two", [*contrast, *BOTH], 8)
    fresh = runs.extract("three", [*contrast, *BOTH], 8, cache=tmp_path / "fresh")
    for split in ("train", "test"):
        found = genies.open_store(grown, runs.root / "data/north", split, cache=runs.cache)
        wanted = genies.open_store(fresh, runs.root / "data/north", split, cache=tmp_path / "fresh")
        assert found.texts.equals(wanted.texts) and found.texts["example"].n_unique() == 8
        assert found.layers() == wanted.layers()
        for view in ("no", "plain", "yes"):
            np.testing.assert_allclose(found.residual(view, 3), wanted.residual(view, 3), rtol=1e-4, atol=1e-5)


def test_a_run_opens_with_the_features_that_it_reads(runs: StagedRuns) -> None:
    runs.extract("one", ["plain"])
    opened = genies.open_store(runs.extract("two", ["plain:final"]), "north", "test", cache=runs.cache)
    assert opened.layers() == [3] and opened.residual("plain").shape == (len(opened), 1, 32)
    for read, what in (
        (lambda: opened.residual("plain", 1), "holds no residual of layer 1 .*declare it"),
        (lambda: opened.heads("plain", 1), "holds no heads"),
        (opened.log_probability, "holds no log_probability .*declare it"),
    ):
        with pytest.raises(StoreError, match=what):
            read()


def test_a_run_opens_after_gc_took_the_tokens_of_an_older_limit(runs: StagedRuns) -> None:
    runs.extract("one", BOTH, 8)
    manifest = runs.extract("one", BOTH, 12)

    def opened() -> OpenStore:
        return genies.open_store(manifest, runs.root / "data/north", "test", cache=runs.cache)

    before = opened().texts
    unused = [entry for entry in entries(runs.cache, runs.root / "results") if not entry.users]
    assert {entry.kind for entry in unused} == {"tokens"}
    for entry in unused:
        remove(entry)
    assert opened().texts.equals(before)


def test_texts_that_another_distribution_has_too_bear_the_name_of_the_run_s(runs: StagedRuns) -> None:
    runs.extract("one", BOTH)
    shutil.copytree(runs.root / "data/north", runs.root / "data/northern")
    manifest = runs.extract("two", BOTH, names=["northern"])
    opened = genies.open_store(manifest, runs.root / "data/northern", "test", cache=runs.cache)
    assert opened.texts.select("distribution", "split").unique().rows() == [("northern", "test")]
    assert repr(opened).startswith("<northern test under plain by tiny")


def test_an_intervention_that_declares_texts_under_a_view_is_given_them(runs: StagedRuns, tmp_path: Path) -> None:
    own, probe = tmp_path / "own.py", Path(__file__).parents[1] / "interventions/own_probe.py"
    text = probe.read_text().replace('("residual",)', '{"plain": ("residual", "texts")}')
    own.write_text(re.sub(r"(    def (?:fit|decision_function)\(self, pairs\):\n)", r"\1        pairs.texts()\n", text))
    activations, data = [runs.extract("one", BOTH)], runs.root / "data/north"
    fits, scores = tmp_path / "fits.json", tmp_path / "scores"
    fit_sources(str(own), train=[data / "train.json"], activations=activations, cache=runs.cache, output=fits)
    evaluate_fits(fits=fits, test=[data / "test.json"], activations=activations, cache=runs.cache, output=scores)
    assert (scores / "north.parquet").is_file()
