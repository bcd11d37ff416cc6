"""Which features of a model are read, and their sizes. Reading stores needs it, and loads no torch for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from genies.errors import ModelError


@dataclass(frozen=True)
class Shape:
    """Which features are read of each text, and their sizes.

    Attributes:
        blocks: number of blocks of the model.
        layers: layers of the residual stream that are read, from 0 (embedding) to ``blocks`` (after the final norm).
        head_layers: blocks whose heads are read; none where the model has no attention heads.
        heads: heads that are read of each of those.
        head_dim: width of a head.
        hidden: width of the residual stream.
    """

    blocks: int
    layers: tuple[int, ...]
    head_layers: tuple[int, ...]
    heads: tuple[int, ...]
    head_dim: int
    hidden: int

    @property
    def sizes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one text's values by feature; heads are left out where none are read."""
        sizes: dict[str, tuple[int, ...]] = {"residual": (len(self.layers), self.hidden)}
        if self.head_layers and self.heads:
            sizes["heads"] = (len(self.head_layers), len(self.heads), self.head_dim)
        return sizes

    @property
    def values(self) -> int:
        """Numbers stored for one text."""
        return sum(math.prod(size) for size in self.sizes.values())


def chosen_parts(
    name: str, blocks: int, count: int, layers: Sequence[int] | None, heads: Sequence[int] | None
) -> dict[str, Any]:
    """What of a model is read: the fields ``layers``, ``head_layers`` and ``heads`` of ``Shape``.

    Args:
        name: of the model, for errors.
        blocks: how many it has.
        count: heads of a block; 0 where none can be read.
        layers: as ``Decoder`` takes them.
        heads: likewise.

    Raises:
        ModelError: the model has not the layers or heads asked for.
    """
    for what, asked, limit in (("layer", layers, blocks), ("head", heads, count - 1)):
        for number in asked or ():
            if not 0 <= number <= limit and not (what == "head" and not count):
                raise ModelError(f"{name}: has no {what} {number}; the last is {limit}: change extraction.{what}s")
    chosen = tuple(range(blocks + 1)) if layers is None else tuple(sorted(set(layers)))
    numbers = tuple(range(count)) if heads is None else tuple(sorted(set(heads))) if count else ()
    return {
        "layers": chosen,
        "head_layers": tuple(layer for layer in chosen if layer < blocks) if numbers else (),
        "heads": numbers,
    }
