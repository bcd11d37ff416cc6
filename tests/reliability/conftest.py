"""A miniature run that several tests damage, interrupt and repair."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import verbs
from project import made_once


@pytest.fixture(scope="session")
def made() -> Path:
    """Folder in which every verb has run, for all workers of pytest-xdist; its stores have blocks of 16 texts."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("genies.store.blocks.BLOCK_BYTES", 1)
        return made_once("verbs", verbs.make)


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> verbs.Verbs:
    """The verbs, in a copy of that folder as the working directory."""
    shutil.copytree(made, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    monkeypatch.setattr("genies.store.blocks.BLOCK_BYTES", 1)
    return verbs.Verbs()
