"""A run with ``limit``, by real Snakemake: every intervention sees the same examples, and names follow the texts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from helpers import write_distribution
from project import Project, executed

from genies.data.distributions import read_split
from genies.data.limit import drawn
from genies.files import read_json
from genies.interventions.registry import load

NAMES = ("north", "south")
PLUGIN = """
import ast, json, pathlib, sys
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
for folder, path in zip(ast.literal_eval(options["--distribution_dirs"]), ast.literal_eval(options["--output_paths"])):
    examples = json.loads((pathlib.Path(folder) / "test.json").read_text())
    count = sum(len(example["responses"]) - 1 for example in examples)
    result = {"eval_accuracy": 1.0, "eval_probabilities": [0.9] * count}
    pathlib.Path(path).write_text(json.dumps(result))
"""
METHODS = ["random", "zero_shot", "few_shot", "mms", "lora", "my_method"]
LIMIT = {"train": 40, "test": 30}
RAISED = {**LIMIT, "distributions": {"south": {"train": 60, "test": 50}}}


@dataclass(frozen=True)
class Finished:
    """A run's results, and the names of stores by (distribution, split) and of fits by (intervention, source)."""

    results: Path
    stores: dict[tuple[str, str], str]
    fits: dict[tuple[str, str], str]

    @classmethod
    def of(cls, results: Path) -> Finished:
        stores = read_json(results / "activations/tiny-llama/0.json")["stores"]
        manifests = [read_json(path) for path in (results / "interventions").rglob("[!.]*.json")]
        return cls(
            results,
            {(store["distribution"], store["split"]): store["digest"] for store in stores},
            {(m["intervention"], source): digest for m in manifests for source, digest in m["fits"].items()},
        )

    def tested(self, target: str) -> dict[str, frozenset[tuple[int, int]]]:
        """Examples and pairs of a target, by the evaluations that have them."""
        files = sorted((self.results / "evaluations").rglob("*.parquet"))
        frames = {f"{file.parent.name} {file.stem}": pl.read_parquet(file).filter(target=target) for file in files}
        return {
            name: frozenset(frame.select("example", "pair").iter_rows()) for name, frame in frames.items() if len(frame)
        }


def chosen(project: Project, name: str, split: str, count: int) -> list[int]:
    return drawn(read_split(project.folder / f"data/{name}/{split}.json"), count, 0)


def pairs(project: Project, name: str, count: int) -> frozenset[tuple[int, int]]:
    """Every pair of the test examples that are drawn."""
    examples = read_split(project.folder / f"data/{name}/test.json")
    return frozenset((e, n) for e in chosen(project, name, "test", count) for n in range(len(examples[e].worse)))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("project"))
    for number, name in enumerate(NAMES):
        shutil.rmtree(project.folder / "data" / name)
        write_distribution(project.folder / "data" / name, train=70, test=70, offset=31 * number)
    (project.folder / "my_plugin").mkdir()
    (project.folder / "my_plugin/train.py").write_text("")
    (project.folder / "my_plugin/eval.py").write_text(PLUGIN)
    project.config |= {
        "interventions": METHODS[:-1],
        "intervention_parameters": {"few_shot": {"shots": 2}, "lora": {"steps": 2, "pairs_per_step": 4, "rank": 2}},
        "capability_interventions": ["mms", "lora"],
        "plugins": {"my_method": "my_plugin"},
        "limit": LIMIT,
    }
    return project


@pytest.fixture(scope="module")
def runs(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Finished, Finished]]:
    """The run, and the same after the limit of ``south`` was raised."""
    executed(project.run("--until", "metrics"))
    first = shutil.copytree(project.folder / "results/mini", tmp_path_factory.mktemp("first") / "mini")
    project.config["limit"] = RAISED
    executed(project.run())
    return Finished.of(first), Finished.of(project.folder / "results/mini")


def test_every_intervention_is_tested_on_the_same_pairs_by_their_index_in_the_file(
    project: Project, runs: tuple[Finished, Finished]
) -> None:
    first, second = runs
    assert {name.split()[0] for name in first.tested("south")} == set(METHODS)
    for run, target, count in ((first, "north", 30), (first, "south", 30), (second, "south", 50)):
        assert set(run.tested(target).values()) == {pairs(project, target, count)}
    indices = chosen(project, "south", "test", 30)
    assert indices != list(range(30)) and set(indices) <= set(chosen(project, "south", "test", 50))


