"""What users name reaches the verbs as it is, however hostile or long; real Snakemake renders the shell commands."""

from __future__ import annotations

import copy
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

import polars as pl
import pytest
import yaml
from helpers import write_distribution
from project import REPOSITORY, WARM, Project, package, warm_program
from pydantic import BaseModel

from genies.cli import parse
from genies.config.load import load_config
from genies.config.schema import config_schema
from genies.config.sections import Config
from genies.data.options import Limit
from genies.demo.place import MODEL, distribution_names
from genies.errors import GeniesError
from genies.options import options_of
from genies.plan import Plan

EXECUTED = "executed"
COMMANDS = '$(touch executed) `touch executed` "it\'s" >executed; touch executed & * ~ $HOME \\'
OPTION = "--output=written @file %s\\0 #é"
OUTSIDE = "../../outside"
WILDCARD = "a{intervention}"

OWN = """
from genies.interventions.mms import MassMeanShift


class Own(MassMeanShift):
    def __init__(self, word="", **parameters):
        super().__init__(**parameters)
        self.word = word
"""
STUB = """#!/bin/bash
printf '%s\\0' "$@" > "$RECORD/arguments"
: > "$RECORD/stdin"
if [[ $1 == --stdin ]]; then cat > "$RECORD/stdin"; fi
"""


def everything(folder: Path, text: str) -> dict[str, Any]:
    """A configuration with every key, in which whatever may be hostile is; what it names is written to the folder."""
    here = folder / text
    for number, name in enumerate(("north", "south")):
        write_distribution(here / name, offset=31 * number)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (here / "tiny").mkdir(exist_ok=True)
        (here / "tiny" / name).write_text("{}")
    (here / "plug").mkdir()
    for name in ("plug/train.py", "plug/eval.py", "archive.tar"):
        (here / name).touch()
    (here / "own.py").write_text(OWN)
    (here / "other").mkdir()
    (here / "other/generalization_metrics.csv").write_text("source,target\nnorth,south\n")
    pairs = [("north", "south"), ("mixed", "us_history"), (distribution_names()[0], "north")]
    shifts = [{"source": source, "target": target} for source, target in pairs]
    (here / "shifts.yaml").write_text(yaml.safe_dump(shifts))
    return {
        "run": "run",
        "models": [f"{text}/tiny", "owner/name", MODEL],
        "model": None,
        "revisions": {"owner/name": text},
        "bases": {"owner/name": text},
        "data_archive": f"{text}/archive.tar",
        "distributions": [f"{text}/north", f"{text}/south"],
        "shifts": [f"{text}/shifts.yaml"],
        "mixtures": {"mixed": {"source": "north", "other": "south", "percent": 10}},
        "tuned_models": {
            "tuned": {"intervention": "lora", "source": "north", "model": "tiny", "interventions": ["mms"]},
        },
        "ensembles": {"both": {"members": ["mms", "lora"], "combine": "mean", "penalty": 0.5}},
        "permutations": 39,
        "learning_curves": {"sizes": [8, 9], "draws": 2},
        "few_labels": {"counts": [1, 2], "draws": 2, "copies": 3},
        "wordings": 1,
        "directions": False,
        "causal": {"texts": 4, "strengths": [1.0], "draws": 19},
        "limit": {"train": 9, "test": 8, "distributions": {"north": {"train": 7, "test": None}}},
        "framing": "response",
        "prompt_format": "published",
        "overlong": "leave_out",
        "interventions": ["mms", "lat_stim_1", f"{text}/own.py", "lora", "lat_stim_2"],
        "intervention_parameters": {"own": {"word": text}},
        "plugins": {"plug": f"{text}/plug"},
        "saw": {"plug": ["source labels", "target texts"]},
        "capability_interventions": ["mms"],
        "matrix": True,
        "protocol": "corrected",
        "seed": 1,
        "further_seeds": [2],
        "extraction": {
            "dtype": "float32",
            "attention": "auto",
            "quantization": None,
            "layers": [1, 2],
            "heads": [0],
            "device": "cpu",
            "batch_tokens": 64,
            "jobs_per_model": 2,
        },
        "trainings_per_job": 2,
        "sweep": {
            "interventions": {"lora": {"rank": [1, 2], "learning_rate": {"low": 1e-5, "high": 1e-3, "count": 2}}},
            "train": 4,
            "held_out": 2,
        },
        "beside": [f"{text}/other"],
        "folders": {name: f"{text}/{name}" for name in ("resources", "cache", "results")},
        "container": "docker://ghcr.io/owner/genies:1.0",
    }


