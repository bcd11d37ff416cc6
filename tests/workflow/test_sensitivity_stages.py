"""Learning curves and a few labels of the target through the real workflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import yaml
from helpers import write_distribution
from project import Project
from staged import StagedRuns

from genies.errors import ConfigError
from genies.evaluation.table import gathered, read_csv
from genies.evaluation.tables.few_labels import TABLE
from genies.plan import Plan
from genies.stages.few_labels import write_few_labels

AGAIN = ("metrics", "provenance", "details", "report")


def test_fits_on_fewer_and_other_pairs_need_no_other_job_and_change_no_result(project: Project) -> None:
    """No fit and no store gets another name: nothing of them is made again."""
    results = project.folder / "results/mini"
    metrics = (results / "generalization_metrics.csv").read_bytes()
    kept = [project.folder / "cache" / kind for kind in ("tokens", "activations", "interventions")]
    cached = {path for folder in kept for path in folder.rglob("*")}
    project.config |= {
        "learning_curves": {"sizes": [8, 10, 999], "draws": 3},
        "few_labels": {"counts": [1, 4], "draws": 2, "copies": 3},
    }
    assert project.jobs() == {"learning_curves": 1, "few_labels": 1, **dict.fromkeys(AGAIN, 1)}
    assert (results / "generalization_metrics.csv").read_bytes() == metrics
    assert {path for folder in kept for path in folder.rglob("*")} == cached
    cells = pl.read_csv(results / "cells.csv").filter(intervention="mms", source="north")
    own = dict(cells.select("target", "accuracy").iter_rows())

    curves = pl.read_csv(results / "learning_curves.csv")
    whole = curves.filter(draws=1)
    assert curves["intervention"].unique().to_list() == ["mms"]
    assert curves.group_by("target").agg(pl.col("size").sort()).sort("target").rows() == [
        (target, [8, 10, whole["size"][0]]) for target in ("north", "south")
    ]
    assert dict(whole.select("target", "accuracy").iter_rows()) == {name: own[name] for name in ("north", "south")}
    assert curves.filter(pl.col("draws") == 3)["accuracy_sd"].null_count() == 0

    labels = pl.read_csv(results / "few_labels.csv")
    (of_source,) = results.glob("few_labels/*/*/few_labels.csv")
    assert of_source.parent.name == "north"
    assert labels.select("target", "chosen", "examples", "copies", "draws").rows() == [
        ("south", "none", 0, 0, 1),
        *(("south", chosen, count, 3, 2) for count in (1, 4) for chosen in ("random", "uncertain")),
    ]
    assert labels["accuracy"][0] == own["south"]
    assert labels.filter(pl.col("low").is_between(0, pl.col("accuracy")), pl.col("high") >= pl.col("accuracy")).equals(
        labels
    )

    assert project.jobs() == {}
    project.config |= {"learning_curves": None, "few_labels": None}
    assert project.jobs() == dict.fromkeys(AGAIN, 1)
    assert not len(pl.read_csv(results / "learning_curves.csv")) + len(pl.read_csv(results / "few_labels.csv"))


def test_training_splits_of_targets_are_read_only_where_their_labels_are(planned: Callable[..., Plan]) -> None:
    assert planned().selection.trained_on == ["north"]
    with_labels = planned(few_labels={})
    assert with_labels.selection.trained_on == ["north", "south"] and with_labels.selection.fitted_on == ["north"]
    Path("south/train.json").unlink()
    with pytest.raises(ConfigError, match="few_labels: south, a target, has no train.json"):
        planned(few_labels={})


def test_a_probe_that_reads_all_test_labels_gets_no_few_labels(planned: Callable[..., Plan]) -> None:
    """``ccs`` as published fits on the first 100 examples, the source's: no label of the target would count."""
    both = {"interventions": ["mms", "ccs"], "few_labels": {}, "learning_curves": {}}
    published, corrected = planned(**both, protocol="paper").roles, planned(**both).roles
    assert published.analysed("few_labels", "tiny") == ["mms"]
    assert published.analysed("learning_curves", "tiny") == ["mms", "ccs"]
    assert corrected.analysed("few_labels", "tiny") == ["mms", "ccs"]
    with pytest.raises(
        ConfigError, match="few_labels: no intervention of the run .* reads neither other views nor labels"
    ):
        planned(interventions=["ccs"], protocol="paper", few_labels={})


SHIFTS = [("north", "south"), ("north", "west"), ("south", "west")]
PROBES = {name: {"intervention": name, "parameters": {}} for name in ("lat_stim_1", "lat_pca")}


def test_a_job_of_each_source_writes_what_one_of_all_would(planned: Callable[..., Plan], tmp_path: Path) -> None:
    """Nothing that sources or shifts have in memory together decides a row."""
    runs = StagedRuns(tmp_path / "staged", ("north", "south", "west"), train=12, test=6)
    manifest = runs.extract("run", ["plain:inner"])

    def rows(shifts: list[tuple[str, str]], output: Path) -> pl.DataFrame:
        targets = sorted({target for _, target in shifts})
        read = sorted({name for shift in shifts for name in shift})
        write_few_labels(
            *(":".join(shift) for shift in shifts), probes=PROBES, model="tiny", counts=[1, 4], draws=2, copies=2,
            train=runs.files("train", read), test=runs.files("test", targets), activations=[manifest],
            cache=runs.cache, output=output,
        )  # fmt: skip
        return read_csv(output / "few_labels.csv", TABLE.columns)

    write_distribution(tmp_path / "west", offset=62)
    Path("shifts.yaml").write_text(yaml.safe_dump([{"source": one, "target": other} for one, other in SHIFTS]))
    files = planned(few_labels={}, distributions=["north", "south", "west"]).files.analysed
    assert [str(file) for file in files] == [
        f"results/run/few_labels/tiny/{source}/few_labels.csv" for source in ("north", "south")
    ]
    for file in files:
        rows([shift for shift in SHIFTS if shift[0] == file.parent.name], file.parent)
    whole = rows(SHIFTS, tmp_path / "whole")
    cells = len(PROBES) * len(SHIFTS)
    assert len(whole) == 5 * cells and whole["accuracy_sd"].null_count() == cells
    assert gathered(TABLE, files).equals(whole)
