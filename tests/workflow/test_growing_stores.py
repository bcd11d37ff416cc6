"""Stores grow by parts, by real Snakemake: a raised limit adds new examples, a new probe its view or its features."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from helpers import write_distribution
from project import Project, executed, run_to_end

from genies.files import read_json
from genies.store.activations import ActivationStore
from genies.store.manifest import Activations

NAMES = ("north", "south")
MANIFEST = "results/mini/activations/tiny-llama/0.json"
TO_TABLES = ("--until", "metrics")
"""These tests read no page; that of a limit that was raised is tested in ``test_limit.py``."""
RELATIVE, CLOSE = 1e-5, 1e-4


@dataclass(frozen=True)
class State:
    """The parts in a cache, by name: what each says of itself, and when its files were written."""

    parts: dict[str, dict]
    times: dict[str, int]

    @classmethod
    def of(cls, project: Project) -> State:
        files = list((project.folder / "cache/activations").glob("*/store.json"))
        times = {
            str(file): file.stat().st_mtime_ns
            for folder in files
            for file in folder.parent.rglob("*")
            if file.is_file()
        }
        return cls({file.parent.name: read_json(file) for file in files}, times)

    def added(self, before: State) -> dict[tuple[str, str, str], tuple[int, dict]]:
        """Number of examples, and features, of the parts that were added since, by distribution, split and view."""
        assert before.times.items() <= self.times.items()
        new = [part for name, part in self.parts.items() if name not in before.parts]
        found = {
            (part["distribution"], part["split"], part["view"]): (
                len(np.unique(part["example"])), part["digest"]["features"],
            )
            for part in new
        }  # fmt: skip
        assert len(found) == len(new)
        return found


def said(project: Project) -> list[tuple[str, int, int]]:
    """What the last extraction says that it computed: place and views, examples, and of how many."""
    log = (project.folder / "results/mini/logs/extract/tiny-llama/0.log").read_text()
    found = re.findall(r"(\w+ \w+ \([\w, ]+\)): .*; (\d+) of its (\d+) examples", log)
    return [(place, int(count), int(whole)) for place, count, whole in found]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("project"))
    for number, name in enumerate(NAMES):
        shutil.rmtree(project.folder / "data" / name)
        write_distribution(project.folder / "data" / name, train=70, test=70, offset=31 * number)
    project.config |= {"interventions": ["mms", "zero_shot"], "limit": {"train": 40, "test": 40}}
    return project


@pytest.fixture(scope="module")
def states(project: Project) -> Iterator[tuple[State, State, State, list, list]]:
    """At the limit 40; at 60 for ``south``; with ``ccs`` as well. And what the last two extractions said."""
    executed(project.run(*TO_TABLES))
    first = State.of(project)
    project.config["limit"] |= {"distributions": {"south": {"train": 60, "test": 60}}}
    executed(project.run(*TO_TABLES))
    second, grown = State.of(project), said(project)
    project.config["interventions"].append("ccs")
    project.config["intervention_parameters"] = {"ccs": {"epochs": 50, "seeds": 2}}
    executed(project.run(*TO_TABLES))
    return first, second, State.of(project), grown, said(project)


def test_only_what_is_read_is_stored(states: tuple[State, State, State, list, list]) -> None:
    none: dict = {"residual": [], "head_layers": [], "heads": [], "scored": False}
    heads = {"head_layers": [0, 1, 2], "heads": [0, 1, 2, 3]}
    wanted = {"train": none | heads, "test": none | heads | {"scored": True}}
    first = {(p["split"], p["view"]): p["digest"]["features"] for p in states[0].parts.values()}
    assert first == {(split, "plain"): held for split, held in wanted.items()}
    assert len(states[0].parts) == 4


def test_a_raised_limit_computes_the_new_examples_alone(states: tuple[State, State, State, list, list]) -> None:
    first, second, _, grown, _ = states
    added = second.added(first)
    assert {place: count for place, (count, _) in added.items()} == {
        ("south", split, "plain"): 20 for split in ("train", "test")
    }
    assert sorted(grown) == [("south test (plain)", 20, 60), ("south train (plain)", 20, 60)]


def test_a_new_probe_computes_its_views_alone(states: tuple[State, State, State, list, list]) -> None:
    _, second, third, _, grown = states
    final = {"residual": [3], "head_layers": [], "heads": [], "scored": False}
    examples = {"north": 40, "south": 60}
    assert third.added(second) == {
        (name, split, view): (examples[name], final)
        for name in NAMES for split in ("train", "test") for view in ("yes", "no")
    }  # fmt: skip
    assert sorted(grown) == [
        (f"{name} {split} (no, yes)", examples[name], examples[name]) for name in NAMES for split in ("test", "train")
    ]


def test_what_grew_gives_the_tables_of_a_fresh_run(
    project: Project, states: tuple[State, State, State, list, list], tmp_path: Path
) -> None:
    fresh = Project.__new__(Project)
    fresh.folder, fresh.config, fresh.shifts = tmp_path / "fresh", project.config, project.shifts
    shutil.copytree(project.folder, fresh.folder, ignore=shutil.ignore_patterns("cache", "results", ".snakemake"))
    executed(fresh.run(*TO_TABLES))
    assert compare_features(project, fresh) > 0
    close = compare_decisions(project, fresh)
    print(f"{close} pairs with |p − 0.5| < {CLOSE} were not compared")
    metrics = [
        pl.read_csv(each.folder / "results/mini/generalization_metrics.csv").drop("RMS_calibration_error")
        for each in (project, fresh)
    ]
    assert metrics[0].columns == metrics[1].columns
    if not close:
        assert metrics[0]["generalization_accuracy"].to_list() == metrics[1]["generalization_accuracy"].to_list()


def compare_features(grown: Project, fresh: Project) -> int:
    """Compare every value that both have stored. Returns how many texts were compared."""
    a, b = (Activations([each.folder / MANIFEST], each.folder / "cache") for each in (grown, fresh))
    compared = 0
    for name in NAMES:
        for split in ("train", "test"):
            views = a.views(name, split)
            assert views == b.views(name, split) == ["no", "plain", "yes"]
            for view, (one, other) in {
                v: (a.stores(name, split, [v])[v], b.stores(name, split, [v])[v]) for v in views
            }.items():
                assert (one.example == other.example).all() and (one.response == other.response).all()
                assert one.layers("residual") == other.layers("residual")
                pairs = [(one.residual(n), other.residual(n)) for n in one.layers("residual")]
                if view == "plain":
                    pairs += [(one.heads(n), other.heads(n)) for n in one.layers("heads")]
                for x, y in pairs:
                    x, y = (values.reshape(len(values), -1).astype(np.float64) for values in (x, y))
                    assert (np.linalg.norm(x - y, axis=1) <= RELATIVE * np.linalg.norm(y, axis=1)).all()
                compared += len(one.example)
    return compared


def compare_decisions(grown: Project, fresh: Project) -> int:
    """Compare every decision but the close ones. Returns how many those are."""
    close = 0
    files = sorted((grown.folder / "results/mini/evaluations").rglob("*.parquet"))
    assert files
    for file in files:
        keys = ["target", "example", "pair"]
        a, b = (pl.read_parquet(each.folder / file.relative_to(grown.folder)).sort(keys) for each in (grown, fresh))
        assert a.select(keys).equals(b.select(keys))
        p, q = a["probability"].to_numpy(), b["probability"].to_numpy()
        sure = (np.abs(p - 0.5) >= CLOSE) | (p == q)
        close += int((~sure).sum())
        assert ((p > 0.5) == (q > 0.5))[sure].all()
    return close


def test_a_damaged_part_is_found_and_it_alone_is_computed_again(
    project: Project, states: tuple[State, State, State, list, list]
) -> None:
    before = State.of(project)
    name = next(
        name for name, part in states[1].parts.items()
        if name not in states[0].parts and part["split"] == "test"
    )  # fmt: skip
    shard = project.folder / "cache/activations" / name / "data.zarr/heads/c/0/0/0/0"
    content = shard.read_bytes()
    shard.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    found = Activations([project.folder / MANIFEST], project.folder / "cache").stores("south", "test", ["plain"])
    with pytest.raises(Exception, match="does not fit its checksum"):
        found["plain"].heads(0)
    result = run_to_end(
        [sys.executable, "-m", "genies", "cache", "verify", "--repair"], project.folder, project.environment
    )
    assert result.returncode == 2 and name[:12] in result.stdout + result.stderr
    executed(project.run(*TO_TABLES))
    after = State.of(project)
    assert after.parts.keys() == before.parts.keys()
    changed = {Path(file).parts for file in after.times if after.times[file] != before.times.get(file)}
    assert {part for parts in changed for part in parts if part in after.parts} == {name}
    assert shard.read_bytes() == content and ActivationStore(shard.parents[6])
