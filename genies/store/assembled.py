"""The features of a split under one view, read from the parts that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from genies.engine.reads import EVERYTHING, Reads
from genies.engine.shape import Shape
from genies.errors import StoreError
from genies.store.activations import ActivationStore, check_heads, check_layer
from genies.store.held import Held
from genies.store.parts import examples_of, keys_from_json, shape_of


class AssembledStore:
    """Texts and features of several parts as of one store; nothing is kept of what is read.

    Parts that hold the same example agree on its tokens, since all of them serve one request.

    Attributes:
        parts: the parts.
        reads: features that can be read.
        example, response: which response each row is, by example and response, int64 (texts,).
    """

    def __init__(
        self,
        parts: Sequence[ActivationStore],
        layers: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
        reads: Reads = EVERYTHING,
        texts: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        """Bind the parts.

        Args:
            parts: at least one, all of one view and model.
            layers: those that the configuration lets be read; None for all.
            heads: likewise.
            reads: features that the run reads; parts may hold more, which other runs asked for.
            texts: example and response of the run's texts, int64 (texts,) each; None for all that the parts hold.
        """
        self.parts, self.reads = list(parts), reads
        self._layers, self._heads = layers, heads
        held = [(part.example, part.response) for part in parts] if texts is None else [texts]
        keys = np.concatenate([np.stack(of_one, axis=1) for of_one in held])
        self.example, self.response = np.unique(keys, axis=0).astype(np.int64).T

    @cached_property
    def _of_parts(self) -> list[np.ndarray]:
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

    @cached_property
    def keys(self) -> dict[int, int]:
        """A key of each example's tokens, by its number; see ``genies.store.parts.example_keys``."""
        found: dict[int, int] = {}
        for part in self.parts:
            keys = keys_from_json(part.description["keys"])
            found |= zip(examples_of(part.description).tolist(), keys.tolist(), strict=True)
        return found

    @cached_property
    def shape(self) -> Shape:
        """What the configuration lets be read of the model."""
        described = self.parts[0].description
        return shape_of(described["model"], described["sizes"], self._layers, self._heads)

    def offered(self, reads: Reads) -> Held:
        """Layers and heads of what is declared; whether a part holds them is seen when they are read."""
        return Held.of(reads, self.shape, self.parts[0].description["view"])

    def layers(self, feature: str) -> list[int]:
        """Layers of a feature (``heads`` or ``residual``) that the run reads and the parts hold, ascending.

        Raises:
            StoreError: they hold no heads.
        """
        offered = self.offered(self.reads)
        layers = offered.residual if feature == "residual" else offered.head_layers
        found = [layer for layer in layers if not self._lacking(feature, layer).any()]
        if feature == "heads" and not found:
            self.parts[0].layers("heads")
        return found

    @property
    def head_numbers(self) -> list[int]:
        """Heads of each layer that can be read, ascending."""
        return list(self.shape.heads)

    @property
    def final_layer(self) -> int:
        """Number of the layer after the last block and the final norm."""
        return self.parts[0].final_layer

    def heads(self, layer: int, heads: Sequence[int] | None = None, rows: np.ndarray | None = None) -> np.ndarray:
        """Outputs of one layer's heads, float32 (texts, heads, head_dim); of all texts, or of some rows, int64 (n,)."""
        return self._read("heads", layer, rows, self.head_numbers if heads is None else heads)

    def residual(self, layer: int, rows: np.ndarray | None = None) -> np.ndarray:
        """Residual stream of one layer, float32 (texts, hidden), likewise."""
        return self._read("residual", layer, rows)[:, 0]

    def log_probability(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Summed log-probability of each response and EOS, natural logarithm, float64 (texts,), likewise."""
        return self._read("log_probability", 0, rows)[:, 0]

    def scored_tokens(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Tokens that each log-probability sums over, int64 (texts,), likewise."""
        return self._read("scored_tokens", 0, rows)[:, 0].astype(np.int64)

    def _holding(self, name: str, layer: int, heads: Sequence[int] | None) -> list[int]:
        """Which parts hold a layer, or some heads of it, or single numbers."""
        return [
            number
            for number, part in enumerate(self.parts)
            if name in part.shapes
            and (name not in part.description["layers"] or layer in part.description["layers"][name])
            and set(heads or ()) <= set(part.head_numbers)
        ]

    def _lacking(self, name: str, layer: int) -> np.ndarray:
        """Texts of which no part holds it, bool (texts,)."""
        mask = np.ones(len(self.example), bool)
        for number in self._holding(name, layer, self.head_numbers if name == "heads" else None):
            mask &= self._of_parts[number] < 0
        return mask

    def _read(self, name: str, layer: int, rows: np.ndarray | None, heads: Sequence[int] | None = None) -> np.ndarray:
        self._check_offered(name, layer, heads or ())
        rows = np.arange(len(self.example)) if rows is None else np.asarray(rows)
        left, values = np.ones(len(rows), bool), None
        for number in self._holding(name, layer, heads):
            part, own = self.parts[number], self._of_parts[number][rows]
            places = np.flatnonzero(left & (own >= 0))
            if len(places):
                chunks = part.chunks(name, layer, heads) if name in ("heads", "residual") else (name, [0])
                values = part.empty(len(rows), chunks) if values is None else values
                part.read_into(values, places, own[places], chunks)
                left[places] = False
        if values is None or left.any():
            self._refuse(name, layer)
        assert values is not None
        return values

    def _check_offered(self, name: str, layer: int, heads: Sequence[int]) -> None:
        """Refuse what the configuration or the run leaves out, also where parts hold it, since other runs read it."""
        shape, part, offered = self.shape, self.parts[0], self.offered(self.reads)
        if name == "heads":
            if not offered.head_layers:
                raise StoreError(f"{part.folder}: holds no heads: {part.without_heads}")
            check_layer(part.folder, name, offered.head_layers, layer)
            check_heads(part.folder, offered.heads, heads)
        elif name == "residual":
            check_layer(part.folder, name, shape.layers, layer)
            if layer not in offered.residual:
                self._refuse_undeclared(name, layer)
        elif not offered.scored:
            self._refuse_undeclared(name, layer)

    def _refuse(self, name: str, layer: int) -> None:
        """Say why the parts do not suffice for what is offered."""
        part = self.parts[0]
        if name == "heads" or (name == "residual" and name in part.shapes):
            part.chunks(name, layer)
        self._refuse_undeclared(name, layer)

    def _refuse_undeclared(self, name: str, layer: int) -> None:
        part = self.parts[0]
        what = f"{name} of layer {layer}" if name in ("heads", "residual") else name
        raise StoreError(
            f"{part.folder}: holds no {what} of all texts; declare it among the intervention's features and run "
            "snakemake again"
        )
