"""Plug-ins after the published contract land in the same tables; failing and lying ones end with a clear error."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path

import polars as pl
import pytest
from helpers import write_distribution

from genies.data.distributions import read_split
from genies.data.pairs import test_pairs as pairs_of
from genies.errors import ConfigError, Interrupted
from genies.evaluation.evaluations import Fits, read_making
from genies.evaluation.tables.cells import measured_cells
from genies.interventions.plugins import check_plugin, program_files
from genies.making import MADE_OF
from genies.stages.plugin import PluginError, run_plugin

TRAIN = """
import argparse, ast, json, pathlib
parser = argparse.ArgumentParser()
for name in ("model_dir", "training_distribution_dir", "output_dir", "test_distribution_dirs"):
    parser.add_argument("--" + name)
options = parser.parse_args()
assert isinstance(ast.literal_eval(options.test_distribution_dirs), list)
output = pathlib.Path(options.output_dir)
output.mkdir(parents=True)
examples = json.loads((pathlib.Path(options.training_distribution_dir) / "train.json").read_text())
(output / "seen.json").write_text(json.dumps(len(examples)))
"""
EVAL = """
import argparse, ast, json, pathlib
parser = argparse.ArgumentParser()
for name in ("model_dir", "distribution_dirs", "output_paths"):
    parser.add_argument("--" + name)
options = parser.parse_args()
assert json.loads((pathlib.Path(options.model_dir) / "seen.json").read_text()) == 6
for folder, path in zip(ast.literal_eval(options.distribution_dirs), ast.literal_eval(options.output_paths)):
    examples = json.loads((pathlib.Path(folder) / "test.json").read_text())
    p = [0.75] * sum(len(example["responses"]) - 1 for example in examples)
    result = {"eval_accuracy": 1.0, "eval_probabilities": p, "eval_rms_calibration_error": 0.2, "eval_other": None}
    # CHANGE
    pathlib.Path(path).write_text(json.dumps(result))
