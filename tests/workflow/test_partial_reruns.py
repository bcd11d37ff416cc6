"""What runs again after an edit: the table of docs/reruns.md, a test per row, by real Snakemake."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from helpers import save_model
from project import REPOSITORY, Project

Edit = Callable[[Project], None]


@dataclass(frozen=True)
class Row:
    """A row of the table: an edit, the jobs that it starts, and what they find to compute.

    Attributes:
        edit: what a user does.
        jobs: names of jobs that run, besides those of ``rest``.
        rest: which of the jobs behind them run too.
        stores: (distribution, split, view) of the activations that are computed; those before stay.
        fits: how many fits are computed; the others are in the cache.
        before: what the run, made anew from nothing, was before that edit.
    """

    edit: Edit
    jobs: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()
    stores: frozenset[tuple[str, str, str]] = frozenset()
    fits: int = 0
    before: Edit | None = None


PROBES = ("surface", "probe:zero_shot", "probe:mms")
TABLES = ("metrics", "details", "provenance", "report")


def config(**changes: object) -> Edit:
    return lambda project: project.config.update(changes)


def parameter(project: Project) -> None:
    project.config["intervention_parameters"] = {"mms": {"kept": 4}}


def code(name: str) -> Edit:
    def edit(project: Project) -> None:
        file = project.folder / name
        file.write_text(file.read_text() + "\nEDITED = True\n")

    return edit


def comment(name: str) -> Edit:
    def edit(project: Project) -> None:
        file = project.folder / name
        file.write_text("# A remark.\n" + file.read_text())

    return edit


def example(split: str) -> Edit:
    def edit(project: Project) -> None:
        file = project.folder / f"data/south/{split}.json"
        examples = json.loads(file.read_text())
        file.write_text(json.dumps([*examples, {**examples[0], "prompt": "What is Peru ?\n"}]))

    return edit


def shift(source: str, target: str) -> Edit:
    return lambda project: project.shifts.append({"source": source, "target": target})


def interventions(*names: str) -> Edit:
    return lambda project: project.config["interventions"].extend(names)


def model(project: Project) -> None:
    save_model(project.folder / "second-model", "gpt_neox")
    project.config["models"] = ["tiny-llama", "second-model"]


def costs(project: Project) -> None:
    file = project.folder / "results/mini/costs.csv"
    header, first, *others = file.read_text().splitlines(keepends=True)
    file.write_text("".join([header, *others, first]))


def template(project: Project) -> None:
    file = project.folder / "genies/data/views.yaml"
    text = file.read_text()
    assert text.count("The probability that") == 1
    file.write_text(text.replace("The probability that", "It is likely that"))


def stores(*names: str) -> frozenset[tuple[str, str, str]]:
    return frozenset(tuple(name.split()) for name in names)


PLAIN = stores("north train plain", "south train plain", "north test plain", "south test plain")
ROWS = {
    "nothing": Row(lambda project: None),
    "a comment or a docstring, in the package or in a rule": Row(
        lambda project: [
            comment(name)(project) for name in ("genies/interventions/mms.py", "workflow/rules/activations.smk")
        ]
    ),
    "the report's code": Row(code("genies/report/page.py"), rest=("report",)),
    "what `costs.csv` states": Row(costs, rest=("report",)),
    "the evaluation's code": Row(code("genies/evaluation/judge.py"), PROBES, TABLES),
    "an intervention's code": Row(code("genies/interventions/mms.py"), ("probe:mms",), TABLES, fits=2),
    "an intervention's parameter": Row(parameter, ("probe:mms",), TABLES, fits=2),
    "a new intervention on features that are stored": Row(
        interventions("lat_pca"),
        ("probe:lat_pca",),
        TABLES,
        fits=2,
        before=interventions("lat_stim_1"),
    ),
    "a new intervention with further features": Row(
        interventions("lat_stim_1"),
        ("extract", *PROBES, "probe:lat_stim_1"),
        TABLES,
        PLAIN,
        fits=2,
    ),
    "a new intervention with further views": Row(
        interventions("lat_stim_2"),
        ("tokenize", "extract", *PROBES, "probe:lat_stim_2"),
        TABLES,
        stores(
            "north train lat_template", "south train lat_template", "north test lat_template", "south test lat_template"
        ),
        fits=2,
    ),
    "a new shift between known distributions, of which one is fitted on already": Row(
        shift("south", "north"),
        ("overlap", *PROBES),
        TABLES,
    ),
    "a new shift from a distribution that was only tested on (as it is where no capability is asked for)": Row(
        shift("south", "north"),
        ("overlap", "tokenize", "extract", *PROBES),
        TABLES,
        stores("south train plain"),
        fits=3,
        before=config(capability_interventions=[]),
    ),
    "a new shift to a new distribution": Row(
        shift("north", "west"),
        ("overlap", "tokenize", "extract", *PROBES),
        TABLES,
        stores("west train plain", "west test plain"),
        fits=3,
    ),
    "a test split": Row(
        example("test"), ("overlap", "tokenize", "extract", *PROBES), TABLES, stores("south test plain")
    ),
    "a training split": Row(
        example("train"), ("overlap", "tokenize", "extract", *PROBES), TABLES, stores("south train plain"), fits=3
    ),
    "the limit of one distribution": Row(
        config(limit={"distributions": {"south": {"train": 10, "test": 5}}}),
        ("overlap", "tokenize", "extract", *PROBES),
        TABLES,
        fits=3,
    ),
    "a new model": Row(model, ("model", "tokenize", "extract", *PROBES), TABLES, PLAIN, fits=2),
    "the seed": Row(
        config(seed=1),
        ("overlap", "tokenize", "extract", *PROBES),
        TABLES,
        stores("north train plain", "south train plain"),
        fits=6,
    ),
    "the tokenization's code": Row(
        code("genies/engine/tokenization.py"), ("tokenize", "extract", *PROBES), TABLES, fits=2
    ),
    "the extraction's code": Row(code("genies/engine/decoder.py"), ("extract", *PROBES), TABLES, PLAIN, fits=2),
    "a key of an analysis": Row(config(learning_curves={"sizes": [8], "draws": 2}), ("learning_curves",), TABLES),
    "a view's template that no intervention of the run reads": Row(template),
}


def known_stores(project: Project) -> dict[str, tuple[str, str, str]]:
    folder = project.folder / "cache/activations"
    described = {file.parent.name: json.loads(file.read_text()) for file in folder.glob("*/store.json")}
    return {name: (s["distribution"], s["split"], s["view"]) for name, s in described.items()}


def known_fits(project: Project) -> set[str]:
    return {folder.name for folder in (project.folder / "cache/interventions").iterdir() if folder.is_dir()}


EXECUTED = ("an intervention's parameter", "a test split", "the evaluation's code")
"""Rows that every run of the tests executes; the others take minutes, and are executed by ``make torture``."""


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if not row.before])
def test_an_edit_plans_exactly_what_depends_on_it(project: Project, name: str) -> None:
    row = ROWS[name]
    row.edit(project)
    assert project.planned() == dict.fromkeys((*row.jobs, *row.rest), 1)


@pytest.mark.parametrize(
    "name", [name if name in EXECUTED else pytest.param(name, marks=pytest.mark.torture) for name in ROWS]
)
def test_an_edit_runs_exactly_what_depends_on_it(project: Project, name: str) -> None:
    row = ROWS[name]
    if row.before:
        row.before(project)
        for folder in ("cache", "results"):
            shutil.rmtree(project.folder / folder)
        project.jobs()
    stores_before, fits_before = known_stores(project), known_fits(project)
    row.edit(project)
    # Of these, the test above has the report in the plan; to draw it takes longer than the other jobs.
    left_out = ("report",) if name in EXECUTED else ()
    executed = project.jobs(*(("--omit-from", *left_out) if left_out else ()))
    assert executed == dict.fromkeys([job for job in (*row.jobs, *row.rest) if job not in left_out], 1)
    after = known_stores(project)
    assert set(stores_before) <= set(after)
    assert {after[store] for store in set(after) - set(stores_before)} == row.stores
    assert len(known_fits(project) - fits_before) == row.fits


def test_editing_the_template_of_a_view_extracts_that_view_alone(project: Project) -> None:
    interventions("lat_stim_2")(project)
    project.jobs("--until", "probe")
    before, fits = known_stores(project), known_fits(project)
    template(project)
    executed = project.jobs("--until", "probe")
    assert executed["tokenize"] == executed["extract"] == executed["probe:lat_stim_2"] == 1
    after = known_stores(project)
    assert {after[store][2] for store in set(after) - set(before)} == {"lat_template"}
    assert len(known_fits(project) - fits) == 2


def test_few_labels_run_again_for_sources_with_other_shifts_and_for_all_where_anything_is_extracted(
    project: Project,
) -> None:
    project.config["few_labels"] = {"counts": [1], "draws": 2}
    shift("south", "west")(project)
    project.jobs("--until", "few_labels")
    assert project.planned()["few_labels"] == 0
    shift("west", "north")(project)
    planned = project.planned()
    assert (planned["extract"], planned["few_labels"]) == (0, 1)
    project.shifts.pop()
    file = project.folder / "data/west/train.json"
    file.write_text(json.dumps(json.loads(file.read_text())[1:]))
    planned = project.planned()
    assert (planned["extract"], planned["few_labels"]) == (1, 2)


def test_the_page_has_these_rows() -> None:
    page = (REPOSITORY / "docs/reruns.md").read_text(encoding="utf-8")
    table = page.split("## What runs again after a change")[1].split("##")[0]
    edits = re.findall(r"^\| ([^|-]+?) \|", table, re.MULTILINE)
    assert edits[1:] == [*ROWS, "a view's template"]
