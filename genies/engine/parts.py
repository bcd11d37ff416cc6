"""The parts of a decoder, found by structure: its blocks, and the linear layers of their attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from genies.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


NO_ATTENTION = ("linear", "lightning", "delta", "cross", "decoderlayer")
"""What the names of classes hold that are called attention, but have no heads that look at the text by softmax."""


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
        """Shape of one text's values by feature; layers and heads are left out where none are read."""
        sizes: dict[str, tuple[int, ...]] = {"residual": (len(self.layers), self.hidden)} if self.layers else {}
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


def find_blocks(model: PreTrainedModel, layers: int) -> torch.nn.ModuleList:
    """The model's list of as many blocks as its configuration has layers.

    Raises:
        ModelError: it has none.
    """
    lists = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == layers]
    if not lists:
        raise ModelError(f"{type(model).__name__}: no list of {layers} blocks found; its layers cannot be read")
    return lists[0]


def attention_layers(block: torch.nn.Module) -> set[torch.nn.Module]:
    """Linear layers within the attention modules of a block; not those of attention without softmax over the text."""
    attention = [m for m in block.modules() if m is not block and _is_attention(type(m).__name__.lower())]
    return {leaf for module in attention for leaf in module.modules() if input_width(leaf)}


def _is_attention(name: str) -> bool:
    """Whether a class of this name is an attention module: no whole layer, no linear and no cross-attention."""
    return "attention" in name and not any(other in name for other in NO_ATTENTION)


def head_width(config: Any, count: int) -> int:
    """Width of what each of ``count`` heads gives, by a configuration; with latent attention that of its values."""
    return getattr(config, "v_head_dim", None) or getattr(config, "head_dim", None) or config.hidden_size // count


def input_width(module: torch.nn.Module) -> int | None:
    """Input width of a linear layer (GPT-2's transposed kind too), None for other modules."""
    if isinstance(module, torch.nn.Linear):
        return module.in_features
    if type(module).__name__ == "Conv1D":
        return int(vars(module)["nx"])
    return None
