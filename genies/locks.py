"""Locks of the file system (flock): how jobs, users and machines keep out of each other's way.

Some file systems have none (ENOLCK, EOPNOTSUPP, ENOSYS). Work goes on there without them; what has to be alone says so.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import pwd
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from genies.errors import StoreError

LOCKS = ".locks"
"""Folder of the locks of what lies beside it."""
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)

log = logging.getLogger(__name__)


def lock(handle: int, *, shared: bool = False, wait: bool = False) -> bool | None:
    """Lock an open file or folder. Returns whether the lock is ours now; None where the file system has no locks."""
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        return False if error.errno in _HELD else None
    return True


@contextmanager
def locked(root: Path, names: Sequence[str], what: str, busy: str | None = None) -> Iterator[None]:
    """Be the only writer of what has these names in ``root``; others wait.

    They are locked in the order of their names, so that two jobs with overlapping lists cannot wait for each other.

    Args:
        root: folder of what is locked.
        names: of what is locked.
        what: the same for people; stands in the message of whoever waits.
        busy: the error, instead of waiting, where another process has one of them.

    Raises:
        StoreError: with ``busy``.
    """
    (root / LOCKS).mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for name in sorted(names):
            stack.enter_context(held(root / LOCKS / name, what, busy=busy))
        yield


@contextmanager
def held(file: Path, what: str, *, shared: bool = False, busy: str | None = None) -> Iterator[bool]:
    """Hold the lock of a file, which is made if it is not there. Yields whether the file system has locks.

    Args:
        file: lock file. It says who holds it alone.
        what: what it stands for, for the message of whoever waits.
        shared: whether others may hold it, too, if they share it.
        busy: the error, instead of waiting, where another process holds it.

    Raises:
        StoreError: with ``busy``.
    """
    handle = _opened(file)
    try:
        ours = lock(handle, shared=shared)
        if ours is False and busy:
            raise StoreError(busy)
        if ours is False:
            log.warning("%s: waiting for %s, who works on it", what, _holder(handle))
            ours = lock(handle, shared=shared, wait=True)
        if ours and not shared:
            _sign(handle)
        yield ours is not None
    finally:
        with suppress(OSError):  # children that a fork made would hold it on
            fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _opened(file: Path) -> int:
    """The open file. Every user takes part, whoever was first; who may not write to the folder may read."""
    if file.exists():
        try:
            return os.open(file, os.O_RDWR)
        except OSError:
            return os.open(file, os.O_RDONLY)
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    with suppress(OSError):  # another user was first
        os.fchmod(handle, 0o666)
    return handle


def _sign(handle: int) -> None:
    """Say in the lock file who holds it."""
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{_user()} (process {os.getpid()} on {socket.gethostname()})".encode(), 0)


def _holder(handle: int) -> str:
    return os.pread(handle, 200, 0).decode(errors="replace") or "another process"


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in containers
        return f"user {os.getuid()}"
