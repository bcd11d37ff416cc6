"""JSON from outside, read strictly: what the standard library would let pass is a flaw, and errors are one line."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genies.errors import DataError

MAX_FILE_BYTES = 2**30
"""Larger files are refused unread (1 GiB; the largest published one has 2.6 MiB)."""

_KINDS = {dict: "an object", list: "an array", str: "a string", bool: "true or false", type(None): "null"}


@dataclass(frozen=True)
class Flaw:
    """Marks, within a parsed value, what the standard library's reader would let pass."""

    problem: str


def load(path: Path, content: bytes | None = None) -> tuple[Any, bool]:
    """The value of a JSON file, and whether there is a ``Flaw`` in it: a repeated key, or a number that is not JSON.

    Where ``content`` is given, the file is not read.

    Raises:
        DataError: the file cannot be read, or is not JSON.
    """
    text = _text(path, content)
    try:
        return parse(text)
    except ValueError as error:
        raise DataError(f"{shown_path(path)}: {error}") from None


def parse(text: str) -> tuple[Any, bool]:
    """The same of a text.

    Raises:
        ValueError: it is not JSON, or cannot be read; its message says where and what helps.
    """
    flawed = False

    def constant(name: str) -> Flaw:
        nonlocal flawed
        flawed = True
        return Flaw(f"holds {name}, which is not JSON; write a finite number or null")

    def mapping(items: list[tuple[str, Any]]) -> dict[str, Any] | Flaw:
        nonlocal flawed
        value = dict(items)
        if len(value) == len(items):
            return value
        flawed = True
        first: dict[str, int] = {}
        repeated = next(key for number, (key, _) in enumerate(items) if first.setdefault(key, number) < number)
        return Flaw(f"the key {shown(repeated)} occurs twice in one object; keep one of them")

    try:
        return json.loads(text, parse_constant=constant, object_pairs_hook=mapping), flawed
    except json.JSONDecodeError as error:
        problem = f"line {error.lineno}, column {error.colno}: not JSON ({error.msg}); correct the file"
    except RecursionError:
        problem = "nested too deeply to be read; a record has three levels or four"
    except ValueError:
        # The interpreter refuses to convert integers of thousands of digits.
        problem = "holds a number with too many digits; shorten it"
    raise ValueError(problem)


def _text(path: Path, content: bytes | None) -> str:
    name = shown_path(path)
    try:
        text = (_content(path, name) if content is None else content).decode("utf-8")
    except FileNotFoundError:
        raise DataError(f"{name}: file not found; a distribution's folder holds train.json and test.json") from None
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror}); check its permissions") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: byte {error.start} is not UTF-8; save the file in UTF-8") from None
    if not text.strip():
        raise DataError(f"{name}: the file is empty; write an array of records")
    return text


def _content(path: Path, name: str) -> bytes:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{name}: not a regular file; a split is a JSON file")
    if status.st_size > MAX_FILE_BYTES:
        size = f"{status.st_size} bytes, more than the {MAX_FILE_BYTES} that are read"
        raise DataError(f"{name}: {size}; split it into several distributions")
    return path.read_bytes()


def flaws(record: dict[str, Any]) -> Iterator[tuple[str, Flaw]]:
    """Every flaw at any depth, with the field of the record that it lies in. Iterative: depth is the file's choice."""
    for field, value in record.items():
        waiting = [value]
        while waiting:
            inner = waiting.pop()
            if isinstance(inner, Flaw):
                yield field, inner
            elif isinstance(inner, dict):
                waiting.extend(reversed(inner.values()))
            elif isinstance(inner, list):
                waiting.extend(reversed(inner))


def kind(value: Any) -> str:
    """What a JSON value is, in words."""
    return _KINDS.get(type(value), "a number")


def is_unicode(text: str) -> bool:
    """Whether a text can be written in UTF-8: it holds no lone surrogate."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def shortened(text: str, length: int = 60) -> str:
    """A text, cut where it is longer."""
    return text if len(text) <= length else f"{text[:length]}…"


def shown(text: str) -> str:
    """Text from a file, made fit for a one-line message: quoted, escaped and cut."""
    return repr(shortened(text))


def shown_path(path: Path) -> str:
    """A path, made fit for a one-line message."""
    name = str(path)
    return name if name.isprintable() else repr(name)
