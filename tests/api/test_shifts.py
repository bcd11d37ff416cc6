"""Metrics of shifts in one call: the numbers of the stages, over one cache."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import yaml
from helpers import save_model
from polars.testing import assert_frame_equal

import genies
from genies.cli import main
from genies.errors import ConfigError, DataError, GeniesError, ModelError
from genies.evaluation.table import read_csv
from genies.evaluation.tables.generalization_metrics import TABLE as METRICS
from genies.files import read_json
from genies.interventions.mms import MassMeanShift
from genies.interventions.random import Random
from genies.interventions.registry import load_class
from genies.store.cache import KINDS

NORTH_SOUTH = {"source": "north", "target": "south"}
DISTRIBUTIONS = ["data/north", "data/south"]
NAMES = ("north", "south", "west")
VIEWS = {"train": ("no", "plain", "yes"), "test": ("no", "plain", "yes")}
PARAMETERS = {
    "zero_shot": {},
    "mms": {},
    "cra": {},
    "lora": {"steps": 2, "pairs_per_step": 4, "rank": 2},
}


def verbs(run: Path, cache: Path) -> pl.DataFrame:
    """The same run made by the command line, with a cache of its own."""
    model, tokens, activations = (str(run / f"{stage}.json") for stage in ("model", "tokens", "activations"))
    files = {split: [f"data/{name}/{split}.json" for name in NAMES] for split in ("train", "test")}
    views = [part for split in VIEWS for part in (f"--{split}-views", *VIEWS[split])]
    pairs = ["north:north", "north:south", "north:west", "south:south"]
    shifts = run / "shifts.yaml"
    shifts.parent.mkdir()
    shutil.copy("results/python/shifts.yaml", shifts)

    def call(*arguments: str) -> None:
        cached = [] if arguments[0] in ("overlap", "metrics") else ["--cache", str(cache)]
        assert main([*arguments, *cached]) == 0

    trained = ["data/north/train.json", "data/south/train.json"]
    call("model", "tiny", "--output", model)
    read = ("--train", *trained, "--test", *files["test"])
    call("tokenize", "--model", model, *read, *views, "--seed", "3", "--output", tokens)
    call("extract", *NAMES, "--model", model, "--tokens", tokens, *views, "--output", activations)
    for name, own in PARAMETERS.items():
        parameters = json.dumps({"protocol": "corrected", "seed": 3, **own})
        evaluations = str(run / "evaluations" / "tiny" / name)
        if name != "lora":
            fits = str(run / f"{name}.json")
            call("fit", name, "--parameters", parameters, "--train", *trained, "--activations", activations,
                 "--output", fits)  # fmt: skip
            call("evaluate", *pairs, "--fits", fits, "--test", *files["test"], "--activations", activations,
                 "--output", evaluations)  # fmt: skip
            continue
        for source, targets in (("north", NAMES), ("south", ("south",))):
            test = [f"data/{target}/test.json" for target in targets]
            manifest = str(run / "interventions" / "tiny" / name / "groups" / f"{source}.json")
            call("tune", name, *(f"{source}:{target}" for target in targets), "--parameters", parameters,
                 "--model", model, "--tokens", tokens, "--train", f"data/{source}/train.json", "--test", *test,
                 "--output", manifest)  # fmt: skip
            call("gather", manifest, "--output", str(run))
    call("overlap", *pairs, "--train", *trained, "--test", *files["test"], "--seed", "3", "--output", str(run))
    call("metrics", str(run / "evaluations"), "--models", "tiny", "--interventions", *PARAMETERS,
         "--shifts", str(shifts), "--capability", "mms", "lora", "--trained", "lora",
         "--on-references", "mms", "lora", "--seed", "3", "--overlap", str(run / "overlap.parquet"),
         "--output", str(run))  # fmt: skip
    return read_csv(run / "generalization_metrics.csv", METRICS.columns)


def test_numbers_are_those_of_the_verbs(table: pl.DataFrame) -> None:
    made = verbs(Path("by_verbs"), Path("another_cache"))
    assert_frame_equal(table.filter(pl.col("intervention").is_in(list(PARAMETERS))), made, check_exact=True)
    assert made["generalization_accuracy"].n_unique() > 2


def test_a_row_for_every_intervention_and_shift_as_in_the_file(table: pl.DataFrame) -> None:
    assert dict(table.schema) == METRICS.columns
    assert table.select("source", "target", "target_reference").unique().sort("target").rows() == [
        ("north", "south", "south"),
        ("north", "west", "south"),
    ]
    assert table["intervention"].unique(maintain_order=True).to_list()[-3:] == ["own_probe", "few_shot", "lora"]
    assert_frame_equal(read_csv(Path("results/python/generalization_metrics.csv"), METRICS.columns), table)


@pytest.mark.usefixtures("no_model")
def test_a_second_call_loads_no_model(table: pl.DataFrame) -> None:
    config = yaml.safe_load(Path("results/python/config.yaml").read_text())
    settings = {key: value for key, value in config.items() if key not in ("model", "shifts", "interventions", "run")}
    again = genies.evaluate_shifts(
        config["model"], config["interventions"], "results/python/shifts.yaml", run="again", **settings
    )
    assert_frame_equal(again, table, check_exact=True)


@pytest.mark.usefixtures("no_model")
def test_a_limit_above_the_size_of_every_split_gives_the_same_names(table: pl.DataFrame) -> None:
    config = yaml.safe_load(Path("results/python/config.yaml").read_text())
    settings = {key: value for key, value in config.items() if key not in ("model", "shifts", "interventions", "run")}
    before = {path.name for kind in KINDS for path in Path("cache", kind).iterdir()}
    again = genies.evaluate_shifts(
        config["model"], config["interventions"], "results/python/shifts.yaml", run="limited", **settings,
        limit={"train": 1000, "distributions": {"south": {"test": 8}}},
    )  # fmt: skip
    assert_frame_equal(again, table, check_exact=True)
    assert {path.name for kind in KINDS for path in Path("cache", kind).iterdir()} == before


@pytest.mark.usefixtures("no_model")
def test_a_class_an_instance_and_a_name_are_one_intervention(table: pl.DataFrame) -> None:
    given = {
        "by_name": ("mms", {"intervention_parameters": {"mms": {"kept": 3}}}),
        "by_class": (MassMeanShift, {"intervention_parameters": {"mms": {"kept": 3}}}),
        "by_instance": (MassMeanShift(kept=3, seed=0), {}),
        "other": (MassMeanShift(kept=2), {}),
    }
    fits = {}
    for run, (intervention, settings) in given.items():
        genies.evaluate_shifts(
            "tiny", intervention, NORTH_SOUTH, distributions=DISTRIBUTIONS, run=run, seed=3, **settings
        )
        fits[run] = read_json(Path(f"results/{run}/interventions/tiny/mms.json"))["fits"]["north"]
    assert fits["by_name"] == fits["by_class"]
    assert len(set(fits.values())) == 3
    record = read_json(Path("cache/interventions") / fits["by_instance"] / "intervention.json")
    assert (record["parameters"]["kept"], record["parameters"]["seed"]) == (3, 0)


@pytest.mark.usefixtures("no_model", "table")
def test_an_instance_that_spells_its_parameters_out_shares_the_fit_of_a_name() -> None:
    shifts = {"source": "north", "target": "north"}
    genies.evaluate_shifts("tiny", MassMeanShift(seed=3), shifts, distributions=["data/north"], run="spelt", seed=3)
    mine, theirs = (
        read_json(Path(f"results/{run}/interventions/tiny/mms.json"))["fits"]["north"] for run in ("spelt", "python")
    )
    assert mine == theirs


@pytest.mark.usefixtures("no_model", "table")
def test_a_later_call_of_the_same_name_leaves_nothing_of_the_earlier_one() -> None:
    genies.evaluate_shifts("tiny", "random", NORTH_SOUTH, distributions=DISTRIBUTIONS, seed=3)
    assert [path.name for path in Path("results/python/evaluations/tiny").iterdir()] == ["random"]


@pytest.mark.usefixtures("table")
def test_mixtures_and_plugins_run_too() -> None:
    plugin = Path("my_method")
    plugin.mkdir()
    (plugin / "train.py").write_text("")
    (plugin / "eval.py").write_text(
        "import ast, json, pathlib, sys\n"
        "given = dict(zip(sys.argv[1::2], sys.argv[2::2]))\n"
        "for path in ast.literal_eval(given['--output_paths']):\n"
        "    pathlib.Path(path).write_text(json.dumps({'eval_accuracy': 0.75}))\n"
    )
    table = genies.evaluate_shifts(
        "tiny", "zero_shot", genies.Shift("mixed", "south", "south"), distributions=["data/north", "data/south"],
        run="more", plugins={"mine": "my_method"},
        mixtures={"mixed": {"source": "north", "other": "south", "percent": 50}},
    )  # fmt: skip
    assert dict(table.select("intervention", "generalization_accuracy").rows())["mine"] == 0.75
    assert Path("results/more/mixtures/mixed/train.json").is_file()


NOT_IN_A_FILE: dict = {"__name__": "__main__"}
exec(
    "from genies.interventions.random import Random\n\nclass Mine(Random):\n    pass\n",
    NOT_IN_A_FILE,
)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"interventions": "mmss"}, ConfigError, r"intervention 'mmss' is unknown \(near: mms"),
        ({"interventions": ["mms", "absent.py"]}, ConfigError, "absent.py: file not found"),
        ({"interventions": ["mms", MassMeanShift(kept=2)]}, ConfigError, "two of them have the same name"),
        ({"interventions": NOT_IN_A_FILE["Mine"]}, ConfigError, "Mine: is not defined in a file of its own"),
        ({"interventions": [dict]}, ConfigError, "<class 'dict'> is none"),
        ({"distributions": ["data/north"]}, ConfigError, "unknown distribution south"),
        ({"distributions": ["data/north", "elsewhere/south"]}, ConfigError, "elsewhere/south: no such folder"),
        ({"shifts": []}, DataError, "holds no list of shifts"),
        ({"shifts": {"source": "north"}}, DataError, "shifts: entry 0 .* has no target"),
        ({"shifts": "absent.yaml"}, DataError, "absent.yaml: file not found"),
        ({"model": "/absent"}, ModelError, "/absent: model folder not found"),
        ({"sead": 1}, ConfigError, "unknown key sead; did you mean seed"),
        ({"sweep": {"interventions": {"lora": {"steps": [1]}}}}, ConfigError, "snakemake sweep"),
        ({"run": "../else"}, ConfigError, "is not a plain name"),
    ],
)
@pytest.mark.usefixtures("table")
def test_what_cannot_be_done_is_told_in_one_line(changed: dict, error: type[GeniesError], message: str) -> None:
    call = {"model": "tiny", "interventions": Random, "shifts": NORTH_SOUTH, "distributions": DISTRIBUTIONS, **changed}
    with pytest.raises(error, match=message) as caught:
        genies.evaluate_shifts(**call)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("table")
def test_a_run_of_the_workflow_is_not_touched() -> None:
    theirs = Path("results/genies15")
    theirs.mkdir()
    with pytest.raises(ConfigError, match="results/genies15: holds a run of the workflow"):
        genies.evaluate_shifts("tiny", "random", NORTH_SOUTH, distributions=DISTRIBUTIONS, run="genies15")
    assert not list(theirs.iterdir())


def test_a_class_of_an_own_file_runs_from_that_file(table: pl.DataFrame) -> None:
    own = yaml.safe_load(Path("results/python/config.yaml").read_text())["interventions"][-3]
    again = genies.evaluate_shifts(
        "tiny", load_class(own), "results/python/shifts.yaml", run="own", seed=3,
        distributions=[*DISTRIBUTIONS, "data/west"],
    )  # fmt: skip
    column = ["source", "target", "generalization_accuracy", "brier"]
    assert_frame_equal(again.select(column), table.filter(pl.col("intervention") == "own_probe").select(column))


def test_ensembles_and_a_reference_are_part_of_a_call(table: pl.DataFrame) -> None:
    save_model(Path("sft"), "gpt_neox")
    made = genies.evaluate_shifts(
        "tiny",
        ["zero_shot", "mms", "implicit_reward"],
        NORTH_SOUTH,
        distributions=DISTRIBUTIONS,
        run="together",
        capability_interventions=["mms"],
        intervention_parameters={"implicit_reward": {"reference": "sft"}},
        ensembles={"both": {"members": ["mms", "implicit_reward"], "combine": "minimum"}},
        seed=3,
    )
    assert made["intervention"].to_list() == ["zero_shot", "mms", "implicit_reward", "both"]
    assert made["model"].unique().to_list() == ["tiny"]
    # The accuracy is that of the probabilities, and ties, where the members differ, are half right.
    rows = pl.read_parquet("results/together/evaluations/tiny/both/north.parquet").filter(target="south")
    accuracy = made.row(by_predicate=pl.col("intervention") == "both", named=True)["generalization_accuracy"]
    assert accuracy == pytest.approx(((rows["probability"] > 0.5) + 0.5 * (rows["probability"] == 0.5)).mean())
    with pytest.raises(ConfigError, match="compares two models, and new text is scored by one"):
        genies.load_intervention("results/together/interventions/tiny/implicit_reward.json", "tiny", source="north")
