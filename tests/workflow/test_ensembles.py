"""Ensembles of a probe, a seed of it and a trained reward model, through the real workflow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from project import Project

from genies.evaluation.evaluations import METADATA

LAST = ("metrics", "details", "provenance", "report")
TRAINED = {"rank": 2, "dropout": 0, "steps": 2, "pairs_per_step": 4}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "project")
    project.config |= {
        "interventions": ["zero_shot", "mms", "lora"],
        "intervention_parameters": {"lora": TRAINED},
        "further_seeds": [1],
        "ensembles": {
            "both": {"members": ["mms", "lora"], "combine": "variance_penalised"},
            "seeds": {"members": ["mms", "mms@1"]},
        },
    }
    return project


def advantages(project: Project, name: str, source: str = "north") -> pl.DataFrame:
    file = project.folder / f"results/mini/evaluations/tiny-llama/{name}/{source}.parquet"
    return pl.read_parquet(file).with_columns(advantage=pl.col("score_best") - pl.col("score_worse"))


def ran(executed: dict[str, int], rule: str) -> dict[str, int]:
    return {name: count for name, count in executed.items() if name.startswith(f"{rule}:")}


def test_ensembles_are_in_the_tables_and_only_what_depends_on_an_edit_runs_again(project: Project) -> None:
    executed = project.jobs()
    # A job for each, on the reference as well where both members are fitted there; lora is fitted on sources alone.
    assert ran(executed, "ensemble") == {"ensemble:both": 1}
    assert ran(executed, "ensemble_on_references") == {"ensemble_on_references:seeds": 1}
    assert len(advantages(project, "seeds", "south")) and len(advantages(project, "seeds"))
    results = project.folder / "results/mini"
    metrics = pl.read_csv(results / "generalization_metrics.csv")
    assert metrics["intervention"].to_list() == ["zero_shot", "mms", "lora", "both", "seeds"]
    row = metrics.row(by_predicate=pl.col("intervention") == "both", named=True)
    assert row["generalization_accuracy_low"] <= row["generalization_accuracy"] <= row["generalization_accuracy_high"]
    leaderboard = pl.read_csv(results / "leaderboard.csv", infer_schema_length=None)
    assert {"both", "seeds"} <= set(leaderboard["intervention"])
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "both" in page and "seeds" in page

    mms, lora, both = (advantages(project, name) for name in ("mms", "lora", "both"))
    z = []
    for member in (mms, lora):
        at_home = member.filter(target="north")["advantage"].to_numpy()
        z.append(member.sort("target", "example", "pair")["advantage"].to_numpy() / np.sqrt(np.mean(at_home**2)))
    mean, penalty = np.mean(z, axis=0), 0.5 * np.var(z, axis=0)
    wanted = np.sign(mean) * np.maximum(0, np.abs(mean) - penalty)
    np.testing.assert_allclose(both.sort("target", "example", "pair")["advantage"].to_numpy(), wanted, atol=1e-12)
    correct = both.filter(target="south")["advantage"].to_numpy()
    assert row["generalization_accuracy"] == pytest.approx(np.mean(0.5 * (1 + np.sign(correct))))
    assert project.jobs() == {}

    # A key of one ensemble: that ensemble, and the tables.
    project.config["ensembles"]["both"]["penalty"] = 0.25
    assert project.planned() == {"ensemble:both": 1, **dict.fromkeys(LAST, 1)}
    assert project.jobs("--until", "ensemble") == {"ensemble:both": 1}
    file = results / "evaluations/tiny-llama/both/north.parquet"
    assert json.loads(pl.read_parquet_metadata(file)[METADATA])["penalty"] == 0.25
    # A further ensemble: that one.
    project.config["ensembles"]["all"] = {"members": ["mms", "lora", "zero_shot"], "combine": "minimum"}
    assert project.planned() == {"ensemble:all": 1, **dict.fromkeys(LAST, 1)}
    assert project.jobs("--until", "metrics") == {"ensemble:all": 1, "metrics": 1}
    assert "all" in pl.read_csv(results / "generalization_metrics.csv")["intervention"].to_list()
    # A member: it, and the ensembles that it is of.
    project.config["intervention_parameters"]["lora"] = {**TRAINED, "steps": 3}
    executed = project.planned()
    assert ran(executed, "ensemble") == {"ensemble:both": 1, "ensemble:all": 1}
    assert ran(executed, "tune") == {"tune:lora": 1, "tune:lora@1": 1}
    assert not ran(executed, "probe") and "extract" not in executed
    project.config["intervention_parameters"]["lora"] = TRAINED
    # The code of what combines.
    code = project.folder / "genies/evaluation/ensembles.py"
    code.write_text(code.read_text() + "\nEDITED = True\n")
    executed = project.planned()
    assert ran(executed, "ensemble") == {"ensemble:both": 1, "ensemble:all": 1}
    assert ran(executed, "ensemble_on_references") == {"ensemble_on_references:seeds": 1}
    assert not ran(executed, "probe") and not ran(executed, "tune") and "extract" not in executed