"""


def run(folder: Path, change: str = "", train: str = TRAIN, left_out: tuple[int, ...] = (), judge: str = EVAL) -> Path:
    source, target = folder / "data/north", folder / "data/south"
    plugin = folder / "plugin"
    if not plugin.exists():
        write_distribution(source, train=6, test=5)
        write_distribution(target, train=6, test=7, offset=2)
        plugin.mkdir()
    (plugin / "train.py").write_text(train)
    (plugin / "eval.py").write_text(judge.replace("# CHANGE", change))
    model = {"name": "some", "path": "some/model", "weights_digest": "w", "tokenizer_digest": "t"}
    model |= {"context": None, "files": {}}
    (folder / "model.json").write_text(json.dumps(model))
    manifest = {"reading": {}, "left_out": {"north/train": [], "south/test": left_out}, "shortened": {}}
    manifest["left_out"]["north/test"] = []
    (folder / "tokens.json").write_text(json.dumps(manifest))
    output = folder / "evaluations/m/plugin/north.parquet"
    tests = [source / "test.json", target / "test.json"]
    run_plugin(
        plugin, model=folder / "model.json", tokens=folder / "tokens.json", train=source / "train.json", test=tests,
        work=folder / "work", cache=folder / "cache", output=output,
    )  # fmt: skip
    return output


def test_the_example_of_the_documentation_works(tmp_path: Path) -> None:
    page = Path(__file__).parents[2].joinpath("docs/own.md").read_text(encoding="utf-8")
    train, judge = re.findall(r"```python\n(import argparse\n.+?)```", page, re.DOTALL)
    frame = pl.read_parquet(run(tmp_path, train=train, judge=judge))
    assert set(frame["target"]) == {"north", "south"}
    assert frame["probability"].is_between(0, 1).all() and frame["probability"].n_unique() > 1


def test_probabilities_become_rows_of_the_same_tables(tmp_path: Path) -> None:
    frame = pl.read_parquet(run(tmp_path))
    pairs = pairs_of(read_split(tmp_path / "data/south/test.json"))
    rows = frame.filter(pl.col("target") == "south")
    assert rows.select("example", "pair").rows() == [(pair.example, pair.number) for pair in pairs]
    assert set(rows["probability"]) == {0.75}
    fits = Fits(tmp_path / "evaluations", ["m"], {"plugin": ["north"]})
    assert measured_cells(fits)["accuracy"].to_list() == [1.0, 1.0]


def test_a_plugin_that_gives_an_accuracy_alone_is_taken_at_its_word(tmp_path: Path) -> None:
    run(tmp_path, 'result = {"eval_accuracy": 0.625}')
    table = measured_cells(Fits(tmp_path / "evaluations", ["m"], {"plugin": ["north"]}))
    assert table["accuracy"].to_list() == [0.625, 0.625]
    assert table["brier"].null_count() == 2


def test_examples_that_are_left_out_are_left_out_of_a_plugin_too(tmp_path: Path) -> None:
    frame = pl.read_parquet(run(tmp_path, left_out=(0, 3)))
    assert {0, 3}.isdisjoint(frame.filter(pl.col("target") == "south")["example"])
    given = json.loads((tmp_path / "work/distributions/south/test.json").read_text())
    kept = [n for n in range(7) if n not in (0, 3)]
    written = json.loads((tmp_path / "data/south/test.json").read_text())
    assert [e["prompt"] for e in given] == [written[n]["prompt"] for n in kept]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("continue", "did not write it"),
        ('result["eval_accuracy"] = 1.2', "eval_accuracy is 1.2"),
        ('result["eval_accuracy"] = float("nan")', "eval_accuracy is nan"),
        ('del result["eval_accuracy"]', "eval_accuracy is None"),
        ("p.pop()", "values for"),
        ("p[0] = -0.1", "eval_probabilities"),
        ('p[0] = "high"', "eval_probabilities"),
        ("result = []", "not an object"),
        ('raise RuntimeError("no memory left")', "no memory left"),
    ],
)
def test_a_failing_or_lying_plugin_ends_with_one_line(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(PluginError) as caught:
        run(tmp_path, change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "evaluations").exists()


def test_a_plugin_runs_again_only_where_it_would_be_given_something_else(tmp_path: Path) -> None:
    counting = TRAIN + "pathlib.Path('runs').open('a').write('.')\n".replace("'runs'", repr(str(tmp_path / "runs")))
    first = run(tmp_path, train=counting).read_bytes()
    assert run(tmp_path, train=counting).read_bytes() == first
    assert (tmp_path / "runs").read_text() == "."
    run(tmp_path, train=counting, left_out=(0,))
    assert (tmp_path / "runs").read_text() == ".."
    run(tmp_path, train=counting + "# A remark.\n", left_out=(0,))
    assert (tmp_path / "runs").read_text() == "..."
    (tmp_path / "work/evaluations/south.json").write_text("{}")
    run(tmp_path, train=counting + "# A remark.\n", left_out=(0,))
    assert (tmp_path / "runs").read_text() == "...."


def counting(folder: Path, more: str = "") -> str:
    """A training that also writes a dot for each run into ``folder / "runs"``."""
    return TRAIN + f"pathlib.Path({str(folder / 'runs')!r}).open('a').write('.')\n{more}"


def inputs(evaluation: Path) -> set[str]:
    return {role for role in read_making(evaluation)[MADE_OF]["inputs"] if role.startswith("programs/")}


def test_every_file_that_the_folder_had_before_the_first_run_counts(tmp_path: Path) -> None:
    plugin, train = tmp_path / "plugin", counting(tmp_path)
    run(tmp_path, train=train)
    shutil.rmtree(tmp_path / "cache")  # as if the plug-in were new
    for name in ("words/list.txt", "settings.json", ".git/index", "__pycache__/part.pyc", "words/.swp"):
        (plugin / name).parent.mkdir(exist_ok=True)
        (plugin / name).write_text("first")
    programs = {"programs/eval.py", "programs/train.py"}
    for edited, runs in (("", 2), ("words/list.txt", 3), ("settings.json", 4), (".git/index", 4), ("words/.swp", 4)):
        if edited:
            (plugin / edited).write_text("edited")
        made = run(tmp_path, train=train)
        assert inputs(made) == {*programs, "programs/words/list.txt", "programs/settings.json"}
        assert inputs(made) == {f"programs/{f.relative_to(plugin)}" for f in program_files(plugin, tmp_path / "cache")}
        assert (tmp_path / "runs").read_text() == "." * runs, edited
    (plugin / "part.py").write_text("")  # a Python file counts whenever it comes
    assert "programs/part.py" in inputs(run(tmp_path, train=train))
    assert (tmp_path / "runs").read_text() == "." * 5


def test_what_a_plugin_writes_into_its_folder_does_not_run_it_again(tmp_path: Path) -> None:
    log = tmp_path / "plugin/log.txt"
    train = counting(tmp_path, f"pathlib.Path({str(log)!r}).open('a').write('.')\n")
    for _ in range(2):
        assert inputs(run(tmp_path, train=train)) == {"programs/eval.py", "programs/train.py"}
        assert log.read_text() == (tmp_path / "runs").read_text() == "."
    # Even where it was there before the first run that is known of.
    shutil.rmtree(tmp_path / "cache")
    for _ in range(2):
        assert inputs(run(tmp_path, train=train)) == {"programs/eval.py", "programs/train.py"}
        assert log.read_text() == (tmp_path / "runs").read_text() == ".."


def test_sigterm_ends_a_plugin_with_all_that_it_has_started(tmp_path: Path) -> None:
    started = tmp_path / "pid"
    train = (
        "import os, pathlib, signal, subprocess, time\n"
        f"pathlib.Path({str(started)!r}).write_text(str(subprocess.Popen(['sleep', '600']).pid))\n"
        "os.kill(os.getppid(), signal.SIGTERM)\n"
        "time.sleep(600)\n"
    )
    with pytest.raises(Interrupted):
        run(tmp_path, train=train)
    until = time.monotonic() + 60
    while is_running(started.read_text()):
        assert time.monotonic() < until
        time.sleep(0.05)


def is_running(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_training_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"train\.py: ended with status 3"):
        run(tmp_path, train="raise SystemExit(3)")


def test_a_folder_without_the_programs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="train.py"):
        check_plugin("mine", tmp_path)
