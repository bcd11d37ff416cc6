"""What directions change in the model, through the real workflow."""

from __future__ import annotations

import polars as pl
from project import Project

AGAIN = ("metrics", "provenance", "details", "report")


def test_trying_directions_is_one_job_of_a_model_and_changes_no_result(project: Project) -> None:
    results = project.folder / "results/mini"
    assert not len(pl.read_csv(results / "causal.csv")) and not (results / "causal").exists()
    project.config["causal"] = {"texts": 8, "strengths": [2, 0.5], "draws": 19}
    refused = project.run("-n")
    assert refused.returncode
    assert "causal: no intervention of the run reads the layers" in refused.stdout + refused.stderr
    project.config["causal"] = None
    project.config["interventions"] = [*project.config["interventions"], "lat_stim_1"]
    assert "causal" not in project.jobs()
    metrics = (results / "generalization_metrics.csv").read_bytes()
    kept = [project.folder / "cache" / kind for kind in ("tokens", "activations", "interventions")]
    cached = {path for folder in kept for path in folder.rglob("*")}

    project.config["causal"] = {"texts": 8, "strengths": [2, 0.5], "draws": 19}
    assert project.jobs() == {"causal": 1, **dict.fromkeys(AGAIN, 1)}
    assert (results / "generalization_metrics.csv").read_bytes() == metrics
    assert {path for folder in kept for path in folder.rglob("*")} == cached
    found = pl.read_csv(results / "causal.csv")
    assert found.select("source", "target", "change", "strength").rows() == [
        ("north", target, change, strength)
        for target in ("north", "south")
        for change, strength in (("erased", None), ("added", 0.5), ("added", 2.0))
    ]
    assert (found["texts"] == 8).all() and found["p"].is_between(0.05, 1).all()
    assert found.filter(pl.col("low") <= pl.col("effect"), pl.col("high") >= pl.col("effect")).equals(found)
    page = (results / "report.html").read_text()
    assert "Does the model use it?" in page and 'id="figure-causal-0"' in page
    assert project.jobs() == {}
