"""Every intervention runs through the workflow to the same tables, under both framings, plug-ins and mixtures too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from helpers import save_model, save_reward_model
from project import Project

from genies.data.distributions import read_split
from genies.digests import file_sha256
from genies.files import read_json
from genies.interventions.registry import available

SMALL = {"steps": 2, "pairs_per_step": 4}
INTERVENTIONS = available()
SURFACE = ["bag_of_words", "first_word", "length", "prompt_overlap"]
"""Their rows come last."""
PLUGIN = """
import ast, json, pathlib, sys
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
for folder, path in zip(ast.literal_eval(options["--distribution_dirs"]), ast.literal_eval(options["--output_paths"])):
    examples = json.loads((pathlib.Path(folder) / "test.json").read_text())
    count = sum(len(example["responses"]) - 1 for example in examples)
    result = {"eval_accuracy": 1.0, "eval_probabilities": [0.9] * count}
    pathlib.Path(path).write_text(json.dumps(result))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("project"))
    plugin = project.folder / "my_plugin"
    plugin.mkdir()
    (plugin / "train.py").write_text("")
    (plugin / "eval.py").write_text(PLUGIN)
    save_reward_model(project.folder / "reward-model", context=64)
    save_model(project.folder / "reference-model", "gpt_neox")
    project.config |= {
        "interventions": [*INTERVENTIONS, "own_probe.py"],
        "intervention_parameters": {
            **dict.fromkeys(("lora", "prompt_tuning", "full_finetune"), SMALL),
            "few_shot": {"shots": 2},
            "ccs": {"epochs": 20},
            "mms": {"protocol": "paper"},
            "reward_model": {"model": "./reward-model", "overlong": "shorten"},
            "implicit_reward": {"reference": "./reference-model"},
        },
        "plugins": {"my_method": "my_plugin"},
        "mixtures": {"north_20_west": {"source": "north", "other": "west", "percent": 20}},
    }
    own = Path(__file__).parents[1] / "interventions/own_probe.py"
    (project.folder / "own_probe.py").write_text(own.read_text())
    # Two examples that the model's context cannot hold, and one before which it has no room for two shots.
    for name, split, number, words in (
        ("north", "train", 0, 600),
        ("south", "test", 3, 600),
        ("south", "test", 4, 210),
    ):
        file = project.folder / f"data/{name}/{split}.json"
        examples = json.loads(file.read_text())
        examples[number]["prompt"] = "river " * words + examples[number]["prompt"]
        file.write_text(json.dumps(examples))
    project.shifts = [{"source": "north_20_west", "target": "south", "label": "extreme", "category": "place"}]
    return project


@pytest.fixture(scope="module")
def finished(project: Project) -> Path:
    """Results of a run, moved to where no other run finds them."""
    project.config["run"] = "all"
    result = project.run()
    assert result.returncode == 0, result.stderr
    return (project.folder / "results").rename(project.folder / "finished")


def test_all_interventions_land_in_one_table(finished: Path, project: Project) -> None:
    table = pl.read_csv(finished / "all/generalization_metrics.csv")
    methods = [name for name in INTERVENTIONS if name not in SURFACE]
    assert table["intervention"].to_list() == [*methods, "own_probe", "my_method", *SURFACE]
    assert table["generalization_accuracy"].is_between(0, 1).all()
    assert table["target_tuned_capability_intervention"].unique().to_list() == ["mms"]
    assert table["test_pairs"].n_unique() == 1
    accuracy = dict(zip(table["intervention"], table["generalization_accuracy"], strict=True))
    assert accuracy["my_method"] == 1.0
    assert accuracy["random"] == 0.5


def test_own_code_and_what_the_report_shows_are_bound_by_their_digests(finished: Path, project: Project) -> None:
    stated = read_json(finished / "all/provenance.json")
    own = ("own_probe.py", "my_plugin/eval.py", "my_plugin/train.py")
    assert stated["own_code"] == {name: file_sha256(project.folder / name) for name in own}
    tables = {path.name for path in (finished / "all").glob("*.csv")} - {"costs.csv", "jobs.csv"}
    shown = tables | {"samples.json", "overlap.parquet"}
    assert stated["results"] == {name: file_sha256(finished / "all" / name) for name in shown}