def rendered(config: dict[str, Any]) -> tuple[dict[str, list[str]], list[str]]:
    """The shell commands of a run in the current folder, by rule, and the benchmark files of its jobs."""
    Path("config.yaml").write_text(yaml.safe_dump(config))
    program = Path(__file__).parents[1] / "shell_commands.py"
    result = subprocess.run(
        [sys.executable, program, package() / "Snakefile", "config.yaml"],
        env={**warm_program(program), "PYTHONPATH": f"{package()}{os.pathsep}{WARM}"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    return found["commands"], found["benchmarks"]


def test_hostile_values_are_tried_in_every_key(tmp_path: Path) -> None:
    config, known = everything(tmp_path, "x"), config_schema()["properties"]
    assert set(config) == set(known)
    for section in ("extraction", "sweep", "folders"):
        (described,) = (one for one in known[section].get("anyOf", [known[section]]) if "properties" in one)
        assert set(config[section]) == set(described["properties"]), section


class Shell:
    """Runs commands as Snakemake does, with a program ``genies`` that only notes how it is called."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._monkeypatch = folder, monkeypatch
        (folder / "genies").write_text(STUB)
        (folder / "genies").chmod(0o755)

    def options(self, command: str) -> SimpleNamespace:
        """The options that ``genies`` takes from a command."""
        # A file, as Snakemake has it where a command is longer than 64 KiB.
        script = self._folder / "script.sh"
        script.write_text(f"set -euo pipefail; {command}")
        environment = {**os.environ, "RECORD": str(self._folder), "PATH": f"{self._folder}:{os.environ['PATH']}"}
        result = subprocess.run(["bash", script], env=environment, capture_output=True, text=True)
        assert not Path(EXECUTED).exists(), command
        assert result.returncode == 0, f"{command[:2000]}: {result.stderr}"
        arguments = (self._folder / "arguments").read_text().split("\0")[:-1]
        stdin = SimpleNamespace(buffer=io.BytesIO((self._folder / "stdin").read_bytes()))
        self._monkeypatch.setattr("sys.stdin", stdin)
        call = parse(arguments)
        return SimpleNamespace(log=call.log, **call.arguments.arguments)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell; the current folder is another one, and empty."""
    for name in ("programs", "run"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "run")
    return Shell(tmp_path / "programs", monkeypatch)


def files() -> set[Path]:
    return {path for path in Path.cwd().rglob("*") if ".snakemake" not in path.parts}


@pytest.mark.parametrize("text", [COMMANDS, OPTION], ids=["commands", "option"])
def test_a_hostile_configuration_reaches_the_verbs_as_it_is_and_runs_nothing(text: str, shell: Shell) -> None:
    config = everything(Path.cwd(), text)
    commands, benchmarks = rendered(config)
    before = files()
    called = {rule: [shell.options(command) for command in found] for rule, found in commands.items()}
    assert files() == before
    results = Path(text, "results", "run")
    (jobs,) = (options.jobs for options in called["details"])
    assert sorted(str(results / "benchmarks" / f"{job}.tsv") for job in jobs) == sorted(benchmarks)
    for options in (options for found in called.values() for options in found):
        assert options.log.is_relative_to(results / "logs")
        assert options.output.is_relative_to(Path(text))
        assert getattr(options, "cache", Path(text)).is_relative_to(Path(text))

    def values(rule: str, name: str) -> list[Any]:
        return [getattr(options, name) for options in called[rule]]

    own = {name: [Path(text, name, f"{split}.json") for split in ("train", "test")] for name in ("north", "south")}
    models = dict(zip(values("model", "identifier"), values("model", "revision"), strict=True))
    assert models.pop("owner/name") == text
    assert text in values("model", "base")
    assert set(models) == {f"{text}/tiny", f"{text}/{MODEL}"}
    assert values("unpack", "archive") == [f"{text}/archive.tar"]
    assert values("mixture", "source") == [Path(text, "north")]
    assert all({own["north"][0]} <= set(files) for files in values("tokenize", "train"))
    assert all({own["north"][1], own["south"][1]} <= set(files) for files in values("probe", "test"))
    fits = {options.intervention: options.parameters for options in called["probe"]}
    assert fits[f"{text}/own.py"]["word"] == text
    assert set(values("plugin", "folder")) == {Path(text, "plug")}
    assert [reading.limit for reading in values("overlap", "reading")] == [Limit(**config["limit"])]
    assert all({own["north"][0]} <= set(files) for files in values("overlap", "train"))
    assert values("metrics", "shifts") == [[Path(text, "shifts.yaml")]]
    assert values("report", "beside") == [[Path(text, "other")]]
    stated = values("provenance", "config")[0]
    assert stated["folders"] == config["folders"] and stated["revisions"] == config["revisions"]
    assert str(Path(text, "own.py")) in values("provenance", "config")[0]["interventions"]
    assert values("causal", "strengths") == [[1.0]] * len(called["causal"])
    assert {"tune", "gather", "sweep_source", "sweep", "extract", "overlap", "details"} <= set(called)


RENDERED = {"revisions.owner/name", "intervention_parameters.own.word"}
"""Keys that take any text; the test above renders them."""
FOLDERS = {"folders.resources", "folders.cache", "folders.results", "bases.owner/name"}
"""Likewise, but for braces."""
UNUSED = {"revisions", "capability_interventions.0"}
"""Names of what the run does not have; nothing is made of them."""
PASSED = {
    COMMANDS: RENDERED | FOLDERS | UNUSED,
    OPTION: RENDERED | FOLDERS | UNUSED,
    OUTSIDE: RENDERED | FOLDERS | UNUSED | {"container"},
    WILDCARD: RENDERED | UNUSED,
}
"""By text, the keys that take it: of mappings, a name or a value. What an image is called, Snakemake's shell runs."""


def changed(value: Any, text: str, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """The value with one leaf, or one name in a mapping, replaced by the text; and where that is."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        for place, new in changed(item, text, (*path, str(key))):
            other = copy.copy(value)
            other[key] = new
            yield place, other
        if isinstance(value, dict):
            yield ".".join(path), {text if name == key else name: inner for name, inner in value.items()}
    if not items:
        yield ".".join(path), text


def sections(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_dataclass(annotation)):
        yield annotation
        annotation = tuple(get_type_hints(annotation).values())
    for inner in annotation if isinstance(annotation, tuple) else get_args(annotation):
        yield from sections(inner)


def key_names(section: type) -> Iterable[str]:
    return (one.name for one in options_of(section)) if is_dataclass(section) else section.model_fields


def keys(value: Any) -> Iterator[str]:
    for key, item in value.items() if isinstance(value, dict) else ():
        yield key
        yield from keys(item)


@pytest.mark.parametrize("text", PASSED, ids=["commands", "option", "outside", "wildcard"])
def test_every_key_refuses_hostile_text_in_one_line_or_is_known_to_be_harmless(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = everything(tmp_path, "plain")
    assert {name for section in sections(Config) for name in key_names(section)} <= set(keys(config))
    Plan(load_config(config))
    before, passed = files(), set()
    for place, hostile in changed(config, text):
        try:
            Plan(load_config(hostile))
        except GeniesError as error:
            assert "\n" not in str(error), place
        else:
            passed.add(place)
    assert passed == PASSED[text]
    assert files() == before


def test_every_value_of_a_shell_line_is_quoted() -> None:
    rules = "".join(file.read_text() for file in (REPOSITORY / "workflow/rules").glob("*.smk"))
    values = re.findall(r"{((?:input|output|params|resources|log|wildcards|threads)\b[^{}]*)}", rules)
    assert len(values) > 50
    # Choices and numbers, by the schema of the configuration; names of views and features, which the package knows.
    known = {f"resources.{name}" for name in ("how", "extraction", "train_reads", "test_reads")}
    assert {value for value in values if not value.endswith(":q")} == known


def test_long_lists_reach_the_verbs(shell: Shell) -> None:
    """With 300 distributions and ``matrix`` there are 90,000 tests."""
    names = [f"distribution_{number:03}" for number in range(300)]
    for name in names:
        (Path("a folder with a longer name than most of them have") / name).mkdir(parents=True)
        for split in ("train", "test"):
            (Path("a folder with a longer name than most of them have") / name / f"{split}.json").touch()
    shifts = [{"source": name, "target": names[0]} for name in names]
    Path("shifts.yaml").write_text(yaml.safe_dump(shifts))
    (Path("tiny")).mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        Path("tiny", name).write_text("{}")
    commands, _ = rendered(
        {
            "run": "run",
            "models": ["tiny"],
            "distributions": [f"a folder with a longer name than most of them have/{name}" for name in names],
            "shifts": ["shifts.yaml"],
            "interventions": ["mms", "lora"],
            "matrix": True,
            "trainings_per_job": 300,
        }
    )
    called = {rule: [shell.options(command) for command in found] for rule, found in commands.items()}
    assert len(called["probe"][0].test) == 300


@pytest.mark.torture
def test_a_run_in_hostile_folders_completes(tmp_path: Path) -> None:
    project = Project(tmp_path)
    hostile = f"-o $(touch {EXECUTED}) it's"
    (tmp_path / "data").rename(tmp_path / hostile)
    project.config["distributions"] = [f"{hostile}/{name}" for name in ("north", "south", "west")]
    project.config["folders"] = {name: f"{hostile}/{name}" for name in ("cache", "results")}
    project.config |= {"matrix": True, "interventions": ["zero_shot"], "capability_interventions": []}
    project.shifts.append({"source": "west", "target": "south"})
    result = project.run()
    assert result.returncode == 0, result.stderr
    assert "Nothing to be done" in project.run("-n").stdout
    assert not (tmp_path / EXECUTED).exists()
    evaluated = pl.read_parquet(tmp_path / hostile / "results/mini/evaluations/tiny-llama/zero_shot/west.parquet")
    assert set(evaluated["target"]) == {"north", "south", "west"}
