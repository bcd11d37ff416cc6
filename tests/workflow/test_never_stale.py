"""What a run states is what it computed: after jobs that failed, files that were swapped, and records that lie."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import psutil
import pytest
from helpers import save_model
from project import Project

from genies.config.load import load_config
from genies.errors import StoreError
from genies.plan import Plan
from genies.plan.products import check_results, products
from genies.stages.overlap import write_overlap

MANIFESTS = Path("results/mini")


def run_and_kill(project: Project, verb: str) -> None:
    """Start Snakemake, and kill the first job that runs ``genies … verb``."""
    project.write_config()
    program = subprocess.Popen(
        # Not `python -m snakemake`, which would be a fork of another process, and its jobs no children of this one.
        [Path(sys.executable).with_name("snakemake"), "--cores", "2", "--configfile", "config.yaml"],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    killed = False
    while program.poll() is None and not killed:
        for child in psutil.Process(program.pid).children(recursive=True):
            try:
                command = child.cmdline()
                if verb in command and any(Path(part).name == "genies" for part in command):
                    child.kill()
                    killed = True
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.005)
    assert killed, f"no job ran {verb}"
    assert program.wait() != 0


def other_parameter(project: Project) -> None:
    project.config["intervention_parameters"] = {"mms": {"kept": 1}}


def other_dtype(project: Project) -> None:
    project.config["extraction"] = {"dtype": "bfloat16"}


def other_seed(project: Project) -> None:
    project.config["seed"] = 1


def other_code(project: Project) -> None:
    file = project.folder / "genies/evaluation/judge.py"
    file.write_text(file.read_text() + "\nEDITED = True\n")


@pytest.mark.parametrize(
    ("change", "verb"),
    [
        (other_parameter, "probe"),
        pytest.param(other_dtype, "extract", marks=pytest.mark.torture),
        pytest.param(other_seed, "tokenize", marks=pytest.mark.torture),
        pytest.param(other_code, "probe", marks=pytest.mark.torture),
    ],
)
def test_a_failed_job_does_not_make_the_next_run_claim_its_results(
    project: Project, change: Callable[[Project], None], verb: str
) -> None:
    change(project)
    run_and_kill(project, verb)
    jobs = project.jobs()
    assert any(job.partition(":")[0] == verb for job in jobs)
    assert jobs["metrics"] == jobs["provenance"] == jobs["report"] == 1
    fits = json.loads((project.folder / MANIFESTS / "interventions/tiny-llama/mms.json").read_text())
    activations = json.loads((project.folder / MANIFESTS / "activations/tiny-llama/0.json").read_text())
    assert fits["parameters"].get("kept") == (1 if change is other_parameter else None)
    assert activations["options"]["dtype"] == ("bfloat16" if change is other_dtype else "float32")
    assert activations["reading"]["seed"] == (1 if change is other_seed else 0)
    assert not project.jobs()


def test_a_failed_analysis_does_not_make_the_next_run_state_its_new_key_over_the_old_table(project: Project) -> None:
    table = project.folder / MANIFESTS / "learning_curves.csv"
    project.config["learning_curves"] = {"sizes": [8], "draws": 2}
    assert project.jobs()["learning_curves"] == 1
    assert 10 not in pl.read_csv(table)["size"]
    project.config["learning_curves"] = {"sizes": [10], "draws": 2}
    run_and_kill(project, "learning-curves")
    jobs = project.jobs()
    assert jobs["learning_curves"] == jobs["metrics"] == jobs["provenance"] == jobs["report"] == 1
    assert {8, 10} & {*pl.read_csv(table)["size"]} == {10}
    assert not project.jobs()


@pytest.fixture
def plan(project: Project, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.chdir(project.folder)
    return Plan(load_config(project.config))


def restate(file: Path, **fields: object) -> None:
    """Let a manifest state something else."""
    (MANIFESTS / file).write_text(json.dumps(json.loads((MANIFESTS / file).read_text()) | fields))


def rewrite(file: str, text: str, other: str) -> None:
    """Edit a file without a trace in its time."""
    path = Path(file)
    before = path.stat()
    assert text in path.read_text()
    path.write_text(path.read_text().replace(text, other))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def put_another_evaluation_there() -> None:
    folder = MANIFESTS / "evaluations/tiny-llama"
    shutil.copy(folder / "zero_shot/north.parquet", folder / "mms/north.parquet")


def write_an_evaluation_that_states_nothing() -> None:
    file = MANIFESTS / "evaluations/tiny-llama/mms/north.parquet"
    pl.read_parquet(file).write_parquet(file)


def leave_a_target_out_of_the_overlap() -> None:
    data = [Path(f"data/north/{split}.json") for split in ("train", "test")]
    write_overlap("north:north", train=data[:1], test=data[1:], output=MANIFESTS)


MODEL, TOKENS, ACTIVATIONS, FITS = (
    Path(name)
    for name in (
        "models/tiny-llama.json",
        "tokens/tiny-llama.json",
        "activations/tiny-llama/0.json",
        "interventions/tiny-llama/mms.json",
    )
)


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        (lambda: restate(MODEL, identifier="else"), 'models/tiny-llama.json: was made with identifier = "else"'),
        (lambda: restate(TOKENS, reading={}), "tokens/tiny-llama.json: was made with reading = {}, configured is {"),
        (lambda: restate(TOKENS, templates="x"), "tokens/tiny-llama.json: was made with templates"),
        (
            lambda: restate(ACTIVATIONS, options={"dtype": "bfloat16"}),
            '0.json: was made with options = {"dtype": "bfloat16"}, c',
        ),
        (lambda: restate(ACTIVATIONS, distributions=[]), "0.json: was made with distributions = []"),
        (lambda: restate(FITS, parameters={"kept": 2}), 'mms.json: was made with parameters = {"kept": 2}, configured'),
        (lambda: restate(FITS, made_of={"code": "x"}), "mms.json: was made by other code than is installed now"),
        (lambda: restate(FITS, fits={}), "evaluations/tiny-llama/mms/north.parquet: was made of another results/mini"),
        (lambda: (MANIFESTS / FITS).write_text("[1]"), "mms.json: not a file of genies with made_of"),
        ((MANIFESTS / FITS).unlink, "interventions/tiny-llama/mms.json: is missing"),
        ((MANIFESTS / "overlap.parquet").unlink, "results/mini/overlap.parquet: is missing"),
        (leave_a_target_out_of_the_overlap, "overlap.parquet: was made with targets = {"),
        (lambda: rewrite("data/south/test.json", "Peru", "Perú"), "was made of another data/south/test.json"),
        (put_another_evaluation_there, "mms/north.parquet: was made by other code"),
        (write_an_evaluation_that_states_nothing, "mms/north.parquet: was made with targets = null"),
    ],
)
def test_provenance_refuses_what_was_not_made_as_configured(
    plan: Plan, lie: Callable[[], object], message: str
) -> None:
    check_results(plan)
    lie()
    with pytest.raises(StoreError) as error:
        check_results(plan)
    assert message in str(error.value) and "delete " in str(error.value)
    assert "run snakemake again" in str(error.value)


@pytest.mark.torture
def test_what_provenance_says_helps(project: Project) -> None:
    fits = project.folder / MANIFESTS / FITS
    fits.write_text(json.dumps(json.loads(fits.read_text()) | {"parameters": {"kept": 2}}))
    refused = project.run("--rerun-triggers", "mtime")
    (line,) = {line for line in refused.stderr.splitlines() if line.startswith("genies: error:")}
    told = line.split("delete ")[1].split(" and run")[0].split(" and ")
    for path in map(project.folder.joinpath, told):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert project.jobs()["provenance"] == 1
    assert not project.jobs()


def test_the_targets_ask_for_every_manifest_and_evaluation(project: Project, plan: Plan) -> None:
    asked = [product.file for product in products(plan)]
    assert len(asked) == len(set(asked)) == 3 + 3 + 6 + 1
    for file in asked:
        file.unlink()
    planned = project.run("-n").stdout + project.run("-n").stderr
    assert [file for file in asked if str(file) not in planned] == []


def test_a_link_that_is_moved_to_an_older_model_is_noticed(project: Project) -> None:
    other = save_model(project.folder / "older/tiny-llama", "llama", layers=2)
    for file in other.iterdir():
        os.utime(file, (1e9, 1e9))
    (project.folder / "tiny-llama").rename(project.folder / "first")
    (project.folder / "tiny-llama").symlink_to("older/tiny-llama")
    planned = project.planned()
    assert planned["model"] == planned["extract"] == 1


def test_data_that_were_swapped_for_others_of_the_same_time_are_noticed(project: Project) -> None:
    file = project.folder / "data/south/test.json"
    before, examples = file.stat(), json.loads(file.read_text())
    file.write_text(json.dumps(examples[::-1]))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    planned = project.planned()
    assert planned["tokenize"] == planned["extract"] == planned["probe:mms"] == 1