def test_trainings_are_logged_and_their_adapters_kept(finished: Path, project: Project) -> None:
    training = pl.read_csv(finished / "all/training.csv")
    assert set(training["intervention"]) == {"lora", "prompt_tuning", "full_finetune"}
    assert training["step"].max() == SMALL["steps"]
    assert "Training</h2>" in (finished / "all/report.html").read_text()
    manifest = read_json(finished / "all/interventions/tiny-llama/lora/north_20_west.json")
    files = {
        path.name for path in (project.folder / "cache/interventions" / manifest["fits"]["north_20_west"]).iterdir()
    }
    assert files >= {"adapter_model.safetensors", "adapter_config.json"}
    texts = pl.read_csv(finished / "all/texts.csv").filter(pl.col("intervention").is_null())
    assert set(texts["distribution"]) == {"north_20_west", "south"}


def test_overlong_examples_are_left_out_of_every_intervention_alike_and_counted(finished: Path) -> None:
    rows = pl.read_csv(finished / "all/texts.csv")
    left_out = rows.filter(pl.col("left_out") > 0)
    assert left_out.select("distribution", "split", "left_out").rows() == [
        ("north_20_west", "train", 1),
        ("south", "test", 1),
    ]
    drops = rows.filter(pl.col("dropped_shots") > 0)
    assert drops.select("intervention", "distribution").unique().rows() == [("few_shot", "south")]
    own = rows.filter((pl.col("intervention") == "reward_model") & (pl.col("distribution") == "south"))
    assert set(own["shortened"]) == {1}
    examples = {
        frozenset(pl.read_parquet(file).filter(pl.col("target") == "south")["example"])
        for file in finished.rglob("evaluations/*/*/north_20_west.parquet")
    }
    assert examples == {frozenset(range(8)) - {3}}
    assert "2 examples did not fit" in (finished / "all/report.html").read_text()


def run_again(project: Project, interventions: list[str]) -> None:
    """Compute some of the interventions once more, from nothing."""
    shutil.rmtree(project.folder / "cache")
    project.config |= {"interventions": interventions, "plugins": {}}
    result = project.run()
    assert result.returncode == 0, result.stderr


@pytest.mark.torture
def test_the_same_seed_gives_the_same_bytes(finished: Path, project: Project) -> None:
    # Together they read the views that the whole run reads: others would share other rows, and differ in the last bits.
    drawn = ["few_shot", "mms", "lat_stim_2", "ccs", "lora", "prompt_tuning", "full_finetune"]
    run_again(project, drawn)
    files = (finished / "all/evaluations/tiny-llama").rglob("*.parquet")
    evaluations = sorted(path.relative_to(finished) for path in files if path.parent.name in drawn)
    assert len(evaluations) >= len(drawn)
    again = project.folder / "results"
    assert [path for path in evaluations if (finished / path).read_bytes() != (again / path).read_bytes()] == []


@pytest.mark.torture
def test_responses_in_reversed_order_give_the_same_accuracy(finished: Path, project: Project) -> None:
    for file in project.folder.glob("data/*/*.json"):
        examples = json.loads(file.read_text())
        file.write_text(json.dumps([e | {"responses": dict(reversed(e["responses"].items()))} for e in examples]))
    chosen = ["ccs", "cra", "lat_pca", "lat_stim_2", "logistic", "lora", "mms", "reward_model", "zero_shot"]
    run_again(project, chosen)
    before, after = (
        pl.read_csv(folder / "all/generalization_metrics.csv")
        .filter(pl.col("intervention").is_in(chosen))
        .select("intervention", "source", "target", pl.selectors.ends_with("accuracy"), "target_tuned_capability")
        for folder in (finished, project.folder / "results")
    )
    assert before["intervention"].to_list() == chosen
    assert before.equals(after)


@pytest.mark.torture
def test_the_truthfulness_framing_asks_about_two_responses_of_each_example(project: Project) -> None:
    project.config |= {"framing": "truthfulness", "run": "truth", "interventions": ["zero_shot", "cra", "lora"]}
    project.config["plugins"] = {"my_method": "my_plugin"}
    result = project.run()
    assert result.returncode == 0, result.stderr
    table = pl.read_csv(project.folder / "results/truth/generalization_metrics.csv")
    assert table["intervention"].to_list() == ["zero_shot", "cra", "lora", "my_method"]
    # About the best response and a worse one, but for those that are too long.
    questions = 2 * len(read_split(project.folder / "data/south/test.json"))
    texts = pl.read_csv(project.folder / "results/truth/texts.csv").filter(distribution="south", split="test")
    assert texts["examples"][0] == questions
    assert 0 < texts["left_out"][0] < questions
    assert set(table["test_pairs"]) == {questions - texts["left_out"][0]}
