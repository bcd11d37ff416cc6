"""The parts of a decoder, found by structure: its blocks, and the linear layers of their attention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from genies.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


NO_ATTENTION = ("linear", "lightning", "delta", "cross", "decoderlayer")
"""What the names of classes hold that are called attention, but have no heads that look at the text by softmax."""


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


def check_layers(name: str, layers: Sequence[Sequence[int]], hidden: int) -> None:
    """Raise ModelError unless every block and then the output head ran once, on the residual stream's width.

    Args:
        name: of the model.
        layers: of each block, and of the output head, the width that it read each time that it ran.
        hidden: width of the residual stream.
    """
    for layer, widths in enumerate(layers):
        part = f"block {layer}" if layer < len(layers) - 1 else "the output head"
        if len(widths) != 1:
            raise ModelError(f"{name}: {part} runs {len(widths)} times in a pass; its layers cannot be read")
        if widths[0] != hidden:
            raise ModelError(
                f"{name}: {part} reads {widths[0]} numbers where the residual stream has {hidden}; its layers "
                "cannot be read"
            )


@contextmanager
def hooks(*handles: torch.utils.hooks.RemovableHandle) -> Iterator[None]:
    """Keep hooks for a block of code, and remove them after it."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
