"""Calls from Python and runs of the workflow share the cache, the layout of their results and every number."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from project import Project, executed

import genies
from genies.evaluation.table import read_csv
from genies.evaluation.tables.generalization_metrics import TABLE as METRICS

TRAINED = {"lora": {"steps": 2, "pairs_per_step": 4, "rank": 2}}


def called(project: Project, monkeypatch: pytest.MonkeyPatch, **changed: object) -> pl.DataFrame:
    """The metrics of the project's configuration, made by a call."""
    monkeypatch.chdir(project.folder)
    given = {key: value for key, value in project.config.items() if key not in ("run", "models", "shifts")}
    return genies.evaluate_shifts("tiny-llama", shifts=project.shifts, **{**given, **changed})


def no_model(*_: object, **__: object) -> None:
    raise AssertionError("a model was loaded")


def test_a_call_takes_what_the_workflow_computed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genies.engine.decoder.Decoder.load", no_model)
    before = {path.name for path in Path(project.folder / "cache").glob("[!u]*/*")}  # but for users
    table = called(project, monkeypatch)
    theirs = read_csv(project.folder / "results/mini/generalization_metrics.csv", METRICS.columns)
    assert_frame_equal(table, theirs, check_exact=True)
    assert {path.name for path in Path(project.folder / "cache").glob("[!u]*/*")} == before


def test_the_workflow_takes_what_a_call_computed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("cache", "results"):
        shutil.rmtree(project.folder / folder)
    project.config |= {"interventions": ["zero_shot", "mms", "lora"], "intervention_parameters": TRAINED}
    table = called(project, monkeypatch)
    before = {path.name for path in Path("cache").glob("*/*")}
    executed(project.run("--until", "metrics"))
    assert project.forward_passes() == 0
    assert {path.name for path in Path("cache").glob("*/*")} == before
    theirs = read_csv(Path("results/mini/generalization_metrics.csv"), METRICS.columns)
    assert_frame_equal(table, theirs, check_exact=True)


def test_the_workflow_adds_the_report_to_a_call(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    called(project, monkeypatch, run="called")
    metrics = Path("results/called/generalization_metrics.csv").read_bytes()
    jobs = executed(project.snakemake("--configfile", "results/called/config.yaml"))
    assert jobs == dict.fromkeys(("details", "provenance", "report"), 1)
    assert Path("results/called/report.html").is_file()
    assert Path("results/called/generalization_metrics.csv").read_bytes() == metrics
