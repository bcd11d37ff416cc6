"""Surface baselines through the real workflow."""

from __future__ import annotations

import polars as pl
from project import Project

BASELINES = ("length", "bag_of_words", "first_word", "prompt_overlap")
TABLES = ("metrics", "samples", "provenance", "costs", "report")


def test_surface_baselines_take_one_job_and_have_no_place_in_rankings(project: Project) -> None:
    results = project.folder / "results/mini"
    ranked = {name: (results / name).read_bytes() for name in ("leaderboard.csv", "comparisons.csv")}
    project.config["interventions"] += BASELINES
    executed = project.jobs()
    assert executed == {**dict.fromkeys(("surface", "records", *TABLES), 1)}
    assert {name: (results / name).read_bytes() for name in ranked} == ranked
    metrics = pl.read_csv(results / "generalization_metrics.csv")
    assert metrics["intervention"].to_list() == ["random", "zero_shot", "mms", *BASELINES]
    found = pl.read_csv(results / "surface.csv")
    assert found["intervention"].to_list() == list(BASELINES) and found["best"].sum() == 1
    assert set(pl.read_csv(results / "cues.csv")["rival"]) == {*BASELINES, "zero_shot"}
    assert "Surface baselines" in (results / "report.html").read_text(encoding="utf-8")
    assert project.jobs() == {}

    module = project.folder / "genies/interventions/length.py"
    module.write_text(module.read_text().replace("np.log1p(", "np.sqrt("))
    executed = project.jobs()
    assert set(executed) <= {"surface", "records", *TABLES} and executed["surface"] == 1
