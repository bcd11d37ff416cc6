"""Further seeds, and another run beside this one, through the real workflow."""

from __future__ import annotations

import shutil

import polars as pl
from project import Project


def test_further_seeds_fit_again_and_leave_the_runs_own_results_alone(project: Project) -> None:
    results = project.folder / "results/mini"
    before = pl.read_csv(results / "generalization_metrics.csv")
    project.config["further_seeds"] = [1, 2]
    executed = project.jobs()
    fits = [f"probe:mms@{seed}" for seed in (1, 2)]
    assert executed == dict.fromkeys((*fits, "metrics", "details", "provenance", "report"), 1)
    assert pl.read_csv(results / "generalization_metrics.csv").equals(before)
    spread = pl.read_csv(results / "seeds.csv")
    assert spread.select("intervention", "over", "seeds").rows() == [("mms", "all", 3), ("mms", "shift", 3)]
    row = before.row(by_predicate=pl.col("intervention") == "mms", named=True)
    assert spread["accuracy_least"][1] <= row["generalization_accuracy"] <= spread["accuracy_most"][1]
    assert "drawn 3 times" in (results / "report.html").read_text(encoding="utf-8")


def test_another_run_is_shown_beside_this_one_and_drawn_again_when_it_changes(project: Project) -> None:
    other = project.folder / "elsewhere/earlier"
    shutil.copytree(project.folder / "results/mini", other)
    project.config["beside"] = ["elsewhere/earlier"]
    assert project.jobs() == {"provenance": 1, "report": 1}
    page = (project.folder / "results/mini/report.html").read_text(encoding="utf-8")
    assert "tiny-llama (earlier)" in page and "beside: earlier" in page
    assert project.jobs() == {}
    metrics = other / "generalization_metrics.csv"
    changed = pl.read_csv(metrics).with_columns(brier=pl.lit(0.123))
    changed.write_csv(metrics)
    assert project.jobs() == {"report": 1}


def test_a_run_to_show_beside_that_is_not_there_is_one_clear_line(project: Project) -> None:
    project.config["beside"] = ["elsewhere/nothing"]
    result = project.run("--dry-run")
    assert result.returncode != 0
    assert (
        "elsewhere/nothing/generalization_metrics.csv: a run to show beside this one not found"
        in result.stdout + result.stderr
    )
