"""Plug-ins: folders with programs after the contract of the published code."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

from genies.digests import value_digest
from genies.errors import ConfigError
from genies.files import read_json, write_json
from genies.locks import locked

PROGRAMS = ("train.py", "eval.py")
FOLDER = "plugins"
"""Folder of a cache with a record for each plug-in: which files it had before its first run."""

log = logging.getLogger(__name__)


def check_plugin(name: str, folder: Path) -> None:
    """Raise ConfigError unless the folder has the two programs."""
    for program in PROGRAMS:
        if not (folder / program).is_file():
            raise ConfigError(
                f"plugins: {name}: {(folder / program).absolute()} not found; a plug-in has train.py and eval.py"
            )


def program_files(folder: Path, cache: Path) -> list[Path]:
    """Files of a plug-in whose edits run it again.

    These are all that its folder had before its first run, and Python files that came later. Other files that came
    later it may have written itself. Hidden files and Python's caches never count.

    Args:
        folder: the plug-in's.
        cache: the cache folder, which has the record of the first run; before that run, every file counts.
    """
    record = _record(folder, cache)
    present = sorted(file for file in folder.rglob("*") if file.is_file() and _counts(file.relative_to(folder)))
    if not record.is_file():
        return present
    known = set(read_json(record, "files")["files"])
    return [file for file in present if file.suffix == ".py" or file.relative_to(folder).as_posix() in known]


def remember_files(folder: Path, cache: Path) -> None:
    """Record which files a plug-in has, unless that was done before an earlier run."""
    record = _record(folder, cache)
    with locked(record.parent, [record.stem], str(folder)):
        if not record.is_file():
            _write(record, folder, program_files(folder, cache))


def forget_files(folder: Path, cache: Path, written: Collection[Path]) -> None:
    """Strike files from the record that a plug-in has written itself, though they were there before."""
    record = _record(folder, cache)
    with locked(record.parent, [record.stem], str(folder)):
        _write(record, folder, [file for file in program_files(folder, cache) if file not in written])
    for file in sorted(written):
        log.warning("%s: changed while the plug-in ran; if edited again, it does not run the plug-in again", file)


def _counts(file: Path) -> bool:
    return "__pycache__" not in file.parts and not any(part.startswith(".") for part in file.parts)


def _record(folder: Path, cache: Path) -> Path:
    return Path(cache) / FOLDER / f"{value_digest(str(Path(folder).resolve()))}.json"


def _write(record: Path, folder: Path, files: Collection[Path]) -> None:
    names = [file.relative_to(folder).as_posix() for file in files]
    write_json(record, {"folder": str(Path(folder).resolve()), "files": names})
