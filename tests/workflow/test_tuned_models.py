"""A reward model that the run trains is one of its models, and one that it scores with; by real Snakemake."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from project import Project

from genies.config.load import load_config
from genies.errors import ConfigError
from genies.plan import Plan

LORA = {"steps": 2, "pairs_per_step": 4, "rank": 2, "learning_rate": 1e-2}
ONCE = ("merge", "merge_reward", "tokenize", "extract", "probe:mms", "tune:lora", "tune:reward_model")


def configured(project: Project) -> Project:
    project.config |= {
        "interventions": ["random", "mms", "lora", "reward_model"],
        "capability_interventions": ["mms"],
        "intervention_parameters": {"lora": dict(LORA), "reward_model": {"model": "north_lora"}},
        "tuned_models": {"north_lora": {"intervention": "lora", "source": "north", "interventions": ["mms"]}},
    }
    return project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return configured(Project(tmp_path_factory.mktemp("tuned")))


def manifest(project: Project, name: str) -> dict:
    return json.loads((project.folder / "results/mini" / name).read_text())


def test_the_run_trains_it_makes_it_a_model_and_probes_and_scores_it(project: Project) -> None:
    jobs = project.jobs()
    assert {name: jobs[name] for name in ("model", "merge", "merge_reward")} == dict.fromkeys(
        ("model", "merge", "merge_reward"), 1
    )
    assert (jobs["tokenize"], jobs["extract"], jobs["probe:mms"], jobs["surface"]) == (2, 2, 2, 1)
    tuned, reward = manifest(project, "models/north_lora.json"), manifest(project, "models/rewards/north_lora.json")
    (fit,) = manifest(project, "interventions/tiny-llama/lora/north.json")["fits"].values()
    assert tuned["fit"] == reward["fit"] == fit and tuned["path"] != reward["path"]
    base = manifest(project, "models/tiny-llama.json")
    assert tuned["adapter"]["weights_digest"] == base["weights_digest"]
    cells = pl.read_csv(project.folder / "results/mini/cells.csv")
    assert set(cells.filter(model="north_lora")["intervention"]) == {"mms"}
    # The merged model gives the rewards that the trained one gave.
    scores = {
        name: pl.read_parquet(project.folder / f"results/mini/evaluations/tiny-llama/{name}/north.parquet")
        for name in ("lora", "reward_model")
    }
    difference = (scores["lora"]["score_best"] - scores["reward_model"]["score_best"]).abs().max()
    assert difference < 1e-5 and scores["lora"]["score_best"].std() > 1e-3
    print(f"largest difference between lora and its merged model: {difference:.2g}")
    assert "north_lora" in (project.folder / "results/mini/report.html").read_text()
    (row,) = pl.read_csv(project.folder / "results/mini/moved.csv").iter_rows(named=True)
    accuracies = dict(
        cells.filter(intervention="mms", source="north", target="south").select("model", "accuracy").rows()
    )
    assert (row["model"], row["base"], row["intervention"]) == ("north_lora", "tiny-llama", "mms")
    assert (row["before"], row["after"]) == (accuracies["tiny-llama"], accuracies["north_lora"])
    assert row["rival"] is None and -1 <= row["score_correlation"] < 1
    assert not project.planned()


def test_what_does_not_concern_it_runs_nothing_of_it_again(project: Project) -> None:
    project.config["intervention_parameters"]["mms"] = {"split_seed": 5}
    planned = project.planned()
    del project.config["intervention_parameters"]["mms"]
    assert planned["probe:mms"] == 2
    assert not ({"model", *ONCE} - {"probe:mms"}) & set(planned)
    comment = project.folder / "genies/stages/merge.py"
    comment.write_text(comment.read_text() + "# nothing\n")
    assert not project.planned()


def test_another_training_parameter_trains_merges_and_extracts_again(project: Project) -> None:
    before = manifest(project, "models/north_lora.json")
    project.config["intervention_parameters"]["lora"]["steps"] = 3
    jobs = project.jobs("--omit-from", "report")
    assert {name: jobs[name] for name in ONCE} == dict.fromkeys(ONCE, 1)
    assert not {"model", "surface"} & set(jobs)
    after = manifest(project, "models/north_lora.json")
    assert after["fit"] != before["fit"] and after["path"] != before["path"]
    assert project.planned() == {"report": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"intervention": "mms"}, "north_lora: the run trains no adapter with an intervention mms; it has lora"),
        ({"source": "nroth"}, "north_lora: nroth is no source of the run; did you mean north?"),
        ({"model": "tiny-lama"}, "north_lora: the run has no model tiny-lama; did you mean tiny-llama?"),
        ({"interventions": ["lora"]}, "north_lora: lora is no intervention of the run that reads features"),
    ],
)
def test_what_cannot_be_a_tuned_model_is_refused_in_one_line(
    change: dict, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = configured(Project(tmp_path / "project"))
    project.config["tuned_models"]["north_lora"] |= change
    project.write_config()
    monkeypatch.chdir(project.folder)
    with pytest.raises(ConfigError) as refused:
        Plan(load_config(project.config))
    assert message in str(refused.value) and "\n" not in str(refused.value)
