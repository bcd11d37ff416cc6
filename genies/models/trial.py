"""Trials: what foreign files may make endless, or larger than the memory, is done once in a child process with limits.

Python cannot interrupt a library that is written in C or Rust, nor a chat template. The kernel can end a process.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Mapping
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from genies.data.prompts import Presentation
from genies.digests import code_digest, value_digest
from genies.errors import GeniesError, ModelError, StoreError, first_line
from genies.files import read_sealed, write_sealed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SECONDS = 60
"""How long a trial may take, by the clock and in CPU time."""
BYTES = 4 * 2**30
"""Address space that a trial may take beyond that of the process that begins it."""
FILE = "tried.json"
"""What passed, beside the file of the hashes that are remembered."""
REMEDY = "it is damaged or made to do harm; use another one"
CONVERSATION = "".join(
    f"{number}. Tell me, please: what is the capital of Italy?\n\tdef f(x): return x**2  # {number**9} café 東京 🙂\n"
    for number in range(80)
)
"""A text with words, digits, code, white space and characters of several scripts: about 6,000 characters."""

log = logging.getLogger(__name__)


def try_once(
    folder: Path, hashes: Mapping[str, str], record: Path, keep: bool, load: Callable[[Path], PreTrainedTokenizerBase]
) -> None:
    """Load and use a tokenizer within the limits, unless the same files passed before.

    Args:
        folder: the tokenizer's.
        hashes: SHA-256 by name of the files that decide what is loaded.
        record: file of what passed.
        keep: whether to add to it.
        load: loads the tokenizer of a folder.

    Raises:
        ModelError: it cannot be loaded, or breaks a limit.
    """
    versions = {name: version(name) for name in ("transformers", "tokenizers")}
    digest = value_digest({"files": dict(hashes), "code": code_digest(__name__), **versions})
    if digest not in _passed(record):
        limited(lambda: use(load(folder)), f"{folder}: its tokenizer or chat template")
        if keep:
            write_sealed(record, {**_passed(record), digest: str(folder)})


def _passed(record: Path) -> dict[str, str]:
    """Folders by digest of what passed; nothing where the record is missing or damaged."""
    try:
        return read_sealed(record)
    except StoreError:
        return {}


def use(tokenizer: PreTrainedTokenizerBase) -> None:
    """Tokenize a text, and show it as a run's prompts are shown: as the user's turn in the chat template."""
    _attempt(lambda: tokenizer(CONVERSATION))
    if tokenizer.chat_template:
        _attempt(lambda: Presentation("chat").prompt(tokenizer, CONVERSATION))


def _attempt(act: Callable[[], object]) -> None:
    """Act; what is raised does not matter here, since Python can tell that when it comes."""
    try:
        act()
    except MemoryError:
        raise
    except Exception as error:
        log.debug("%s", error)


def limited(act: Callable[[], object], what: str, mapped: int = 0) -> None:
    """Do something in a child process that the kernel ends after ``SECONDS`` and refuses more than ``BYTES``.

    The child is a copy of this process, so that it need not import again what is imported here.

    Args:
        act: what to do; this process sees no effect of it.
        what: what it reads, for messages.
        mapped: bytes of files that it maps into its address space.

    Raises:
        ModelError: it broke a limit or crashed, or ``act`` raised an error.
    """
    # What the child would import itself would count as its own.
    import torch  # noqa: F401
    import transformers.models.auto  # noqa: F401

    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_in_child, args=(act, what, sender, BYTES + mapped), daemon=True)
    child.start()
    sender.close()
    try:
        problem = receiver.recv_bytes().decode()
        child.join()
    except EOFError:
        child.join()
        slow = child.exitcode in (-signal.SIGALRM, -signal.SIGXCPU)
        took = f"more than {SECONDS} s" if slow else f"more than {BYTES / 2**30:g} GiB, or crashes what reads it"
        problem = f"{what} takes {took}; {REMEDY}"
    if problem:
        raise ModelError(problem)


def _in_child(act: Callable[[], object], what: str, sender: Connection, room: int) -> None:
    """Act within the limits, and send the line of an error, else an empty one."""
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SECONDS)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_CPU, SECONDS)
    _lower(resource.RLIMIT_AS, _address_space() + room)
    try:
        act()
        problem = ""
    except GeniesError as error:
        problem = str(error)
    except MemoryError:
        problem = f"{what} takes more than {BYTES / 2**30:g} GiB; {REMEDY}"
    except BaseException as error:  # a panic in Rust is no Exception
        problem = f"{what} cannot be used ({first_line(error)})"
    sender.send_bytes(problem.encode())


def _lower(kind: int, value: int) -> None:
    """Lower a limit of this process, unless it is lower already."""
    soft, hard = resource.getrlimit(kind)
    if soft == resource.RLIM_INFINITY or value < soft:
        resource.setrlimit(kind, (value, hard))


def _address_space() -> int:
    """Bytes of this process's address space."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    return int(pages) * resource.getpagesize()
