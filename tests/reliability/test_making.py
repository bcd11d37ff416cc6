"""What a run states of the making of its stores and fits is what made them, whoever reports it."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
from verbs import Verbs, contents

import genies
from genies.cli import main
from genies.files import read_json, read_sealed, write_sealed
from genies.making import MADE_WITH

RUN = Path("results/run")
LATER = "later"


def again(run: Verbs) -> dict[str, bytes]:
    """Make the manifests and the provenance again, from what the cache has. Returns the manifests' bytes."""
    for kind in ("activations", "interventions", "evaluations"):
        shutil.rmtree(RUN / kind, ignore_errors=True)
    (RUN / "provenance.json").unlink()
    run.run_missing()
    return contents(RUN / "activations") | contents(RUN / "interventions")


def stated() -> list[dict]:
    return read_json(RUN / "provenance.json")[MADE_WITH]


@pytest.mark.parametrize(
    "command",
    [
        "fit mms --train {0} {1} --activations m.json --output o.json",
        "evaluate --fits m.json --test {0} {1} --output o",
        "tune zero_shot north:north --model m.json --tokens m.json --train {0} --test {0} {1} --output o.json",
        "tokenize --model m.json --train {0} {1} --output o.json",
    ],
)
def test_two_files_of_one_distribution_are_refused_before_anything_is_read(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    split = "test" if "--test" in command else "train"
    files = [f"{folder}/north/{split}.json" for folder in ("a", "b")]
    assert main(command.format(*files).split()) == 2
    assert f"{files[0]} and {files[1]}" in capsys.readouterr().err


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, another version of genies and of every library computes."""
    monkeypatch.setattr("genies.making.__version__", LATER)
    monkeypatch.setattr("genies.making.installed_version", lambda _name: LATER)


def test_stores_fits_and_trainings_state_versions_in_full(run: Verbs) -> None:
    by_kind = {entry["of"]: entry for entry in stated()}
    assert list(by_kind) == ["activations", "mms", "cra", "lora"]
    for entry in by_kind.values():
        assert (entry["model"], entry["which"], entry["genies"]) == ("tiny", "all", genies.__version__)
        assert entry["libraries"] and all(entry["libraries"][name] == version(name) for name in entry["libraries"])
    store, probe, training = (by_kind[kind] for kind in ("activations", "mms", "lora"))
    assert store["libraries"].keys() >= {"torch", "transformers"} and training["libraries"].keys() >= {"peft"}
    assert (store["arithmetic"], store["device"]) == (training["arithmetic"], training["device"]) == ("float32", "cpu")
    assert probe["device"] is None
    digests = {entry["code"] for entry in by_kind.values()}
    assert len(digests) == 4


def test_what_the_cache_has_is_stated_as_it_was_made(run: Verbs, later: None) -> None:
    before, manifests = stated(), contents(RUN / "activations") | contents(RUN / "interventions")
    assert again(run) == manifests
    assert stated() == before


def test_of_a_store_that_another_version_went_on_with_both_are_stated(run: Verbs, later: None) -> None:
    (before,) = (entry for entry in stated() if entry["of"] == "activations")
    yes = next(s for s in read_json(Path(run.activations))["stores"] if (s["split"], s["view"]) == ("test", "yes"))
    Path("cache/activations", yes["digest"], "data.zarr/residual/c/1/0/0").unlink()
    assert main(["cache", "verify", "--repair"]) == 2
    again(run)
    first, second = (entry for entry in stated() if entry["of"] == "activations")
    assert first == before
    assert second["which"] == ["north/test yes"]
    assert second["genies"] == LATER == second["libraries"]["torch"]


def test_of_what_recorded_nothing_the_name_tells(run: Verbs, later: None) -> None:
    for file in (*Path("cache/activations").glob("*/store.json"), *Path("cache/interventions").glob("*/*.json")):
        if MADE_WITH in (record := read_json(file)):
            del record[MADE_WITH], record["seal"]
            write_sealed(file, record)
            assert MADE_WITH not in read_sealed(file)
    again(run)
    assert [entry["of"] for entry in stated()] == ["activations", "mms", "cra", "lora"]
    assert {entry["genies"] for entry in stated()} == {None}
    for entry in stated():
        assert all(version(name).startswith(told) for name, told in entry["libraries"].items())
