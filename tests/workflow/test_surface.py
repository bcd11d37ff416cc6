"""Surface baselines through the real workflow."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from project import Project

from genies.commands.audit import audit

BASELINES = ("length", "bag_of_words", "first_word", "prompt_overlap")
OWN_RULE = Path(__file__).parents[1] / "interventions/own_rule.py"
TABLES = ("metrics", "details", "provenance", "report")


def test_surface_baselines_take_one_job_and_have_no_place_in_rankings(project: Project) -> None:
    results = project.folder / "results/mini"
    ranked = {name: (results / name).read_bytes() for name in ("leaderboard.csv", "comparisons.csv")}
    names = [*BASELINES, "own_rule"]
    project.config["interventions"] += [*BASELINES, str(OWN_RULE)]
    executed = project.jobs()
    assert executed == dict.fromkeys(("surface", *TABLES), 1)
    assert {name: (results / name).read_bytes() for name in ranked} == ranked
    metrics = pl.read_csv(results / "generalization_metrics.csv")
    assert metrics["intervention"].to_list() == ["random", "zero_shot", "mms", *names]
    found = pl.read_csv(results / "surface.csv")
    assert found["intervention"].to_list() == names and found["best"].sum() == 1
    assert set(pl.read_csv(results / "cues.csv")["rival"]) == {*names, "zero_shot"}
    assert "Surface baselines" in (results / "report.html").read_text(encoding="utf-8")
    assert project.jobs() == {}

    module = project.folder / "genies/interventions/length.py"
    module.write_text(module.read_text().replace("np.log1p(", "np.sqrt("))
    executed = project.jobs("--omit-from", "report")
    assert set(executed) <= {"surface", *TABLES} and executed["surface"] == 1


def test_an_ensemble_of_surface_baselines_is_one_and_a_mixed_one_is_a_method(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.config["interventions"] += ["length", "bag_of_words"]
    project.config["ensembles"] = {
        "counted": {"members": ["length", "bag_of_words"]},
        "mixed": {"members": ["mms", "length"]},
    }
    # On the source and on the reference, where baselines and probes are fitted.
    ensembles = [f"ensemble_on_references:{name}" for name in ("counted", "mixed")]
    executed = project.jobs("--omit-from", "report")
    assert executed == dict.fromkeys(("surface", *ensembles, *TABLES[:-1]), 1)
    results = project.folder / "results/mini"
    leaderboard = pl.read_csv(results / "leaderboard.csv", infer_schema_length=None)
    assert set(leaderboard["intervention"]) == {"random", "zero_shot", "mms", "mixed"}
    found = pl.read_csv(results / "surface.csv")
    assert found["intervention"].to_list() == ["length", "bag_of_words", "counted"]
    metrics = pl.read_csv(results / "generalization_metrics.csv")
    assert set(metrics["intervention"]) == {*leaderboard["intervention"], *found["intervention"]}
    assert project.planned() == {"report": 1}
    # An ensemble says nothing of a label that its members do not say: mms alone is counted.
    monkeypatch.chdir(project.folder)
    audit(results, most=3)
    assert set(pl.read_csv(results / "audit.csv")["fits"]) == {1}
