"""Plug-ins: folders with programs after the contract of the published code."""

from __future__ import annotations

from pathlib import Path

from genies.errors import ConfigError

PROGRAMS = ("train.py", "eval.py")


def check_plugin(name: str, folder: Path) -> None:
    """Raise ConfigError unless the folder has the two programs."""
    for program in PROGRAMS:
        if not (folder / program).is_file():
            raise ConfigError(
                f"plugins: {name}: {(folder / program).absolute()} not found; a plug-in has train.py and eval.py"
            )


def program_files(folder: Path) -> list[Path]:
    """Every Python file of a plug-in: an edit of one runs it again. Others it may write itself as it runs."""
    return sorted(folder.rglob("*.py"))
