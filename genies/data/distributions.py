"""Distributions: folders of prompts with ranked responses, read strictly.

Format (GENIES, arXiv 2311.07723, the published data): ``<id>/train.json`` and ``<id>/test.json`` are JSON arrays of
``{"prompt": str, "responses": {text: 1 or 0}}`` in which exactly one response, the best one, has 1. Further keys and
empty responses are valid. ``<id>/metadata.json`` is an optional JSON object.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genies.errors import DataError
from genies.files import whole_file

SPLITS = ("train", "test")
"""Names of the two splits; the file of a split is ``<split>.json``."""
MAX_FILE_BYTES = 2**30
"""Larger files are refused unread (1 GiB; the largest published one has 2.6 MiB)."""

_KINDS = {dict: "an object", list: "an array", str: "a string", bool: "true or false", type(None): "null"}


@dataclass(frozen=True)
class Example:
    """A prompt with its responses in file order.

    ``best`` is the index of the best response, ``worse`` the indices of all others in file order.
    """

    prompt: str
    responses: tuple[str, ...]
    best: int
    worse: tuple[int, ...]


@dataclass(frozen=True)
class SplitSummary:
    """Counts of one split: examples, responses of all examples, and (best, worse) pairs."""

    examples: int
    responses: int
    pairs: int


@dataclass(frozen=True)
class Summary:
    """Counts of a distribution."""

    name: str
    train: SplitSummary
    test: SplitSummary


def read_split(path: Path) -> list[Example]:
    """Read ``train.json`` or ``test.json`` of a distribution.

    Raises:
        DataError: the file is missing, is not strict JSON in UTF-8, or a record breaks the format; the message names
            the first offence.
    """
    return _valid(_read(Path(path)))


def parse_split(content: bytes, path: Path) -> list[Example]:
    """The same of the content of such a file, which messages call ``path``."""
    return _valid(_read(Path(path), content))


def _valid(items: Iterable[Example | str]) -> list[Example]:
    examples = []
    for item in items:
        if isinstance(item, str):
            raise DataError(item)
        examples.append(item)
    return examples


def validate_folder(folder: Path) -> Summary:
    """Check a distribution's folder and count what it holds.

    Raises:
        DataError: the first of its ``violations``.
    """
    examples: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for split, item in _read_folder(Path(folder)):
        if isinstance(item, str):
            raise DataError(item)
        examples[split].append(item)
    return Summary(Path(folder).resolve().name, *(_count(examples[split]) for split in SPLITS))


def violations(folder: Path) -> list[str]:
    """Everything that is wrong with a distribution's folder, a line each; empty when it is valid."""
    return [item for _, item in _read_folder(Path(folder)) if isinstance(item, str)]


def _count(examples: list[Example]) -> SplitSummary:
    pairs = sum(len(example.worse) for example in examples)
    return SplitSummary(len(examples), pairs + len(examples), pairs)


def _read_folder(folder: Path) -> Iterator[tuple[str, Example | str]]:
    """Each example of each split, and in its stead a line for each violation."""
    if not folder.is_dir():
        yield "", f"{_shown_path(folder)}: no such folder; name a folder that holds train.json and test.json"
        return
    for split in SPLITS:
        for item in _read(folder / f"{split}.json"):
            yield split, item
    yield from (("", problem) for problem in _metadata_problems(folder / "metadata.json"))


def _metadata_problems(path: Path) -> Iterator[str]:
    shown = _shown_path(path)
    try:
        if not path.exists():
            return
        value, _ = _load(path)
    except DataError as error:
        yield str(error)
        return
    except OSError as error:
        yield f"{shown}: cannot be read ({error.strerror}); check its folder's permissions"
        return
    flaws = [flaw.problem for _, flaw in _flaws({"": value})]
    yield from (f"{shown}: {problem}" for problem in flaws)
    if not flaws and not isinstance(value, dict):
        yield f"{shown}: is {_kind(value)}, not an object; write an object or delete the file"


def _read(path: Path, content: bytes | None = None) -> Iterator[Example | str]:
    """Each example of a split's file, or a line for each violation of its record; see ``_load`` for ``content``."""
    try:
        records, flawed = _load(path, content)
    except DataError as error:
        yield str(error)
        return
    shown = _shown_path(path)
    if isinstance(records, _Flaw):
        yield f"{shown}: {records.problem}"
        return
    if not isinstance(records, list):
        yield f"{shown}: is {_kind(records)}, not an array; write the records as [{{…}}, {{…}}]"
        return
    if not records:
        yield f"{shown}: the array is empty; add at least one record"
    for index, record in enumerate(records):
        problems = list(_problems(record, flawed))
        if problems:
            yield from (f"{shown}: record {index} (counted from 0){field}: {problem}" for field, problem in problems)
            continue
        labels = list(record["responses"].values())
        best = labels.index(1)
        worse = tuple(number for number in range(len(labels)) if number != best)
        yield Example(record["prompt"], tuple(record["responses"]), best, worse)


def _problems(record: Any, flawed: bool) -> Iterator[tuple[str, str]]:
    """What is wrong with a record: (", field …" or "", the problem and its remedy)."""
    if isinstance(record, _Flaw):
        yield "", record.problem
        return
    if not isinstance(record, dict):
        yield "", f'is {_kind(record)}, not an object; write {{"prompt": …, "responses": {{…}}}}'
        return
    spoilt = set()
    for field, flaw in _flaws(record) if flawed else ():
        spoilt.add(field)
        yield f", field {_shown(field)}", flaw.problem
    for field, check in (("prompt", _prompt_problems), ("responses", _responses_problems)):
        if field not in record:
            yield f", field {field}", "is missing; add it"
        elif field not in spoilt:
            yield from ((f", field {field}", problem) for problem in check(record[field]))


