"""Programs of other users."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from project import HANG_SECONDS, warm_program

NOBODY, SOMEBODY = 65534, 65533

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


def start(folder: Path, *words: str, user: int = 0, umask: str = "022", kills: int = 0) -> subprocess.Popen[str]:
    """Start ``as_user.py`` in a folder."""
    program = Path(__file__).with_name("as_user.py")
    return subprocess.Popen(
        [sys.executable, str(program), str(user), umask, str(kills), *words],
        cwd=folder, env={**warm_program(program), "HOME": str(folder)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def ended(program: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end of a program; its exit status, and the errors that it printed."""
    _, errors = program.communicate(timeout=HANG_SECONDS)
    return program.returncode, errors


def killed(program: subprocess.Popen[str]) -> int:
    """Wait for the end of a program, which must be a good one; how many of its forks were killed."""
    output, errors = program.communicate(timeout=HANG_SECONDS)
    assert program.returncode == 0, errors
    return int(re.findall(r"^\d+$", output, re.MULTILINE)[0])


def modes(folder: Path) -> dict[str, int]:
    """Permissions of everything below a folder, but for locks, by path."""
    return {
        str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode)
        for path in sorted(folder.rglob("*"))
        if not {".locks", ".lock"} & set(path.relative_to(folder).parts)
    }
