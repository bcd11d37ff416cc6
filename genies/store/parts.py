"""The parts of stores: which of them hold what is asked for, and what none of them holds.

A store is a list of parts. Each is an ``ActivationStore``: immutable, whole or invisible, and named by its texts and
features. Parts of one model, view and arithmetic are a series, whose digest begins their names. A raised limit or a new
intervention adds parts to it. A part serves a request if every example that both have has the same tokens in both.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genies.digests import DIGEST_LENGTH, value_digest
from genies.engine.shape import Shape, chosen_parts
from genies.engine.tokens import SCORED_VIEW, Tokens
from genies.errors import StoreError
from genies.files import read_sealed
from genies.store.activations import is_complete
from genies.store.held import Held

OF_A_PART = ("texts", "features")
"""Fields of a part's name in which those of a series differ."""
SERIES_DIGITS = 12
"""Digits of a part's name that are those of its series."""
KEY_BYTES = 6
"""Bytes of an example's key, which is compared with one other alone."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """What a complete part says of itself.

    Attributes:
        name: of its folder.
        held: its features.
        sizes: of the model, as ``sizes_of`` gives them.
        examples: numbers of its examples, ascending, int64 (n,).
        keys: of their tokens, uint64 (n,), see ``example_keys``.
    """

    name: str
    held: Held
    sizes: Mapping[str, int]
    examples: np.ndarray
    keys: np.ndarray

    @classmethod
    def of(cls, name: str, description: Mapping[str, Any]) -> Part:
        """From what ``store.json`` says."""
        return cls(
            name,
            Held.from_json(description["digest"]["features"]),
            description["sizes"],
            examples_of(description),
            keys_from_json(description["keys"]),
        )

    def serves(self, examples: np.ndarray, keys: np.ndarray) -> np.ndarray | None:
        """Which of a request's examples it holds, bool (n,); None where one of them has other tokens, or it has none.

        Args:
            examples: of the request, ascending, int64 (n,).
            keys: of their tokens, uint64 (n,).
        """
        # Parts of other splits are most of a series, and differ from the first example on.
        place = int(np.searchsorted(examples, self.examples[0]))
        if place < len(examples) and examples[place] == self.examples[0] and keys[place] != self.keys[0]:
            return None
        _, ours, theirs = np.intersect1d(self.examples, examples, assume_unique=True, return_indices=True)
        if not len(ours) or (self.keys[ours] != keys[theirs]).any():
            return None
        mask = np.zeros(len(examples), bool)
        mask[theirs] = True
        return mask


class Parts:
    """The complete parts in a folder, found by their series; what they say is read once."""

    def __init__(self, root: Path) -> None:
        """Remember the folder, which need not exist."""
        self.root = Path(root)
        self._known: dict[str, tuple[tuple[int, ...], Part | None]] = {}

    def of(self, fields: Mapping[str, Any]) -> list[Part]:
        """Parts of the series of these fields, by name; those whose description is damaged are passed over."""
        series = {name: value for name, value in fields.items() if name not in OF_A_PART}
        digest = value_digest(series)[:SERIES_DIGITS]
        found = (self._read(folder, series) for folder in sorted(self.root.glob(f"{digest}*")))
        return [part for part in found if part is not None]

    def _read(self, folder: Path, series: Mapping[str, Any]) -> Part | None:
        file = folder / "store.json"
        try:
            status = file.stat()
        except OSError:
            return None
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        known = self._known.get(folder.name)
        if known is None or known[0] != stamp:
            known = self._known[folder.name] = stamp, _described(folder, series)
        return known[1]


def _described(folder: Path, series: Mapping[str, Any]) -> Part | None:
    try:
        description = read_sealed(folder / "store.json")
    except (StoreError, OSError) as error:  # another user's may not be readable
        log.warning("%s", error)
        return None
    fields = description.get("digest", {})
    own = {name: value for name, value in fields.items() if name not in OF_A_PART}
    if not description.get("complete") or own != series or part_name(fields) != folder.name:
        return None
    return Part.of(folder.name, description)


@dataclass(frozen=True)
class Lack:
    """Examples of a split of which the same features are in no part.

    Attributes:
        examples: their numbers, ascending, int64 (n,).
        views: what is to be computed by view; None: all that is read, of a model that is not known yet.
    """

    examples: np.ndarray
    views: Mapping[str, Held | None]


def choose(
    parts: Parts, candidates: Sequence[Part], examples: np.ndarray, keys: np.ndarray, wanted: Held
) -> tuple[list[Part], list[tuple[np.ndarray, Held]]]:
    """The parts that serve, each with something that no other one before it has, and what is in none.

    Args:
        parts: of the folder.
        candidates: parts of one series.
        examples: of the request, ascending, int64 (n,).
        keys: of their tokens, uint64 (n,).
        wanted: features of each.

    Returns:
        The parts, and examples with the features that they lack.
    """
    serving = [(part, mask) for part in candidates if (mask := part.serves(examples, keys)) is not None]
    serving.sort(key=lambda one: (-int(one[1].sum()), -len(one[0].held.atoms), one[0].name))
    lacking = np.ones((len(wanted.atoms), len(examples)), bool)
    chosen = []
    for part, mask in serving:
        adds = part.held.has(wanted)[:, None] & mask
        if (lacking & adds).any() and is_complete(parts.root, part.name):
            lacking &= ~adds
            chosen.append(part)
    alike, of_example = np.unique(np.packbits(lacking, axis=0), axis=1, return_inverse=True)
    lacks = []
    for number in range(alike.shape[1]):
        rows = np.flatnonzero(of_example.ravel() == number)
        if (absent := lacking[:, rows[0]]).any():
            lacks.append((examples[rows], wanted.some(absent)))
    return chosen, lacks


def part_name(fields: Mapping[str, Any]) -> str:
    """Name of the part with these fields: digits of its series, and of all of them."""
    series = {name: value for name, value in fields.items() if name not in OF_A_PART}
    return value_digest(series)[:SERIES_DIGITS] + value_digest(fields)[: DIGEST_LENGTH - SERIES_DIGITS]


def example_keys(tokens: Tokens, view: str) -> tuple[np.ndarray, np.ndarray]:
    """Examples of a split, ascending, int64 (n,), and a key of the tokens of each, uint64 (n,).

    A key is a digest of all that a pass takes of an example's texts: which responses they are, their tokens, and where
    scoring begins.
    """
    order = np.lexsort([tokens.response, tokens.example])
    examples, starts = np.unique(tokens.example[order], return_index=True)
    ids, scored = np.ascontiguousarray(tokens.ids, "<i4"), view == SCORED_VIEW
    keys = []
    for rows in np.split(order, starts[1:]):
        digest = hashlib.sha256()
        for row in rows.tolist():
            first, end = int(tokens.offsets[row]), int(tokens.offsets[row + 1])
            begins = int(tokens.prompt_tokens[row]) if scored else -1
            digest.update(f"{tokens.response[row]} {begins} {end - first} ".encode())
            digest.update(ids[first:end].tobytes())
        keys.append(int.from_bytes(digest.digest()[:KEY_BYTES], "little"))
    return examples.astype(np.int64), np.array(keys, np.uint64)


def keys_to_json(keys: np.ndarray) -> str:
    """Keys, uint64 (n,), in base 64."""
    return base64.b64encode(keys.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :KEY_BYTES].tobytes()).decode()


def keys_from_json(keys: str) -> np.ndarray:
    """Keys from what ``keys_to_json`` gave, uint64 (n,)."""
    found = np.zeros((len(keys) * 3 // 4 // KEY_BYTES, 8), np.uint8)
    found[:, :KEY_BYTES] = np.frombuffer(base64.b64decode(keys), np.uint8).reshape(-1, KEY_BYTES)
    return found.view("<u8")[:, 0].astype(np.uint64)


def examples_of(description: Mapping[str, Any]) -> np.ndarray:
    """The examples that a part holds, by its description; ascending, int64 (n,)."""
    return np.unique(description["example"]).astype(np.int64)


def shape_of(name: str, sizes: Mapping[str, int], layers: Sequence[int] | None, heads: Sequence[int] | None) -> Shape:
    """What of a model is read, as its ``Decoder`` has it.

    Args:
        name: of the model, for errors.
        sizes: ``blocks``, ``heads`` of each (0: none can be read), ``head_dim`` and ``hidden``.
        layers: as ``Decoder`` takes them.
        heads: likewise.

    Raises:
        ModelError: the model has not the layers or heads asked for.
    """
    chosen = chosen_parts(name, sizes["blocks"], sizes["heads"], layers, heads)
    return Shape(blocks=sizes["blocks"], **chosen, head_dim=sizes["head_dim"], hidden=sizes["hidden"])
