"""Provenance states what a run was made of, and its commit where there is one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from helpers import write_distribution

from genies.config.load import load_config
from genies.digests import file_sha256
from genies.errors import ConfigError
from genies.files import read_json, write_json
from genies.plan import Plan
from genies.stages.provenance import package_versions, source_state, write_provenance


def test_everything_that_a_result_depends_on_is_stated(tmp_path: Path) -> None:
    model, data, table = tmp_path / "m.json", tmp_path / "north" / "test.json", tmp_path / "cells.csv"
    write_json(model, {"name": "m", "revision": "abc"})
    write_json(data, [])
    table.write_text("x")
    tokens = tmp_path / "tokens.json"
    write_json(tokens, {"examples": {"north/test": 40}, "available": {"north/test": 250}})
    own = tmp_path / "own.py"
    own.write_text("")
    write_provenance({"seed": 4}, [model], [data], [own], [table], tmp_path / "provenance.json", tokens=[tokens])
    stated = read_json(tmp_path / "provenance.json")
    assert stated["configuration"] == {"seed": 4}
    assert stated["models"] == [{"name": "m", "revision": "abc"}]
    assert stated["data"] == {"north/test": file_sha256(data)}
    assert stated["examples"] == {"north/test": {"drawn": 40, "available": 250}}
    assert stated["own_code"] == {str(own): file_sha256(own)}
    assert stated["results"] == {"cells.csv": file_sha256(table)}
    assert set(stated) >= {"genies", "commit", "uncommitted_changes", "python", "platform", "packages"}
    assert {"torch", "zarr", "snakemake"} <= set(package_versions()) and "pytest" not in package_versions()


def test_what_was_computed_in_which_type_is_stated_once(tmp_path: Path) -> None:
    activations, tuned = [], []
    for batch, device in enumerate(("cpu", "cuda", "cpu")):
        activations.append(tmp_path / f"{batch}.json")
        kinds = {"arithmetic": "float32", "dtype": "bfloat16"}
        write_json(activations[-1], {"model": "m", "extraction": kinds, "devices": [device], "stores": []})
    for intervention in ("lora", "own/probe.py", "lora"):
        tuned.append(tmp_path / f"fit{len(tuned)}.json")
        write_json(tuned[-1], {"model": "m", "intervention": intervention, "arithmetic": "float32"})
    write_provenance({}, [], [], [], [], tmp_path / "provenance.json", activations=activations, tuned=tuned)
    assert read_json(tmp_path / "provenance.json")["arithmetic"] == [
        {"model": "m", "of": "activations", "computed": "float32", "devices": ["cpu", "cuda"], "stored": "bfloat16"},
        {"model": "m", "of": "lora", "computed": "float32"},
        {"model": "m", "of": "probe", "computed": "float32"},
    ]


def test_own_code_is_that_of_interventions_and_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("north", "south"):
        write_distribution(tmp_path / "data" / name)
    Path("shifts.yaml").write_text("- {source: north, target: south}")
    shutil.copy(Path(__file__).parent / "interventions/own_probe.py", "probe.py")
    (tmp_path / "method" / "parts").mkdir(parents=True)
    programs = [Path("method") / name for name in ("eval.py", "parts/loss.py", "train.py")]
    for file in programs:
        file.write_text("")
    chosen = {"run": "mine", "models": ["owner/m"], "shifts": ["shifts.yaml"], "interventions": ["mms", "probe.py"]}
    folders = ["data/north", "data/south"]
    plan = Plan(load_config({**chosen, "distributions": folders, "plugins": {"own": "method"}, "further_seeds": [1]}))
    assert plan.methods.own_code == [Path("probe.py"), *programs]
    Path("method/words {0}.txt").write_text("")
    with pytest.raises(ConfigError, match=r"method/words \{0\}.txt: Snakemake takes braces"):
        plan.methods.plugin_files("own")


def test_commit_and_uncommitted_changes_of_a_checkout(tmp_path: Path) -> None:
    assert source_state(tmp_path) == (None, None)

    def git(*arguments: str) -> str:
        user = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ["git", "-C", str(tmp_path), *user, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "a")
    assert source_state(tmp_path) == (git("rev-parse", "HEAD"), False)
    (tmp_path / "a").write_text("2")
    assert source_state(tmp_path) == (git("rev-parse", "HEAD"), True)
