"""A project that has run once, which several tests copy and change."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from helpers import write_distribution
from project import Project, shared_folder

from genies.config.load import load_config
from genies.plan import Plan

ONCE = ("model", "tokenize", "extract", "surface", "overlap", "metrics", "details", "provenance", "report")


def copied(project: Project, folder: Path) -> Project:
    """A copy of a project, times kept."""
    copy = Project.__new__(Project)
    copy.folder = folder
    shutil.copytree(project.folder, copy.folder)
    copy.config, copy.shifts = json.loads(json.dumps(project.config)), json.loads(json.dumps(project.shifts))
    return copy


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has run once, for all workers of pytest-xdist; a copy."""
    state = shared_folder() / "finished.json"
    with FileLock(shared_folder() / "finished.lock"):
        if not state.exists():
            project = Project(Path(tempfile.mkdtemp(prefix="finished-", dir=shared_folder())))
            executed = project.jobs()
            # Chance is no probe: it reads nothing, and has its place among the surface baselines.
            assert executed == dict.fromkeys((*ONCE, "probe:zero_shot", "probe:mms"), 1)
            assert project.forward_passes() > 0
            state.write_text(json.dumps([str(project.folder), project.config, project.shifts]))
    project = Project.__new__(Project)
    folder, project.config, project.shifts = json.loads(state.read_text())
    project.folder = Path(folder)
    return copied(project, tmp_path_factory.mktemp("finished") / "project")


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project, times kept."""
    return copied(finished, tmp_path / "project")


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    """Plans a run of mms from north to south with further options; its files are in the current folder."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("north", "south")):
        write_distribution(tmp_path / name, offset=31 * number)
    (tmp_path / "tiny").mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (tmp_path / "tiny" / name).write_text("{}")
    (tmp_path / "shifts.yaml").write_text("[{source: north, target: south}]")
    common = {"run": "run", "models": ["tiny"], "distributions": ["north", "south"], "shifts": ["shifts.yaml"],
              "interventions": ["mms"], "capability_interventions": []}  # fmt: skip

    def plan(**more: Any) -> Plan:
        return Plan(load_config({**common, **more}))

    return plan
