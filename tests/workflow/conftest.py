"""A project that has run once, which several tests copy and change."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from project import Project


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has run once."""
    project = Project(tmp_path_factory.mktemp("project"))
    executed = project.jobs()
    once = ("model", "tokenize", "extract", "overlap", "metrics", "records", "samples", "provenance", "report")
    assert executed == {
        **dict.fromkeys(once, 1),
        **{f"{rule}:{name}": 1 for rule in ("fit", "evaluate") for name in project.config["interventions"]},
    }
    assert project.forward_passes() > 0
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project, times kept."""
    copy = Project.__new__(Project)
    copy.folder = tmp_path / "project"
    shutil.copytree(finished.folder, copy.folder)
    copy.config, copy.shifts = json.loads(json.dumps(finished.config)), json.loads(json.dumps(finished.shifts))
    return copy
