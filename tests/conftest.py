"""Fixtures that several tests share."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path

import pytest
import vl_convert
from helpers import FAMILIES, save_model
from hypothesis import settings
from project import SHARED, begin_server, drawn
from warm import collector, compiled, disk, drawings

# Small models are slower with several threads, and tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The same examples in every run, however slow the machine.
settings.register_profile("genies", deadline=None, derandomize=True)
settings.load_profile("genies")


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder that all processes of this run share; the workers of pytest-xdist inherit where it is.

    Where all tests run, the server that most of them need imports its libraries while the workers collect tests.
    """
    if SHARED not in os.environ:
        folder = tempfile.mkdtemp(prefix="genies-")
        Path(folder).chmod(0o755)  # some tests run programs as other users
        os.environ[SHARED] = folder
        config.add_cleanup(lambda: (os.environ.pop(SHARED), shutil.rmtree(folder, ignore_errors=True)))
        if config.args_source is config.ArgsSource.TESTPATHS and config.getoption("numprocesses", None):
            begin_server()


LONGEST = ("workflow", "reliability", "report", "tests", "tuning", "evaluation")
"""Folders of tests, the one whose files take longest first; files of the others take seconds."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first: begun last, it would keep one worker busy while the others wait."""

    def place(item: pytest.Item) -> tuple[bool, int]:
        folder = item.path.parent.name
        return item.path.name != "test_slurm.py", LONGEST.index(folder) if folder in LONGEST else len(LONGEST)

    items.sort(key=place)


@pytest.fixture(autouse=True)
def logging_as_in_a_new_process() -> None:
    """A verb that an earlier test ran in this process sends messages to its own files alone."""
    logger = logging.getLogger("genies")
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


@pytest.fixture(scope="session", autouse=True)
def quick() -> None:
    """What one test has drawn is taken by all others (but see ``drawn_anew``), and no test waits for the disk."""
    drawings.remember(drawn())
    compiled.remember_templates(drawn())
    disk.leave_unflushed()
    collector.look_rarely()


@pytest.fixture
def drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure is drawn when it is asked for, as for users."""
    for name in (*drawings.BYTES, *drawings.TEXTS):
        monkeypatch.setattr(vl_convert, name, getattr(vl_convert, name).__wrapped__)


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of a small random model by family: Llama with grouped heads, and GPT-NeoX."""
    root = tmp_path_factory.mktemp("models")
    return {family: save_model(root / f"tiny-{family.replace('_', '-')}", family) for family in FAMILIES}
