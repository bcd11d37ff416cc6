"""Foreign files made to do harm: each ends in one line, whatever it is, and within a minute."""

from __future__ import annotations

import json
import os
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from gguf_files import write_gguf
from helpers import save_model, write_distribution
from safetensors.torch import load_file, save_file

from genies.cli import main
from genies.errors import ModelError, StoreError, harmless
from genies.evaluation.runs import COLUMNS
from genies.evaluation.table import read_csv
from genies.evaluation.tables.cells import TABLE as CELLS
from genies.models import trial

ESCAPE = "\x1b]0;owned\x07"
FORMULA = '=HYPERLINK("http://example.org","x")'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a distribution."""
    folder = tmp_path_factory.mktemp("hostile")
    save_model(folder / "tiny", "llama")
    write_distribution(folder / "data" / "north")
    return folder


@pytest.fixture
def copy(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the model, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(place / "data", "data")
    return Path(shutil.copytree(place / "tiny", "tiny"))


def refused(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which a verb ends."""
    capfd.readouterr()
    assert main(arguments) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if "genies: error: " in line]
    assert len(lines) == 1
    return lines[0]


def describe(capfd: pytest.CaptureFixture[str]) -> str:
    return refused(capfd, "model", "tiny", "--output", "model.json")


def edit(file: Path, change: Callable[[dict], None]) -> None:
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))


def pattern(regex: str) -> dict:
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def growing(steps: int) -> dict:
    ten = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}
    return {"type": "Sequence", "normalizers": [ten] * steps}


LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}{{ messages[0].content }}"


def test_a_chat_template_that_loops_ends_in_one_line(
    copy: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "SECONDS", 3)
    (copy / "chat_template.jinja").write_text(LOOP)
    begin = time.monotonic()
    assert "tiny: its tokenizer or chat template takes more than 3 s" in describe(capfd)
    assert time.monotonic() - begin < 60


