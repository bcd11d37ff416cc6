"""A model from a hub, and a cache and results on another disk: the real workflow in miniature."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import save_model
from hub import COMMIT, Hub, Repository
from project import Project

from genies.cli import main
from genies.files import read_json

MEMORY = Path("/dev/shm")
"""A disk of its own on Linux."""


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """A folder on another disk than the project's, where there is one."""
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, scratch: Path) -> Project:
    """A project that has run once, on a hub's model, and whose folders but resources are on the other disk."""
    project = Project(tmp_path_factory.mktemp("elsewhere"))
    remote = save_model(tmp_path_factory.mktemp("remote") / "tiny", "llama")
    project.config |= {
        "models": ["owner/tiny"],
        "interventions": ["random", "mms", "lora"],
        "intervention_parameters": {"lora": {"rank": 2, "steps": 2, "pairs_per_step": 2}},
        "folders": {"cache": str(scratch / "cache"), "results": str(scratch / "results")},
    }
    with Hub({"owner/tiny": Repository(remote)}) as hub, pytest.MonkeyPatch.context() as patched:
        for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING"))]:
            patched.delenv(name)
        for name, value in {"HF_HOME": str(scratch / "hf"), **hub.environment}.items():
            patched.setenv(name, value)
        assert project.run("--until", "model").returncode == 0
        asked = len(hub.requests)
        project.jobs()
        project.requests = (asked, len(hub.requests) - asked)
        project.jobs_again = project.jobs()
    return project


def test_the_model_rule_alone_asks_the_hub(project: Project, scratch: Path) -> None:
    for_the_model, after = project.requests
    assert for_the_model > 0 and after == 0
    manifest = read_json(scratch / "results/mini/models/tiny.json")
    assert manifest["revision"] == COMMIT
    assert Path(manifest["path"]).is_relative_to(scratch / "hf")


def test_nothing_of_cache_and_results_stays_in_the_projects_folder(project: Project, scratch: Path) -> None:
    assert (scratch / "results/mini/report.html").is_file()
    for name in ("tokens", "activations", "interventions"):
        assert any((scratch / "cache" / name).iterdir())
    assert not (project.folder / "cache").exists() and not (project.folder / "results").exists()
    assert not project.jobs_again  # a second run finds nothing to do
    assert main(["cache", "verify", "--cache", str(scratch / "cache"), "--results", str(scratch / "results")]) == 0
