"""Benchmarks that have a score of their own: which distributions are such, and what the score needs of each example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genies.data.distributions import read_split
from genies.data.strict import load
from genies.errors import DataError

KEY = "own_score"
"""Key of ``metadata.json`` that names the score."""
REWARDBENCH = "rewardbench-2"
SEVERAL_BEST = "several-best"
"""Of sets with several good responses to a prompt: the accuracy of pairs in which each example weighs the same."""
KNOWN = (REWARDBENCH, SEVERAL_BEST)
WHOLE = "all"
"""The subset of examples that belong to none."""


@dataclass(frozen=True)
class Item:
    """An example of a benchmark.

    Attributes:
        subset: the part of the benchmark that it belongs to.
        id: its name there.
        good, worse: numbers of its responses.
    """

    subset: str
    id: str
    good: int
    worse: int


def own_score(folder: Path) -> str | None:
    """The score that the metadata of a distribution name; None where they name none that is known.

    Raises:
        DataError: ``metadata.json`` cannot be read.
    """
    path = folder / "metadata.json"
    if not path.is_file():
        return None
    stated, _ = load(path)
    name = stated.get(KEY) if isinstance(stated, dict) else None
    return name if name in KNOWN else None


def is_named(record: Mapping[str, Any]) -> bool:
    """Whether a record has what RewardBench 2's score needs: a subset, and a name that is a text or a whole number."""
    return isinstance(record.get("subset"), str) and type(record.get("id")) in (str, int)


def items(file: Path) -> list[Item]:
    """What the score needs of every example of ``test.json``, in file order; nothing is named where it needs no names.

    Raises:
        DataError: the file breaks the format, or a record lacks ``id`` or ``subset``.
    """
    examples = read_split(file)
    if own_score(file.parent) == SEVERAL_BEST:
        return [Item(WHOLE, "", len(example.good), len(example.worse)) for example in examples]
    records, _ = load(file)
    found = []
    for number, (example, record) in enumerate(zip(examples, records, strict=True)):
        if not is_named(record):
            key = "subset" if not isinstance(record.get("subset"), str) else "id"
            raise DataError(
                f"{file}: record {number} (counted from 0), field {key}: is no text, which the benchmark's own "
                f"score needs; correct it, or take {KEY} out of metadata.json"
            )
        found.append(Item(record["subset"], str(record["id"]), len(example.good), len(example.worse)))
    return found
