"""Work that goes on in a child process, while this one does something else."""

from __future__ import annotations

import multiprocessing
import pickle
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Background(Generic[Result]):
    """What ``work`` returns, computed in a copy of this process; where processes cannot be copied, when asked for.

    The copy has what is imported here. What it changes, this process does not see.
    """

    def __init__(self, work: Callable[[], Result]) -> None:
        """Begin. The result, or what is raised instead, has to be such that pickle can take it along."""
        self._work = work
        self._receiver: Connection | None = None
        # macOS can copy processes, but its own libraries then fail.
        if "fork" in multiprocessing.get_all_start_methods() and sys.platform != "darwin":
            context = multiprocessing.get_context("fork")
            self._receiver, sender = context.Pipe(duplex=False)
            self._child = context.Process(target=_send, args=(work, sender), daemon=True)
            self._child.start()
            sender.close()

    def result(self) -> Result:
        """Wait for the result.

        Raises:
            Exception: what the work raised; or the child process ended without a word.
        """
        if self._receiver is None:
            return self._work()
        try:
            result, error = pickle.loads(self._receiver.recv_bytes())  # noqa: S301  (from this program itself)
        except EOFError:
            self._child.join()
            raise RuntimeError(f"a child process ended with status {self._child.exitcode}") from None
        self._child.join()
        if error is not None:
            raise error
        return result


def _send(work: Callable[[], object], sender: Connection) -> None:
    try:
        answer: tuple[object, Exception | None] = (work(), None)
    except Exception as error:
        answer = (None, error)
    sender.send_bytes(pickle.dumps(answer))
