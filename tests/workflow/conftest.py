"""A project that has run once, which several tests copy and change."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock
from project import Project, shared_folder

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
