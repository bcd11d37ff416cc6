"""Files that are whole or absent: written under a temporary name, flushed to the disk, then renamed.

What is being written is locked (flock), so that whoever writes the same thing next can tell the leftovers of a killed
process, which it removes, from the work of a live one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from genies.digests import value_digest
from genies.errors import REPAIR, StoreError

PARTIAL = ".partial-"
"""What is not whole has a name that begins so."""
LOCKS = ".locks"
"""Folder of the locks of what lies beside it."""


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
    prefix, suffix = _swept(path), "".join(path.suffixes)
    handle, partial = _claimed(lambda: _new_file(prefix, suffix, path.parent))
    try:
        share(partial)
        yield partial
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
            _lock(handle, wait=True)
            if path.exists():
                return handle, path
            os.close(handle)


def _new_file(prefix: str, suffix: str, folder: Path) -> str:
    handle, name = tempfile.mkstemp(suffix, prefix, folder)
    os.close(handle)
    return name


def _lock(handle: int, wait: bool = False) -> bool:
    """Whether the lock is now ours. Where a file system has no locks, nothing is."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _swept(target: Path) -> str:
    """The beginning of temporary names for ``target``, after removing what killed processes left under such names."""
    prefix = f"{PARTIAL}{hashlib.sha256(target.name.encode()).hexdigest()[:12]}-"
    for leftover in target.parent.glob(f"{prefix}*"):
        with suppress(FileNotFoundError):
            handle = os.open(leftover, os.O_RDONLY)
            try:
                if _lock(handle):
                    shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
            finally:
                os.close(handle)
    return prefix


@contextmanager
def locked(root: Path, digests: Sequence[str]) -> Iterator[None]:
    """Be the only writer of what has these names in ``root``; a second one waits.

    They are locked in the order of their names, so that two jobs with overlapping lists cannot wait for each other.
    """
    from filelock import FileLock

    (root / LOCKS).mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for digest in sorted(digests):
            stack.enter_context(FileLock(root / LOCKS / digest))
        yield


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
    """Read a JSON file that this project wrote.

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
    except FileNotFoundError:
        raise StoreError(f"{path}: file not found; run snakemake again to make it") from None
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path}: damaged ({error}); delete it and run snakemake again") from None
    if keys and not (isinstance(value, dict) and value.keys() >= set(keys)):
        raise StoreError(f"{path}: not a file of genies with {', '.join(keys)}; delete it and run snakemake again")
    return value


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object together with its own checksum, under the key ``seal``."""
    write_json(path, {**value, "seal": value_digest(dict(value))})


def read_sealed(path: Path) -> dict[str, Any]:
    """Read what ``write_sealed`` wrote, without the seal.

    Raises:
        StoreError: the file is missing or is not, byte for byte, what was written.
    """
    value = read_json(path)
    if isinstance(value, dict):
        with suppress(ValueError):  # NaN, which no file of ours holds, has no digest
            whole = _json_text(value).encode() == Path(path).read_bytes()
            if value.pop("seal", None) == value_digest(value) and whole:
                return value
    raise StoreError(f"{path}: damaged; {REPAIR}")
