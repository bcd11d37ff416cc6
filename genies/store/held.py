"""What a part of a store holds of each text: layers and heads by their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genies.engine.reads import Reads
from genies.engine.shape import Shape
from genies.engine.tokens import SCORED_VIEW
from genies.store.shards import SCALARS


@dataclass(frozen=True)
class Held:
    """Features of one view, as they are stored.

    Attributes:
        residual: layers of the residual stream, ascending.
        head_layers: layers whose heads are stored, ascending.
        heads: numbers of those heads, ascending; the same of each layer.
        scored: whether log-probabilities are stored.
    """

    residual: tuple[int, ...]
    head_layers: tuple[int, ...]
    heads: tuple[int, ...]
    scored: bool

    @classmethod
    def of(cls, reads: Reads, shape: Shape, view: str) -> Held:
        """What is stored for what is read of a model whose ``shape`` is what the configuration lets be stored.

        Where the model or the configuration has nothing of what is read, the last layer is stored, so that there is a
        part that says why.
        """
        residual = tuple(n for n in shape.layers if (reads.final if n == shape.blocks else reads.inner))
        head_layers = shape.head_layers if reads.heads else ()
        scored = reads.log_probability and view == SCORED_VIEW
        if not (residual or head_layers or scored):
            residual = shape.layers[-1:]
        return cls(residual, head_layers, shape.heads if head_layers else (), scored)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Held:
        """From what ``to_json`` gave."""
        residual, head_layers, heads = (tuple(value[name]) for name in ("residual", "head_layers", "heads"))
        return cls(residual, head_layers, heads, bool(value["scored"]))

    def to_json(self) -> dict[str, Any]:
        """As JSON values by name."""
        return {
            "residual": list(self.residual),
            "head_layers": list(self.head_layers),
            "heads": list(self.heads),
            "scored": self.scored,
        }

    @property
    def atoms(self) -> list[tuple[str, int]]:
        """What can be stored apart: (``residual``, layer), (``heads``, layer) and (``scored``, 0)."""
        layers = [("residual", n) for n in self.residual] + [("heads", n) for n in self.head_layers]
        return layers + [("scored", 0)] * self.scored

    def has(self, wanted: Held) -> np.ndarray:
        """Which of the atoms of ``wanted`` are among these, bool (atoms,)."""
        ours = set(self.atoms)
        enough = set(wanted.heads) <= set(self.heads)
        return np.array([atom in ours and (atom[0] != "heads" or enough) for atom in wanted.atoms], bool)

    def some(self, chosen: Sequence[bool] | np.ndarray) -> Held:
        """Those of the atoms that are chosen, bool (atoms,)."""
        kept = {atom for atom, is_chosen in zip(self.atoms, chosen, strict=True) if is_chosen}
        head_layers = tuple(n for n in self.head_layers if ("heads", n) in kept)
        return Held(
            tuple(n for n in self.residual if ("residual", n) in kept),
            head_layers,
            self.heads if head_layers else (),
            ("scored", 0) in kept,
        )

    def shapes(self, shape: Shape) -> dict[str, tuple[int, ...]]:
        """Shape of one text's values by name, ``()`` for single numbers."""
        found: dict[str, tuple[int, ...]] = {}
        if self.residual:
            found["residual"] = (len(self.residual), shape.hidden)
        if self.head_layers:
            found["heads"] = (len(self.head_layers), len(self.heads), shape.head_dim)
        return {**found, **(dict.fromkeys(SCALARS, ()) if self.scored else {})}

    def columns(self, shape: Shape) -> dict[str, list[int] | None]:
        """Where the layers are among those that a pass reads, by name; None of single numbers."""
        found: dict[str, list[int] | None] = {}
        if self.residual:
            found["residual"] = [shape.layers.index(n) for n in self.residual]
        if self.head_layers:
            found["heads"] = [shape.head_layers.index(n) for n in self.head_layers]
        return {**found, **(dict.fromkeys(SCALARS, None) if self.scored else {})}
