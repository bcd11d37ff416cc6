"""After an upgrade, stores whose values are the same get today's names; others stay what they are."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from verbs import CONFIG, Verbs, contents

from genies.cli import main
from genies.digests import value_digest
from genies.engine.decoder import Decoder, Features
from genies.files import read_json, write_sealed
from genies.making import MADE_WITH
from genies.store.activations import ActivationStore
from genies.store.blocks import write_journal
from genies.store.extraction import Extractor
from genies.store.writer import ADOPTED, BESIDE

CACHE, STORES, RUN = Path("cache"), Path("cache/activations"), Path("results/run")
UPGRADE = {"code": "c" * 32, "libraries": {"torch": "99.1", "transformers": "98.2"}}


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A number for each forward pass of an extraction."""
    made: list[int] = []
    read = Extractor.read
    monkeypatch.setattr(Extractor, "read", lambda *args: (made.append(1), read(*args))[1])
    return made


@pytest.fixture
def upgraded(run: Verbs, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The code and the libraries of extraction are others from now on. Gives the old names by split and view."""
    old = names(run)
    monkeypatch.setattr("genies.store.settled.computed_by", lambda *_, **__: UPGRADE)
    monkeypatch.setattr("genies.making.installed_version", lambda name: f"{UPGRADE['libraries'].get(name, '9.9')}.7")
    Path("config.yaml").write_text(json.dumps({**CONFIG, "extraction": {"batch_tokens": 100}}))
    return old


def names(run: Verbs) -> dict[str, str]:
    manifest = read_json(Path(run.activations), "stores")
    return {f"{store['split']} {store['view']}": store["digest"] for store in manifest["stores"]}


def adopt(*options: str) -> int:
    return main(["cache", "adopt", "--configfile", "config.yaml", *options])


def extract_again(run: Verbs) -> dict[str, str]:
    assert run.run("extract") == 0
    return names(run)


def changed(monkeypatch: pytest.MonkeyPatch, factor: float, texts: slice = slice(None)) -> None:
    """Let every pass give the residual stream of one layer, at some of its texts, times a factor."""
    read = Decoder.read

    def other(decoder: Decoder, batch: Any) -> Features:
        features = read(decoder, batch)
        residual = features.residual.clone()
        residual[texts, 1] *= factor
        return replace(features, residual=residual)

    monkeypatch.setattr(Decoder, "read", other)


def test_equal_stores_are_linked_under_todays_names_and_no_pass_is_made_for_them(
    run: Verbs, upgraded: dict[str, str], passes: list[int], capsys: pytest.CaptureFixture
) -> None:
    before, free = contents(STORES), {name: ActivationStore(STORES / name) for name in upgraded.values()}
    assert adopt("--texts", "5", "--seed", "3") == 0
    said = capsys.readouterr().out
    assert said.count("bit for bit equal") == len(upgraded) == 6 and "6 adopted, 0 without" in said
    assert 0 < len(passes) < 20  # 40 make all of it
    passes.clear()
    new = extract_again(run)
    assert not passes and new.keys() == upgraded.keys() and not set(new.values()) & set(upgraded.values())
    assert {name: content for name, content in contents(STORES).items() if name in before} == before
    for place, name in new.items():
        store, old = ActivationStore(STORES / name), free[upgraded[place]]
        shard = Path("data.zarr/residual/c/0/0/0")
        assert (store.folder / shard).samefile(old.folder / shard)
        assert not (store.folder / "data.zarr/zarr.json").samefile(old.folder / "data.zarr/zarr.json")
        np.testing.assert_array_equal(store.residual(2), old.residual(2))
        (record,) = store.description[ADOPTED]
        assert (record["from"], record["seed"], record["largest_difference"]) == (old.folder.name, 3, 0.0)
        assert record["texts"] >= 5 and record["libraries"] == old.description["digest"]["libraries"]
        assert record["checked_with"]["libraries"] == {"torch": "99.1.7", "transformers": "98.2.7"}
        assert store.description[MADE_WITH] == old.description[MADE_WITH]
    assert main(["cache", "verify"]) == 0
    assert adopt() == 0
    assert "0 adopted, 0 without" in capsys.readouterr().out and not passes


def test_provenance_states_the_adoption_and_what_computed(run: Verbs, upgraded: dict[str, str]) -> None:
    def activations() -> list[dict]:
        return [made for made in read_json(RUN / "provenance.json")[MADE_WITH] if made["of"] == "activations"]

    before = activations()
    assert adopt() == 0
    for kind in ("activations", "interventions", "evaluations"):
        shutil.rmtree(RUN / kind)
    (RUN / "provenance.json").unlink()
    run.run_missing()
    assert activations() == before
    (adopted,) = read_json(RUN / "provenance.json")[ADOPTED]
    assert adopted["model"] == "tiny" and adopted["checked_with"]["code"] == UPGRADE["code"]
    assert adopted["which"]["north/test yes"]["from"] == upgraded["test yes"]
    assert adopted["which"].keys() == {"north/" + place for place in upgraded}


def test_other_values_are_refused_and_everything_stays(
    run: Verbs, upgraded: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    changed(monkeypatch, 1.001, slice(-3, None))
    before = contents(CACHE)
    assert adopt() == 2
    assert re.search(r"has other values \(relative difference 1\.0e-03\).*no store of that version", error(capsys))
    assert contents(CACHE) == before and not list(STORES.glob(".partial-*"))


def test_what_older_versions_read_in_mixed_passes_is_refused_where_lengths_decide_positions(
    run: Verbs, upgraded: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("genies.engine.decoder.announced", lambda *_: 4)
    before = contents(CACHE)
    assert adopt() == 2
    assert "is stored in another way" in error(capsys)
    assert contents(CACHE) == before


def test_differences_of_rounding_are_accepted_and_stated(
    run: Verbs, upgraded: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    changed(monkeypatch, 1 + 2e-6)
    assert adopt() == 0
    assert "within 1e-05" in capsys.readouterr().out
    (record,) = ActivationStore(STORES / extract_again(run)["test plain"]).description[ADOPTED]
    assert 1e-6 < record["largest_difference"] < 4e-6


@pytest.mark.parametrize("change", [{"dtype": "bfloat16"}, {"attention": "eager"}, {"layers": [0, 1]}])
def test_stores_under_other_options_are_no_candidates(
    run: Verbs, upgraded: dict[str, str], capsys: pytest.CaptureFixture, change: dict[str, object]
) -> None:
    Path("config.yaml").write_text(json.dumps({**CONFIG, "extraction": change}))
    assert adopt() == 0
    assert "0 adopted, 6 without" in capsys.readouterr().out


def test_tokens_that_have_another_name_too_are_compared_themselves(
    run: Verbs, upgraded: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("genies.store.tokens.computed_by", lambda *_, **__: UPGRADE)
    Path(run.tokens).unlink()
    assert adopt() == 0
    assert "6 adopted, 0 without" in capsys.readouterr().out
    assert not Path(run.tokens).exists()
    assert run.run("tokenize") == 0
    assert set(extract_again(run).values()) <= {folder.name for folder in STORES.iterdir()}


def test_tokens_that_differ_are_no_candidates(
    run: Verbs, upgraded: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from genies.store import splits

    tokenize = splits.tokenize

    def other(*arguments: Any) -> Any:
        tokens = tokenize(*arguments)
        tokens.ids[tokens.ids == 5] = 6
        return tokens

    monkeypatch.setattr(splits, "tokenize", other)
    monkeypatch.setattr("genies.store.tokens.computed_by", lambda *_, **__: UPGRADE)
    Path(run.tokens).unlink()
    assert adopt() == 0
    assert "0 adopted, 6 without" in capsys.readouterr().out


def test_an_old_store_may_go_and_an_adopted_one_is_repaired(
    run: Verbs, upgraded: dict[str, str], passes: list[int]
) -> None:
    assert adopt() == 0
    new = extract_again(run)
    for kind in ("interventions", "evaluations"):
        shutil.rmtree(RUN / kind)
    assert [record.unlink() for record in Path("cache/users").glob("*.json")]  # of the run that this is a copy of, too
    assert main(["cache", "gc", "--yes", "--age", "0"]) == 0
    assert {folder.name for folder in STORES.glob("[!.]*")} == set(new.values())
    assert main(["cache", "verify"]) == 0
    before = contents(STORES / new["test yes"] / "data.zarr")
    (STORES / new["test yes"] / "data.zarr/residual/c/1/0/0").unlink()
    assert main(["cache", "verify", "--repair"]) == 2
    passes.clear()
    assert extract_again(run) == new
    assert 0 < len(passes) < 20 and contents(STORES / new["test yes"] / "data.zarr") == before
    description = ActivationStore(STORES / new["test yes"]).description
    assert len(description[ADOPTED]) == 1
    assert [making["code"] == UPGRADE["code"] for making in description[MADE_WITH]] == [False, True]


def test_a_repair_of_the_old_store_leaves_the_adopted_one_alone(run: Verbs, upgraded: dict[str, str]) -> None:
    assert adopt() == 0
    new = extract_again(run)
    before = contents(STORES / new["test plain"])
    old = STORES / upgraded["test plain"]
    for file in [*old.rglob("zarr.json"), *old.glob("data.zarr/example/c/*")]:
        file.write_bytes(b"other")
    for shard in (path for path in (old / "data.zarr/heads/c/1").rglob("*") if path.is_file()):
        shard.unlink()
    assert contents(STORES / new["test plain"]) == before


def test_a_kill_before_the_last_step_leaves_nothing_that_counts(
    run: Verbs, upgraded: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, replace = contents(STORES), Path.replace

    def dies(path: Path, target: Path) -> Path:
        if path.name == "store":
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", dies)
        assert adopt() == 130
    assert contents(STORES) == before
    assert adopt() == 0


def test_a_store_that_is_being_written_is_left_alone(
    run: Verbs, upgraded: dict[str, str], capsys: pytest.CaptureFixture
) -> None:
    from filelock import FileLock

    with FileLock(STORES / ".locks" / upgraded["train no"]):
        assert adopt() == 2
    assert "wait until the job has ended" in error(capsys)
    assert adopt() == 0


def test_where_the_file_system_makes_no_links_the_store_is_left_to_snakemake(
    run: Verbs, upgraded: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    before = contents(CACHE)
    assert adopt() == 2
    assert "cannot be linked (Operation not permitted)" in error(capsys)
    assert contents(CACHE) == before


def test_a_damaged_old_store_is_no_candidate(
    run: Verbs, upgraded: dict[str, str], capsys: pytest.CaptureFixture
) -> None:
    file = STORES / upgraded["test no"] / "store.json"
    described = read_json(file)
    del described["seal"], described["complete"]
    write_sealed(file, described)
    (STORES / upgraded["train no"] / "store.json").write_text("{}")
    assert adopt() == 0
    assert "4 adopted, 2 without" in capsys.readouterr().out


def test_what_an_old_store_does_not_state_yet_is_stated_of_the_adopted_one(
    run: Verbs, upgraded: dict[str, str], monkeypatch: pytest.MonkeyPatch, passes: list[int]
) -> None:
    description = Extractor.description
    monkeypatch.setattr(Extractor, "description", lambda *given: description(*given) | {"newer": {"a": 1}})
    before = contents(STORES)
    assert adopt() == 0
    passes.clear()
    stores = [ActivationStore(STORES / name) for name in extract_again(run).values()]
    assert not passes and [store.description["newer"] for store in stores] == [{"a": 1}] * 6
    assert {name: content for name, content in contents(STORES).items() if name in before} == before
    assert main(["cache", "verify"]) == 0


@pytest.mark.parametrize("field", ["computed_with", "arithmetic"])
def test_a_store_that_does_not_state_how_it_was_computed_or_laid_out_is_refused(
    run: Verbs, upgraded: dict[str, str], capsys: pytest.CaptureFixture, field: str
) -> None:
    for name in upgraded.values():
        described = read_json(STORES / name / "store.json")
        del described["seal"], described[field]
        described["plan"] = value_digest({key: value for key, value in described.items() if key not in BESIDE})
        blocks = {int(block): digests for block, digests in described["blocks_sha256"].items()}
        (STORES / name / "journal.jsonl").unlink()
        write_journal(STORES / name / "journal.jsonl", described["plan"], blocks)
        write_sealed(STORES / name / "store.json", described)
    before = contents(CACHE)
    assert adopt() == 2
    assert "is stored in another way" in error(capsys)
    assert contents(CACHE) == before


def test_published_data_that_are_not_unpacked_yet_are_named_with_the_call_that_makes_them(
    run: Verbs, capsys: pytest.CaptureFixture
) -> None:
    Path("an archive.tar").touch()
    Path("shifts.yaml").write_text(json.dumps([{"source": "north", "target": "us_history"}]))
    Path("config.yaml").write_text(json.dumps({**CONFIG, "capability_interventions": []}))
    before = contents(CACHE)
    assert adopt("--config", "data_archive=an archive.tar", "seed=3") == 2
    missing = "resources/genies/distributions/us_history/test.json"
    assert error(capsys).splitlines() == [
        f"genies: error: {missing}: not there yet; have it made first: snakemake {missing} --cores 1 "
        "--configfile config.yaml --config 'data_archive=an archive.tar' seed=3"
    ]
    assert contents(CACHE) == before


def error(capsys: pytest.CaptureFixture) -> str:
    return capsys.readouterr().err