def test_a_raised_limit_renames_what_was_made_of_that_distribution_alone(runs: tuple[Finished, Finished]) -> None:
    first, second = runs
    renamed = {place for place in first.stores if first.stores[place] != second.stores[place]}
    assert renamed == {("south", "train"), ("south", "test")}
    fitted = {fit for fit in first.fits if first.fits[fit] != second.fits[fit]}
    assert {source for _, source in fitted} == {"south"}
    assert {name for name, source in first.fits if source == "north"} == set(METHODS[:-1])
    assert {name for name, _ in fitted} == {"random", "zero_shot", "mms", "lora"}


def test_fits_see_the_training_examples_that_are_drawn(project: Project, runs: tuple[Finished, Finished]) -> None:
    first, _ = runs
    examples = read_split(project.folder / "data/north/train.json")
    wanted = {examples[index].prompt for index in chosen(project, "north", "train", 40)}
    fitted = load(project.folder / "cache/interventions" / first.fits["few_shot", "north"], "few_shot")
    assert len(fitted.examples_) == len(wanted) == 40
    assert all(any(text.startswith(prompt) for prompt in wanted) for text in fitted.examples_)


def test_a_plugin_is_given_the_examples_that_are_drawn(project: Project, runs: tuple[Finished, Finished]) -> None:
    folder = runs[0].results / "plugins/tiny-llama/my_method/north/distributions"
    for name in NAMES:
        for split, count in LIMIT.items():
            examples = read_split(project.folder / f"data/{name}/{split}.json")
            given = read_split(folder / name / f"{split}.json")
            assert given == [examples[index] for index in chosen(project, name, split, count)]


def test_what_was_drawn_of_what_is_recorded_and_shown(runs: tuple[Finished, Finished]) -> None:
    results = runs[1].results
    texts = pl.read_csv(results / "texts.csv").filter(pl.col("intervention").is_null() & pl.col("source").is_null())
    rows = {(name, split): (read, of) for _, name, split, read, of, *_ in texts.iter_rows()}
    assert rows == {
        ("north", "train"): (40, 70), ("north", "test"): (30, 70),
        ("south", "train"): (60, 70), ("south", "test"): (50, 70),
    }  # fmt: skip
    stated = read_json(results / "provenance.json")
    assert stated["configuration"]["limit"] == RAISED
    assert stated["examples"]["south/train"] == {"drawn": 60, "available": 70}
    assert set(stated["examples"]) == {f"{name}/{split}" for name, split in rows}
    page = (results / "report.html").read_text()
    assert (
        page.count("The run reads at most 40 training examples and at most 30 test examples of each distribution") == 2
    )
    assert "180 of the 280 examples in 4 splits" in page


def test_samples_and_counts_are_of_what_was_drawn(project: Project, runs: tuple[Finished, Finished]) -> None:
    results = runs[1].results
    wanted = {name: pairs(project, name, count) for name, count in (("north", 30), ("south", 50))}
    samples = read_json(results / "samples.json")
    assert set(samples) == set(wanted)
    for name, target in samples.items():
        assert {(pair["example"], pair["pair"]) for pair in target["pairs"]} <= wanted[name]
        assert all(None not in pair["verdicts"] for pair in target["pairs"])
    cells = pl.read_csv(results / "cells.csv")
    for name, places in wanted.items():
        assert set(cells.filter(target=name)["test_pairs"]) == {len(places)}


def test_an_unknown_distribution_and_a_sweep_that_asks_for_more_are_refused(project: Project) -> None:
    for change, message in (
        ({"limit": {"distributions": {"nroth": {"train": 4}}}}, "unknown distribution nroth; did you mean north?"),
        ({"limit": LIMIT, "sweep": {"interventions": {"lora": {"rank": [2]}}, "train": 30, "held_out": 20}},
         "limit: 40 training examples of north are fewer than sweep.train + sweep.held_out = 50"),
    ):  # fmt: skip
        before = dict(project.config)
        project.config |= change
        result = project.run("--dry-run")
        project.config = before
        assert result.returncode != 0
        assert message in result.stdout + result.stderr
