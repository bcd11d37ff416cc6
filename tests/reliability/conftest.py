"""A miniature run that several tests damage, interrupt and repair."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import verbs


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder in which every verb has run; its stores have blocks of 16 texts."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("genies.store.blocks.BLOCK_BYTES", 1)
        verbs.make(folder)
    yield folder


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> verbs.Verbs:
    """The verbs, in a copy of that folder as the working directory."""
    shutil.copytree(made, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    monkeypatch.setattr("genies.store.blocks.BLOCK_BYTES", 1)
    return verbs.Verbs()