def _prompt_problems(prompt: Any) -> Iterator[str]:
    if not isinstance(prompt, str):
        yield f"is {_kind(prompt)}, not a string; write the prompt's text in quotes"
    elif not _is_unicode(prompt):
        yield f"{_shown(prompt)} holds a lone surrogate; write the character whole"


def _responses_problems(responses: Any) -> Iterator[str]:
    if not isinstance(responses, dict):
        yield f"is {_kind(responses)}, not an object; write each response's text with 1 (the best) or 0"
        return
    valid = True
    for text, label in responses.items():
        if not _is_unicode(text):
            yield f"response {_shown(text)} holds a lone surrogate; write the character whole"
        if type(label) not in (int, float) or label not in (0, 1):
            valid = False
            value = repr(label) if type(label) in (int, float) else _kind(label)
            yield f"response {_shown(text)} has {_shortened(value)}; write 1 for the best response and 0 for the others"
    best = sum(1 for label in responses.values() if label == 1) if valid else 1
    if valid and len(responses) < 2:
        yield f"has {len(responses)} of the two responses needed; give the best one and at least one other"
    elif best == 0:
        yield "has no best response; write 1 for exactly one of them"
    elif best > 1:
        yield f"has {best} best responses; write 1 for exactly one of them"


@dataclass(frozen=True)
class _Flaw:
    """Stands in a parsed value for what the standard library's reader would let pass."""

    problem: str


def _load(path: Path, content: bytes | None = None) -> tuple[Any, bool]:
    """The value of a JSON file, and whether there is a ``_Flaw`` in it: a repeated key, or a number that is not JSON.

    Where ``content`` is given, the file is not read.

    Raises:
        DataError: the file cannot be read, or is not JSON.
    """
    flawed = False

    def constant(name: str) -> _Flaw:
        nonlocal flawed
        flawed = True
        return _Flaw(f"holds {name}, which is not JSON; write a finite number or null")

    def mapping(items: list[tuple[str, Any]]) -> dict[str, Any] | _Flaw:
        nonlocal flawed
        value = dict(items)
        if len(value) == len(items):
            return value
        flawed = True
        first: dict[str, int] = {}
        repeated = next(key for number, (key, _) in enumerate(items) if first.setdefault(key, number) < number)
        return _Flaw(f"the key {_shown(repeated)} occurs twice in one object; keep one of them")

    shown = _shown_path(path)
    text = _text(path, content)
    try:
        return json.loads(text, parse_constant=constant, object_pairs_hook=mapping), flawed
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise DataError(f"{shown}: {place}: not JSON ({error.msg}); correct the file") from None
    except RecursionError:
        raise DataError(f"{shown}: nested too deeply to be read; a record needs two levels") from None
    except ValueError:
        # The interpreter refuses to convert integers of thousands of digits.
        raise DataError(f"{shown}: holds a number with too many digits; shorten it") from None


def _text(path: Path, content: bytes | None) -> str:
    shown = _shown_path(path)
    try:
        text = (_content(path, shown) if content is None else content).decode("utf-8")
    except FileNotFoundError:
        raise DataError(f"{shown}: file not found; a distribution's folder holds train.json and test.json") from None
    except OSError as error:
        raise DataError(f"{shown}: cannot be read ({error.strerror}); check its permissions") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{shown}: byte {error.start} is not UTF-8; save the file in UTF-8") from None
    if not text.strip():
        raise DataError(f"{shown}: the file is empty; write an array of records")
    return text


def _content(path: Path, shown: str) -> bytes:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{shown}: not a regular file; a split is a JSON file")
    if status.st_size > MAX_FILE_BYTES:
        size = f"{status.st_size} bytes, more than the {MAX_FILE_BYTES} that are read"
        raise DataError(f"{shown}: {size}; split it into several distributions")
    return path.read_bytes()


def _flaws(record: dict[str, Any]) -> Iterator[tuple[str, _Flaw]]:
    """Every flaw at any depth, with the field of the record that it lies in. Iterative: depth is the file's choice."""
    for field, value in record.items():
        waiting = [value]
        while waiting:
            inner = waiting.pop()
            if isinstance(inner, _Flaw):
                yield field, inner
            elif isinstance(inner, dict):
                waiting.extend(reversed(inner.values()))
            elif isinstance(inner, list):
                waiting.extend(reversed(inner))


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "a number")


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _shortened(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f"{text[:length]}…"


def _shown(text: str) -> str:
    """Text from a file as it can stand in one line of a message: quoted, escaped and cut."""
    return repr(_shortened(text))


def _shown_path(path: Path) -> str:
    name = str(path)
    return name if name.isprintable() else repr(name)


def write_split(path: Path, examples: Sequence[Example]) -> None:
    """Write examples in the data's format, whole or not at all; responses keep their order."""
    records = [
        {"prompt": e.prompt, "responses": {text: int(i == e.best) for i, text in enumerate(e.responses)}}
        for e in examples
    ]
    with whole_file(path) as partial:
        partial.write_text(json.dumps(records, ensure_ascii=False, indent=1), encoding="utf-8")
