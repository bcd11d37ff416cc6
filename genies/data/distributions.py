"""Distributions: folders of prompts with ranked responses, read strictly.

Format (GENIES, arXiv 2311.07723, the published data): ``<id>/train.json`` and ``<id>/test.json`` are JSON arrays of
``{"prompt": str, "responses": {text: 1 or 0}}`` in which exactly one response, the best one, has 1. Further keys and
empty responses are valid. ``<id>/metadata.json`` is an optional JSON object. A distribution without ``train.json`` can
be a target, but neither a source nor a reference.

Two optional keys go beyond the published data. ``"several_best": true`` allows more than one response to have 1.
``"conversation"`` is the whole conversation before the response, ``[{"role": "system" | "user" | "assistant",
"content": str}, …]``: a system's turn only comes first, and the last turn is the user's. ``prompt`` remains what
methods without a chat template read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from genies.data.records import Example, example_of, problems, record_of
from genies.data.strict import Flaw, flaws, kind, load, shown_path
from genies.errors import DataError
from genies.files import whole_file

SPLITS = ("train", "test")
"""Names of the two splits; the file of a split is ``<split>.json``."""


@dataclass(frozen=True)
class SplitSummary:
    """Counts of one split: examples, responses of all examples, and (good, worse) pairs."""

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
    pairs = sum(len(example.good) * len(example.worse) for example in examples)
    return SplitSummary(len(examples), sum(len(example.responses) for example in examples), pairs)


def _read_folder(folder: Path) -> Iterator[tuple[str, Example | str]]:
    """Each example of each split, and in its stead a line for each violation."""
    if not folder.is_dir():
        yield "", f"{shown_path(folder)}: no such folder; name a folder that holds train.json and test.json"
        return
    for split in SPLITS:
        if split == "train" and only_target(folder):
            continue
        for item in _read(folder / f"{split}.json"):
            yield split, item
    yield from (("", problem) for problem in _metadata_problems(folder / "metadata.json"))


def only_target(folder: Path) -> bool:
    """Whether a distribution has a test split alone, so that nothing can be fitted on it."""
    return not (folder / "train.json").exists() and (folder / "test.json").is_file()


def _metadata_problems(path: Path) -> Iterator[str]:
    name = shown_path(path)
    try:
        if not path.exists():
            return
        value, _ = load(path)
    except DataError as error:
        yield str(error)
        return
    except OSError as error:
        yield f"{name}: cannot be read ({error.strerror}); check its folder's permissions"
        return
    found = [flaw.problem for _, flaw in flaws({"": value})]
    yield from (f"{name}: {problem}" for problem in found)
    if not found and not isinstance(value, dict):
        yield f"{name}: is {kind(value)}, not an object; write an object or delete the file"


def _read(path: Path, content: bytes | None = None) -> Iterator[Example | str]:
    """Each example of a split's file, or a line for each violation of its record; see ``load`` for ``content``."""
    try:
        records, flawed = load(path, content)
    except DataError as error:
        yield str(error)
        return
    name = shown_path(path)
    if isinstance(records, Flaw):
        yield f"{name}: {records.problem}"
        return
    if not isinstance(records, list):
        yield f"{name}: is {kind(records)}, not an array; write the records as [{{…}}, {{…}}]"
        return
    if not records:
        yield f"{name}: the array is empty; add at least one record"
    for index, record in enumerate(records):
        found = list(problems(record, flawed))
        if found:
            yield from (f"{name}: record {index} (counted from 0){field}: {problem}" for field, problem in found)
            continue
        yield example_of(record)


def write_split(path: Path, examples: Sequence[Example]) -> None:
    """Write examples in the data's format, whole or not at all; responses keep their order."""
    records = [record_of(example) for example in examples]
    with whole_file(path) as partial:
        partial.write_text(json.dumps(records, ensure_ascii=False, indent=1), encoding="utf-8")
