"""Files that are whole or absent: written under a temporary name, flushed to the disk, then renamed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genies.errors import StoreError


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename within it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Flush a closed file's bytes to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is flushed and renamed to ``path``, else removed.

    The temporary name keeps the suffixes of ``path``, for writers that look at them.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".partial-", suffix="".join(path.suffixes), dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        # mkstemp makes files that only their owner can read; results are made to be shared.
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o666 & ~umask)
        yield partial
        sync_file(partial)
        partial.replace(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def filled_folder(destination: Path, last: str) -> Iterator[Path]:
    """A folder to write files in, which then go into ``destination`` one by one, ``last`` being the last.

    A folder with that file is whole; where the block fails, nothing has moved.
    """
    destination.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=destination.parent) as folder:
        yield Path(folder)
        for file in sorted(Path(folder).iterdir(), key=lambda file: file.name == last):
            sync_file(file)
            shutil.move(file, destination / file.name)
    sync_folder(destination)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON with sorted keys (equal values give equal bytes). NaN raises ValueError."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file that this project wrote.

    Raises:
        StoreError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{path}: file not found; run snakemake again to make it") from None
    except ValueError as error:
        raise StoreError(f"{path}: damaged ({error}); delete it and run snakemake again") from None
