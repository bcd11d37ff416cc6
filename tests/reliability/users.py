"""Programs of another user, as forks of the test process: what that has imported, no other user may read."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

NOBODY, SOMEBODY = 65534, 65533

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


def start(call: Callable[[], object], folder: Path, user: int = 0, umask: int = 0o022) -> BaseProcess:
    """Call a function in a fork, in a folder; its exit status is what the function returns, None being 0."""

    def run() -> None:
        os.umask(umask)
        os.chdir(folder)
        if user:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
        raise SystemExit(call())

    process = get_context("fork").Process(target=run)
    process.start()
    return process


def status(process: BaseProcess) -> int:
    """Wait for the end of a process."""
    process.join(600)
    assert process.exitcode is not None, "not at its end"
    return process.exitcode


def modes(folder: Path) -> dict[str, int]:
    """Permissions of everything below a folder, but for locks, by path."""
    return {
        str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode)
        for path in sorted(folder.rglob("*"))
        if not {".locks", ".lock"} & set(path.relative_to(folder).parts)
    }
