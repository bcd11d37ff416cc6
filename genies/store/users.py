"""Who uses a cache: folders of runs, which are recorded in it, and work that is going on.

``<cache>/users/`` holds a JSON file for each folder of runs, with its absolute path, and a lock that all work shares.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from genies.digests import value_digest
from genies.errors import ConfigError
from genies.files import read_json, unless_read_only, write_json
from genies.locks import held

FOLDER = "users"
LOCK = ".lock"


@contextmanager
def at_work(cache: Path, results: Path | None = None) -> Iterator[None]:
    """Keep ``genies cache gc`` away from the cache while the block runs, and let it know the runs that use it.

    Who may not write to the cache records nothing.

    Args:
        cache: the cache folder.
        results: folder of the runs; None where they are unknown.
    """
    folder = Path(cache) / FOLDER
    with ExitStack() as stack:
        with unless_read_only():
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(folder / LOCK, str(cache), shared=True))
            if results is not None:
                record(cache, results)
        yield


@contextmanager
def alone(cache: Path, without_locks: bool = False) -> Iterator[None]:
    """Keep all work from the cache while the block runs.

    Args:
        cache: the cache folder.
        without_locks: go on where the file system has no locks.

    Raises:
        StoreError: work is going on in it.
        ConfigError: nobody can tell whether it is, for want of locks.
    """
    (Path(cache) / FOLDER).mkdir(parents=True, exist_ok=True)
    busy = f"{cache}: jobs are at work in it, and not all that they made is named yet; wait for their end"
    with held(Path(cache) / FOLDER / LOCK, str(cache), busy=busy) as locks:
        if not locks and not without_locks:
            raise ConfigError(
                f"{cache}: its file system has no locks, so that nobody can tell whether jobs are at work in it; make "
                "sure that none is, and add --without-locks"
            )
        yield


def record(cache: Path, results: Path) -> None:
    """Record a folder of runs as a user of the cache."""
    path = str(Path(results).resolve())
    file = _file(cache, path)
    if not file.exists():
        write_json(file, {"results": path})


def recorded(cache: Path) -> list[Path]:
    """The folders of runs that are recorded, sorted; some may not be there any more."""
    return sorted(Path(read_json(file)["results"]) for file in (Path(cache) / FOLDER).glob("[!.]*.json"))


def refresh(cache: Path, results: Path) -> None:
    """Drop the records of folders that are not there, and record this one if it is."""
    for folder in recorded(cache):
        if not folder.is_dir():
            _file(cache, str(folder)).unlink()
    if Path(results).is_dir():
        record(cache, results)


def _file(cache: Path, results: str) -> Path:
    return Path(cache) / FOLDER / f"{value_digest(results)}.json"
