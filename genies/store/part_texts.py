"""Which texts of a split each of several parts holds, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from genies.errors import StoreError
from genies.store.activations import ActivationStore


@dataclass(frozen=True)
class PartTexts:
    """The texts of some parts.

    Attributes:
        parts: the parts.
        example, response: which response each text is, int64 (texts,).
    """

    parts: Sequence[ActivationStore]
    example: np.ndarray
    response: np.ndarray

    @cached_property
    def of_parts(self) -> list[np.ndarray]:
        """Row of each text in each part, -1 where it is not there, int64 (texts,)."""
        found = []
        for part in self.parts:
            rows = np.full(len(self.example), -1, np.int64)
            own = self._rows(part.example, part.response)
            rows[own[own >= 0]] = np.flatnonzero(own >= 0)
            found.append(rows)
        return found

    def rows(self, example: Sequence[int], response: Sequence[int]) -> np.ndarray:
        """Rows of the given responses, int64 (n,).

        Raises:
            StoreError: no part holds one of them.
        """
        found = self._rows(np.asarray(example, np.int64), np.asarray(response, np.int64))
        if len(absent := np.flatnonzero(found < 0)):
            folders = ", ".join(str(part.folder) for part in self.parts)
            key = int(example[absent[0]]), int(response[absent[0]])
            raise StoreError(f"{folders}: holds no features of example, response {key}")
        return found

    def _rows(self, example: np.ndarray, response: np.ndarray) -> np.ndarray:
        """Rows of responses, int (n,) each, -1 where there is none, int64 (n,). Rows are sorted by both numbers."""
        span = int(self.response.max(initial=0)) + 1
        known = np.append(self.example * span + self.response, np.iinfo(np.int64).max)
        wanted = example.astype(np.int64) * span + response
        place = np.searchsorted(known, wanted)
        return np.where((known[place] == wanted) & (response >= 0) & (response < span), place, -1)

    def holding(self, name: str, layer: int, heads: Sequence[int] | None) -> list[int]:
        """Which parts hold a layer, or some heads of it, or single numbers."""
        return [
            number
            for number, part in enumerate(self.parts)
            if name in part.shapes
            and (name not in part.description["layers"] or layer in part.description["layers"][name])
            and set(heads or ()) <= set(part.head_numbers)
        ]

    def lacking(self, name: str, layer: int, heads: Sequence[int]) -> np.ndarray:
        """Texts of which no part holds a layer, with these heads where it is one of heads; bool (texts,)."""
        mask = np.ones(len(self.example), bool)
        for number in self.holding(name, layer, heads if name == "heads" else None):
            mask &= self.of_parts[number] < 0
        return mask
