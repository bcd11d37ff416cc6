"""Wordings through the real workflow: their views alone are computed, and no other result changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from project import Project

from genies.data.views import templates_digest
from genies.errors import ConfigError
from genies.plan import Plan

ORIGINALS = ["lat_template", "no", "yes"]
INTERVENTIONS = ["mms", "lat_stim_2", "cra"]
WORDED = {f"{view}_{number}" for view in ORIGINALS for number in (1, 2)}

COMPARES = """
from genies.interventions.mms import MassMeanShift


class Own(MassMeanShift):
    features = ("heads", "reference_log_probability")
    fit_views = predict_views = ("plain", "yes")

    def __init__(self, reference=None, **parameters):
        super().__init__(**parameters)
        self.reference = reference
"""
"""An intervention that learns, asks a question, and compares with a reference."""


def stores(project: Project) -> dict[str, set[str]]:
    """Names of the parts that the run reads, by view."""
    manifest = json.loads((project.folder / "results/mini/activations/tiny-llama/0.json").read_text())
    found: dict[str, set[str]] = {}
    for entry in manifest["stores"]:
        found.setdefault(entry["view"], set()).add(entry["digest"])
    return found


def splits(project: Project, view: str) -> set[tuple[str, str]]:
    """Distribution and split of all that the run stores under a view."""
    manifest = json.loads((project.folder / "results/mini/activations/tiny-llama/0.json").read_text())
    return {(entry["distribution"], entry["split"]) for entry in manifest["stores"] if entry["view"] == view}


def test_wordings_compute_their_views_alone_and_change_no_other_result(project: Project) -> None:
    results, fits = project.folder / "results/mini", project.folder / "cache/interventions"
    ccs = {"epochs": 20, "restarts": 2, "seeds": 3}
    project.config |= {"interventions": ["mms", "lat_stim_2", "ccs"], "intervention_parameters": {"ccs": ccs}}
    project.config["capability_interventions"] = []
    assert project.jobs()["extract"] == 1
    cells, before, fitted = (results / "cells.csv").read_bytes(), stores(project), {*fits.iterdir()}
    assert not len(pl.read_csv(results / "wordings.csv"))

    project.config["wordings"] = 2
    jobs = project.jobs()
    assert {name: jobs[name] for name in ("model", "tokenize", "extract", "wordings")} == {
        "model": 0, "tokenize": 1, "extract": 1, "wordings": 1,
    }  # fmt: skip
    assert (results / "cells.csv").read_bytes() == cells and {*fits.iterdir()} == fitted
    after = stores(project)
    assert {view: after[view] for view in before} == before and after.keys() - before.keys() == WORDED
    said = (results / "logs/extract/tiny-llama/0.log").read_text()
    assert f"({', '.join(sorted(WORDED))})" in said and "(plain" not in said

    own = pl.read_csv(results / "cells.csv").filter(source="north")
    table = pl.read_csv(results / "wordings.csv")
    keys = [(name, target, number) for name in ("lat_stim_2", "ccs") for target in ("north", "south")
            for number in range(3)]  # fmt: skip
    assert sorted(table.select("intervention", "target", "wording").rows()) == sorted(keys)
    assert dict(table.group_by("intervention").agg(pl.col("seeds").unique()).iter_rows()) == {
        "lat_stim_2": [1], "ccs": [3],
    }  # fmt: skip
    for name, target, number in keys:
        if number == 0:
            (accuracy,) = own.filter(intervention=name, target=target)["accuracy"]
            row = table.filter(intervention=name, target=target, wording=0)
            assert row["accuracy"].item() == pytest.approx(accuracy, abs=1e-12)
    assert (table["low"] <= table["accuracy"]).all() and (table["accuracy"] <= table["high"]).all()

    varies = pl.read_csv(results / "wording_variance.csv")
    assert sorted(varies.select("intervention", "source", "target", "shifts").rows(), key=str) == sorted(
        [(name, *place, 1) for name in ("lat_stim_2", "ccs")
         for place in (("north", "north"), ("north", "south"), (None, None))], key=str
    )  # fmt: skip
    for name in ("lat_stim_2", "ccs"):
        of_shift = table.filter(intervention=name, target="south")["accuracy"]
        row = varies.filter(pl.col("source").is_null(), intervention=name)
        assert (row["lowest"].item(), row["highest"].item()) == pytest.approx((of_shift.min(), of_shift.max()))
    assert varies.filter(intervention="ccs")["seed_sd"].null_count() == 0
    assert varies.filter(intervention="lat_stim_2")["seed_sd"].null_count() == 3
    page = (results / "report.html").read_text()
    assert "figure-wordings-1" in page and "The wording of a question?" in page
    assert project.jobs() == {}


def test_wordings_read_what_is_tested_under_them_alone_and_what_a_later_shift_adds(project: Project) -> None:
    project.config |= {"interventions": ["mms", "lat_stim_2"], "wordings": 1, "few_labels": {"counts": [1]}}
    worded = {("north", "train"), ("north", "test"), ("south", "test")}
    assert project.jobs()["wordings"] == 1
    assert splits(project, "lat_template") == {*worded, ("south", "train")}
    assert splits(project, "lat_template_1") == worded

    project.shifts.append({"source": "south", "target": "west"})
    jobs = project.jobs()
    assert {name: jobs[name] for name in ("tokenize", "extract", "wordings")} == {
        "tokenize": 1, "extract": 1, "wordings": 1,
    }  # fmt: skip
    assert splits(project, "lat_template_1") == {*worded, ("south", "train"), ("west", "test")}
    table = pl.read_csv(project.folder / "results/mini/wordings.csv")
    assert {*table.filter(wording=1).select("source", "target").iter_rows()} == {
        ("north", "north"), ("north", "south"), ("south", "south"), ("south", "west"),
    }  # fmt: skip
    project.config["run"] = "again"
    assert project.jobs()["wordings"] == 1
    assert table.equals(pl.read_csv(project.folder / "results/again/wordings.csv"))


def test_another_pair_of_splits_that_are_read_under_wordings_extracts_nothing(project: Project) -> None:
    project.config |= {"interventions": ["mms", "lat_stim_2"], "wordings": 1, "few_labels": {"counts": [1]}}
    project.shifts.append({"source": "west", "target": "north"})
    assert project.jobs()["wordings"] == 1
    project.shifts.append({"source": "west", "target": "south"})
    jobs = project.jobs()
    assert {name: jobs[name] for name in ("tokenize", "extract", "wordings", "few_labels")} == {
        "tokenize": 0, "extract": 0, "wordings": 1, "few_labels": 1,
    }  # fmt: skip


def test_a_run_without_wordings_plans_what_it_did(planned: Callable[..., Plan]) -> None:
    without, worded = planned(interventions=INTERVENTIONS), planned(interventions=INTERVENTIONS, wordings=5)
    assert without.files.analysed == []
    assert without.reads("tiny") == without.methods.reads == without.tokenized("tiny")
    assert without.templates() == templates_digest(["lat_template", "no", "plain", "yes"], "response")
    assert worded.reading == without.reading and worded.tokenized("tiny") == without.tokenized("tiny")
    assert worded.templates() != without.templates()
    read = worded.reads("tiny")["test"]
    assert len(read) == 4 + 15 and read["yes_5"] == read["yes"] and read["lat_template_1"] == read["lat_template"]
    assert len(worded.stored("north", "train")) == len(worded.stored("south", "test")) == 4 + 15
    assert worded.stored("south", "train") == without.stored("south", "train") == without.methods.reads["train"]
    assert [str(file) for file in worded.files.analysed] == [
        f"results/run/wordings/tiny/{name}.csv" for name in ("wordings", "wording_variance")
    ]


def test_a_view_that_is_a_wording_of_another_one_is_stored_everywhere_for_both(planned: Callable[..., Plan]) -> None:
    Path("own.py").write_text(
        "from genies.interventions.mms import MassMeanShift\n\n\nclass Own(MassMeanShift):\n"
        '    fit_views = predict_views = ("plain", "lat_template_1")\n'
    )
    plan = planned(interventions=["mms", "lat_stim_2", "own.py"], wordings=2)
    stored, extracted = plan.stored("south", "train"), plan.reads("tiny")["train"]
    assert stored.keys() == {"plain", "lat_template", "lat_template_1"} and "lat_template_2" in extracted
    assert stored == {view: extracted[view] for view in stored}
    assert stored["lat_template_1"] == plan.methods.reads["train"]["lat_template_1"] | stored["lat_template"]


def test_what_compares_with_a_reference_is_left_out_of_what_is_fitted_again(planned: Callable[..., Plan]) -> None:
    Path("own.py").write_text(COMPARES)
    shutil.copytree("tiny", "base")
    asked = {"learning_curves": {}, "few_labels": {}, "wordings": 1}
    plan = planned(
        interventions=["mms", "lat_stim_2", "own.py"], intervention_parameters={"own": {"reference": "./base"}}, **asked
    )
    assert plan.references.of("tiny", "own") == ["base"]
    assert [plan.roles.analysed(analysis, "tiny") for analysis in asked] == [
        ["mms", "lat_stim_2"], ["mms", "lat_stim_2"], ["lat_stim_2"],
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="learning_curves: no intervention of the run is fitted on training pairs"):
        planned(interventions=["own.py"], intervention_parameters={"own": {"reference": "./base"}}, learning_curves={})


def test_wordings_of_views_that_no_probe_reads_and_too_many_are_refused(
    planned: Callable[..., Plan],
) -> None:
    with pytest.raises(ConfigError, match="wordings: no intervention of the run reads a view that has further ones"):
        planned(wordings=1)
    with pytest.raises(ConfigError, match="wordings: "):
        planned(interventions=INTERVENTIONS, wordings=6)
