"""What rows say, kept on the disk until it is known on which side each prompt goes."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from genies.data.preferences.reading import Parsed, plain, record_of_row
from genies.data.preferences.turns import Turns, Unusable
from genies.data.records import Turn

NO_SPLIT, TRAIN, TEST = -1, 0, 1
"""Side of a row: that of the set's own split, if it has any."""


class Spool:
    """Rows on the disk, and 33 bytes of memory for each.

    Attributes:
        key: of each row the digest of its prompt, uint64.
        side: ``NO_SPLIT``, ``TRAIN`` or ``TEST``, int8.
    """

    def __init__(self, path: Path) -> None:
        """Begin to write; the file is the caller's to delete."""
        self._file: IO[bytes] = path.open("w+b")
        self._offset = array("q")
        self._digest = array("Q")
        self._texts = array("Q")
        self.key = array("Q")
        self.side = array("b")

    def __len__(self) -> int:
        return len(self.key)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def add(self, parsed: Parsed, kept: Mapping[str, Any], side: int) -> None:
        """Write a row.

        Raises:
            ValueError: a text holds a lone surrogate, or a value that is kept is not JSON.
        """
        turns = [[turn.role, turn.content] for turn in parsed.prompt]
        said = [turns, sorted(parsed.good), sorted(parsed.worse)]
        row = [turns, parsed.good, parsed.worse, {**kept, **parsed.further}]
        line = json.dumps(row, ensure_ascii=False, allow_nan=False).encode("utf-8")
        self._offset.append(self._file.tell())
        self.key.append(_number(turns))
        self._digest.append(_number(said))
        self._texts.append(_number([turns, sorted([*parsed.good, *parsed.worse])]))
        self.side.append(side)
        self._file.write(line + b"\n")

    def repeated(self) -> np.ndarray:
        """Whether an earlier row says the very same of the same prompt, bool (n,)."""
        digests = np.array(self._digest, np.uint64)
        later = np.ones(len(digests), bool)
        later[np.unique(digests, return_index=True)[1]] = False
        return later

    def contradicted(self, rows: Sequence[int]) -> int:
        """How many of some rows, none of which repeats another, rank the responses of another one otherwise."""
        _, times = np.unique(np.array(self._texts, np.uint64)[list(rows)], return_counts=True)
        return int(times[times > 1].sum())

    def row(self, number: int) -> tuple[Parsed, dict[str, Any]]:
        """What was written of a row, and what is kept of it."""
        self._file.seek(self._offset[number])
        turns, good, worse, kept = json.loads(self._file.readline())
        prompt: Turns = tuple(Turn(role, content) for role, content in turns)
        return Parsed(prompt, tuple(good), tuple(worse)), kept

    def asked(self, number: int) -> str:
        """The prompt of a row as one text, by which it is given a side.

        It is without a system prompt, since the same question to another persona is no new one, and equal characters
        are written alike (NFKC).
        """
        turns = self.row(number)[0].prompt
        return unicodedata.normalize("NFKC", plain(turns[1:] if turns[0].role == "system" else turns))


def _number(value: Any) -> int:
    text = json.dumps(value, ensure_ascii=False).encode("utf-8")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def examples_of(spool: Spool, rows: np.ndarray, joined: bool, dropped: Counter[str]) -> list[list[int]]:
    """The rows that each example is made of, by their first row.

    Args:
        spool: what rows say.
        rows: their numbers, ascending, int64 (n,); if they are not joined, each makes an example.
        joined: whether rows of one prompt make one example.
        dropped: counts why rows make none.
    """
    if not joined:
        return [[row] for row in rows.tolist()]
    groups: dict[int, list[int]] = {}
    for row in rows.tolist():
        groups.setdefault(spool.key[row], []).append(row)
    made = []
    for group in groups.values():
        try:
            record_of_group(spool, group)
        except Unusable as error:
            dropped[str(error)] += len(group)
        else:
            made.append(group)
    return made


def record_of_group(spool: Spool, group: Sequence[int]) -> dict[str, Any]:
    """The record that rows of one prompt make together; what is kept is that of the first.

    Raises:
        Unusable: they make none.
    """
    parts = [spool.row(row) for row in group]
    good, worse = (tuple(t for part, _ in parts for t in getattr(part, name)) for name in ("good", "worse"))
    return record_of_row(Parsed(parts[0][0].prompt, good, worse), parts[0][1])