def test_a_chat_template_that_fills_the_memory_ends_in_one_line(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (copy / "chat_template.jinja").write_text("{{ 'x' * 10000000000 }}")
    assert "tiny: its tokenizer or chat template takes more than 4 GiB" in describe(capfd)


@pytest.mark.parametrize(("key", "value"), [
    ("pre_tokenizer", pattern("(?:[^#]|[^#][^#]){1,20}[#@]|[^#]")),
    ("normalizer", growing(11)),
], ids=["regex bomb", "text that grows"])  # fmt: skip
def test_a_tokenizer_that_does_not_end_is_refused_in_one_line(
    key: str, value: dict, copy: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "SECONDS", 5)
    edit(copy / "tokenizer.json", lambda tokenizer: tokenizer.update({key: value}))
    assert "tiny: its tokenizer or chat template takes more than" in describe(capfd)


def test_a_chat_template_that_fails_is_named_where_it_is_used(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (copy / "chat_template.jinja").write_text("{{ 1 // 0 }}")
    assert main(["model", "tiny", "--output", "model.json"]) == 0
    line = refused(capfd, "tokenize", "--model", "model.json", "--train", "data/north/train.json", "--train-views",
                   "plain", "--prompt-format", "chat", "--output", "tokens.json")  # fmt: skip
    assert "tiny: its chat template cannot be used; use prompt_format: published (" in line


@pytest.mark.parametrize(("breaking", "message"), [
    (lambda folder: (folder / "chat_template.jinja").write_text(LOOP), "chat template takes more than 3 s"),
    (lambda folder: edit(folder / "config.json", lambda config: config.update(num_hidden_layers=10_000_000)),
     "num_hidden_layers is more than 10000"),
], ids=["template", "layers"])  # fmt: skip
def test_an_estimate_tries_the_model_too(
    breaking: Callable[[Path], None],
    message: str,
    copy: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trial, "SECONDS", 3)
    breaking(copy)
    Path("shifts.yaml").write_text("[{source: north, target: north}]")
    Path("run.yaml").write_text("{run: r, models: [./tiny], distributions: [data/north], shifts: [shifts.yaml]}")
    assert message in refused(capfd, "estimate", "--configfile", "run.yaml")


def test_what_passed_once_is_not_tried_again(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    limited = trial.limited
    monkeypatch.setattr(trial, "limited", lambda *arguments: tried.append(arguments) or limited(*arguments))
    for _ in range(2):
        assert main(["model", "tiny", "--output", "model.json"]) == 0
    assert len(tried) == 1
    (copy / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert main(["model", "tiny", "--output", "model.json"]) == 0
    assert len(tried) == 2


def test_a_trial_that_crashes_or_takes_too_much_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    trial.limited(lambda: bytearray(2**31), "x")
    with pytest.raises(ModelError, match="^x takes more than 4 GiB, or crashes what reads it; .*use another one$"):
        trial.limited(os.abort, "x")
    with pytest.raises(ModelError, match="^x takes more than 4 GiB; "):
        trial.limited(lambda: bytearray(2**33), "x")
    monkeypatch.setattr(trial, "SECONDS", 1)
    with pytest.raises(ModelError, match="^x takes more than 1 s; "):
        trial.limited(lambda: time.sleep(30), "x")


@pytest.mark.parametrize("key", ["num_hidden_layers", "n_layer"])
def test_ten_million_layers_are_refused(key: str, copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    edit(copy / "config.json", lambda config: config.update({key: 10_000_000}))
    assert f"tiny/config.json: {key} is more than 10000" in describe(capfd)


def test_weights_that_are_a_pipe_are_refused(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (copy / "model.safetensors").unlink()
    os.mkfifo(copy / "model.safetensors")
    assert "tiny/model.safetensors: no regular file" in describe(capfd)


def test_metadata_of_a_gguf_file_that_does_not_end_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trial, "SECONDS", 3)
    one_array_of_bytes = struct.pack("<QcIIQ", 1, b"a", 9, 0, 2**40)
    Path("endless.gguf").write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + one_array_of_bytes)
    line = refused(capfd, "model", "endless.gguf", "--output", "model.json")
    assert "endless.gguf: its metadata takes more than 3 s" in line


def test_blocks_of_a_gguf_file_that_it_does_not_hold_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_gguf(Path("tall.gguf"), blocks=10_000_000)
    line = refused(capfd, "model", "tall.gguf", "--output", "model.json")
    assert "tall.gguf: states 10000000 blocks, but holds" in line


PIPE = {
    "shifts": ("shifts", "pipe.yaml"),
    "manifest": ("tokenize", "--model", "pipe.yaml", "--output", "x"),
    "table": ("compare", "run", "run"),
    "archive": ("published", "pipe.yaml", "--out", "x"),
    "results": ("cache", "list"),
}


@pytest.mark.parametrize("arguments", PIPE.values(), ids=PIPE)
def test_a_pipe_in_a_files_place_is_refused(
    arguments: tuple[str, ...], capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("results/run/models").mkdir(parents=True)
    Path("run").mkdir()
    for name in ("pipe.yaml", "run/cells.csv", "results/run/models/x.json"):
        os.mkfifo(name)
    refused(capfd, *arguments)


FOREIGN = {
    "tokenize": ("tokenize", "--model", "foreign.json", "--output", "x"),
    "extract": ("extract", "north", "--model", "foreign.json", "--tokens", "foreign.json", "--output", "x"),
    "fit": ("fit", "mms", "--train", "t.json", "--activations", "foreign.json", "--output", "x"),
    "evaluate": ("evaluate", "a:a", "--fits", "foreign.json", "--test", "t.json", "--output", "x"),
    "gather": ("gather", "foreign.json", "--output", "x"),
    "merge": ("merge", "x", "--fits", "foreign.json", "--model", "foreign.json", "--source", "a", "--output", "x"),
    "records of tokens": ("records", "--tokens", "foreign.json", "--output", "x"),
    "records of fits": ("records", "--tokens", "--fits", "foreign.json", "--output", "x"),
    "report": ("report", "x", "--title", "x", "--provenance", "foreign.json", "--output", "x"),
}


@pytest.mark.parametrize("content", ["[1]", '{"a": 1}', "[" * 100_000], ids=["list", "object", "deep"])
@pytest.mark.parametrize("verb", FOREIGN)
def test_foreign_json_in_a_manifests_place_is_refused(
    verb: str, content: str, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("foreign.json").write_text(content)
    Path("t.json").write_text("[]")
    arguments = list(FOREIGN[verb])
    if verb == "records of fits":
        Path("tokens.json").write_text('{"model": "m", "available": {}, "examples": {}, "left_out": {}}')
        arguments.insert(2, "tokens.json")
    assert "foreign.json: " in refused(capfd, *arguments)


def test_a_model_that_computes_no_number_is_refused(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    weights = load_file(copy / "model.safetensors")
    save_file({**weights, "model.norm.weight": weights["model.norm.weight"] * float("nan")},
              copy / "model.safetensors", metadata={"format": "pt"})  # fmt: skip
    views = ("--train-views", "plain", "--test-views", "plain")
    assert main(["model", "tiny", "--output", "model.json"]) == 0
    assert main(["tokenize", "--model", "model.json", "--train", "data/north/train.json", *views,
                 "--output", "tokens.json"]) == 0  # fmt: skip
    line = refused(capfd, "extract", "north", "--model", "model.json", "--tokens", "tokens.json", *views,
                   "--output", "x")  # fmt: skip
    assert "no text of the self-test has features that are all finite numbers" in line


@pytest.mark.parametrize("value", ["1e308", "1e400", "NaN", "1" + "0" * 400])
@pytest.mark.parametrize("parameter", ["seed", "kept"])
def test_a_parameter_beyond_all_numbers_is_refused(
    parameter: str, value: str, copy: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = refused(capfd, "fit", "mms", "--parameters", f'{{"{parameter}": {value}}}', "--train",
                   "data/north/train.json", "--output", "x")  # fmt: skip
    assert f"parameter {parameter} is not a number between" in line


def cells(folder: Path, *accuracies: float) -> None:
    folder.mkdir()
    rows = [
        {"model": f"m{ESCAPE}", "intervention": FORMULA, "source": "a", "target": f"t{n}", "accuracy": accuracy,
         "low": accuracy - 0.01, "high": accuracy + 0.01, "test_pairs": 5}
        for n, accuracy in enumerate(accuracies)
    ]  # fmt: skip
    pl.DataFrame(rows, schema=CELLS.columns).write_csv(folder / "cells.csv")


def test_names_of_foreign_tables_command_neither_terminal_nor_spreadsheet(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cells(tmp_path / "a", 0.9, 0.8)
    cells(tmp_path / "b", 0.1, 0.8)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--output", str(tmp_path / "out.csv")]) == 0
    told = capfd.readouterr().out
    assert r"m\x1b]0;owned\x07, =HYPERLINK" in told and "\x1b" not in told
    written = read_csv(tmp_path / "out.csv", COLUMNS)
    assert set(written["model"]) == {"m�]0;owned�"} and set(written["intervention"]) == {f"'{FORMULA}"}


@pytest.mark.parametrize("number", [1e308, -1e308, float("inf"), float("nan")])
def test_numbers_of_foreign_tables_that_no_run_gives_are_refused(number: float, tmp_path: Path) -> None:
    cells(tmp_path / "a", 0.9, number)
    with pytest.raises(StoreError, match="cells.csv: column accuracy holds a number that no run gives"):
        read_csv(tmp_path / "a" / "cells.csv", CELLS.columns)


def test_columns_of_foreign_tables_are_told_without_commands(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cells.csv").write_text(f"model{ESCAPE},accuracy\n\x1b[31m,{ESCAPE}\n")
    line = refused(capfd, "compare", str(tmp_path), str(tmp_path))
    assert "\x1b" not in line and "lacks " in line


def test_text_becomes_harmless_and_stays_whole() -> None:
    assert harmless("a\x1b[31m\n\x9b\u202eb → é") == r"a\x1b[31m\n\x9b\u202eb → é"
    assert np.all([harmless(chr(code)).isprintable() for code in range(0xA0)])
