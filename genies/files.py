"""Files that are whole or absent: written under a temporary name, flushed to the disk, then renamed.

What is being written is locked (flock), so that whoever writes the same thing next can tell the leftovers of a killed
process, which it removes, from the work of a live one. Where the file system has no locks, their age tells.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from genies.digests import value_digest
from genies.errors import REPAIR, ConfigError, StoreError, not_permitted
from genies.locks import lock

PARTIAL = ".partial-"
"""What is not whole has a name that begins so."""
LEFTOVER_SECONDS = 24 * 3600
"""Without locks, what was not written to for so long is a leftover."""


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

    The temporary name keeps the suffixes of ``path``, for writers that look at them. Others may read the file as the
    umask says, even where the writer has put another one, for its owner alone, in its place.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix, suffix = _swept(path), "".join(path.suffixes)
    handle, partial = _claimed(lambda: _new_file(prefix, suffix, path.parent))
    try:
        share(partial)
        yield partial
        share(partial)
        sync_file(partial)
        partial.replace(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)
        os.close(handle)


def share(*files: Path) -> None:
    """Let others read files as the umask says: some libraries make them for their owner alone, and these are shared."""
    umask = os.umask(0)
    os.umask(umask)
    for file in files:
        file.chmod(0o666 & ~umask)


@contextmanager
def partial_folder(destination: Path) -> Iterator[Path]:
    """A temporary folder beside ``destination``, for what is to go there; it is removed at the end."""
    destination = Path(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    prefix = _swept(destination)
    handle, folder = _claimed(lambda: tempfile.mkdtemp(prefix=prefix, dir=destination.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
        os.close(handle)


def _claimed(make: Callable[[], str]) -> tuple[int, Path]:
    """A new file or folder with our lock on it: its descriptor and its path.

    Until the lock is ours, another writer of the same target takes it for a leftover and may sweep it away.
    """
    while True:
        path = Path(make())
        with suppress(FileNotFoundError):
            handle = os.open(path, os.O_RDONLY)
            lock(handle, wait=True)
            if path.exists():
                return handle, path
            os.close(handle)


def _new_file(prefix: str, suffix: str, folder: Path) -> str:
    handle, name = tempfile.mkstemp(suffix, prefix, folder)
    os.close(handle)
    return name


def _swept(target: Path) -> str:
    """The beginning of temporary names for ``target``, after removing what killed processes left under such names.

    What another user left, and we may not open or remove, stays.
    """
    prefix = f"{PARTIAL}{hashlib.sha256(target.name.encode()).hexdigest()[:12]}-"
    for leftover in target.parent.glob(f"{prefix}*"):
        with suppress(FileNotFoundError, PermissionError):
            handle = os.open(leftover, os.O_RDONLY)
            try:
                ours = lock(handle)
                if ours or (ours is None and _is_old(leftover)):
                    shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
            finally:
                os.close(handle)
    return prefix


def _is_old(leftover: Path) -> bool:
    """Whether nothing was written to a file, or within a folder, for ``LEFTOVER_SECONDS``."""
    newest = max(path.stat().st_mtime for path in (leftover, *leftover.rglob("*")))
    return time.time() - newest > LEFTOVER_SECONDS


@contextmanager
def filled_folder(destination: Path, last: str) -> Iterator[Path]:
    """A folder to write files in, which then go into ``destination`` one by one, ``last`` being the last.

    A folder with that file is whole; where the block fails, nothing has moved.
    """
    destination.mkdir(parents=True, exist_ok=True)
    with partial_folder(destination) as folder:
        yield folder
        for file in sorted(folder.iterdir(), key=lambda file: file.name == last):
            sync_file(file)
            shutil.move(file, destination / file.name)
    sync_folder(destination)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON with sorted keys (equal values give equal bytes). NaN raises ValueError."""
    text = _json_text(value)
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _json_text(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def read_json(path: Path, *keys: str) -> Any:
    """Read a JSON file that this project wrote and that Snakemake knows, such as a manifest.

    Args:
        path: the file.
        keys: those that it has, being an object.

    Raises:
        StoreError: the file is missing, is not JSON, or lacks a key.
    """
    try:
        if not Path(path).is_file() and Path(path).exists():
            raise StoreError(f"{path}: not a regular file; delete it and run snakemake again")
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(f"{path}: file not found; run snakemake again to make it") from None
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path}: damaged ({error}); delete it and run snakemake again") from None
    if keys and not (isinstance(value, dict) and value.keys() >= set(keys)):
        raise StoreError(f"{path}: not a file of genies with {', '.join(keys)}; delete it and run snakemake again")
    return value


def results_folder(folder: Path) -> Path:
    """The folder of a run's results, as it was given.

    Raises:
        ConfigError: it is no folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; give that of a run's results, such as results/genies15")
    return folder


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object together with its own checksum, under the key ``seal``."""
    write_json(path, {**value, "seal": value_digest(dict(value))})


def read_sealed(path: Path) -> dict[str, Any]:
    """Read what ``write_sealed`` wrote, without the seal. Such files lie in the cache, unknown to Snakemake.

    Raises:
        StoreError: the file is missing or is not, byte for byte, what was written.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise StoreError(f"{path}: missing; {REPAIR}") from None
    with suppress(ValueError):  # not JSON; or NaN, which no file of ours holds and which has no digest
        value = json.loads(content)
        if isinstance(value, dict):
            whole = _json_text(value).encode() == content
            if value.pop("seal", None) == value_digest(value) and whole:
                return value
    raise StoreError(f"{path}: damaged; {REPAIR}")


@contextmanager
def unless_read_only() -> Iterator[None]:
    """Leave the rest of the block out where a folder cannot be written to."""
    try:
        yield
    except OSError as error:
        if not not_permitted(error):
            raise


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
