"""Errors that users meet. Each message is one line: the file, the record, what is wrong and the remedy."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Of terminals, of lines, and of the direction of writing."""
_FULL_TEXT = re.compile(r"No space left on device|Disk quota exceeded|File too large|errno = 2[78]\b")

REPAIR = "run `genies cache verify --repair` and then snakemake again"
"""What helps against a damaged file in the cache."""


class GeniesError(Exception):
    """Base of every expected failure; the command line prints its message and exits with ``status``."""

    status = 2


class ConfigError(GeniesError):
    """The configuration names something unknown or contradictory."""


class DataError(GeniesError):
    """A distribution, a shift list or an archive breaks its format."""


class ModelError(GeniesError):
    """A model cannot be found, read or used for what was asked."""


class StoreError(GeniesError):
    """A cached artefact is missing, incomplete or damaged."""


class DiskError(GeniesError):
    """The disk has no room for what is to be written."""

    status = 3


class Interrupted(GeniesError):
    """A signal asked the process to end; what was finished is kept."""

    status = 143


def disk_full(error: BaseException) -> DiskError | None:
    """The error to report where a failure, or one behind it, says that the disk or a quota is full; else None.

    Libraries in C and Rust hand the system's words on without its number.
    """
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    for link in chain:
        if getattr(link, "errno", None) in _FULL or _FULL_TEXT.search(str(link)):
            where = f"{name}: " if (name := getattr(link, "filename", None)) else ""
            reason = getattr(link, "strerror", None) or str(link).splitlines()[0]
            return DiskError(f"{where}{reason}; make room, or name another disk under folders, and run snakemake again")
    return None


def not_permitted(error: BaseException) -> StoreError | None:
    """The error to report where a file or folder may not be written or read; else None."""
    if isinstance(error, OSError) and error.errno in _FORBIDDEN and error.filename is not None:
        return StoreError(
            f"{error.filename}: {error.strerror}; ask its owner for the permission, or name another place under folders"
        )
    return None


@contextmanager
def readable(folder: Path, problem: str) -> Iterator[None]:
    """Whatever a model's files make a library raise comes out as a ModelError that names the folder and the problem.

    A full disk is a DiskError; errors that are typed, and a process without memory, stay what they are.
    """
    try:
        yield
    except (GeniesError, MemoryError):
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":
            problem = "memory does not suffice for it; use a larger device, device: balanced, or bfloat16"
        raise disk_full(error) or ModelError(f"{folder}: {problem} ({first_line(error)})") from None


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its type where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def harmless(text: str) -> str:
    """Text from outside without the control characters by which it could command a terminal or break a line.

    They are written as escapes, so that nothing is lost.
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
