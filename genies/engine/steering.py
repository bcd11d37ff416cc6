"""Changes of a decoder's residual stream while it passes texts: a direction is projected out, or a vector is added.

They are hooks on the parts that ``Decoder`` has found, so every architecture is changed alike. Each position is changed
by itself, so that packed and separate passes still agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from genies.engine.decoder import Decoder, hidden_states
from genies.engine.parts import hooks

Change = Callable[[torch.Tensor], torch.Tensor]
"""Hidden states (R, W, hidden) as they go on, from those that there are."""


@contextmanager
def erased(decoder: Decoder, direction: np.ndarray) -> Iterator[None]:
    """Project a direction out at every layer and position: h − û ûᵀh.

    So of what every block reads, of what the last one gives, and of what attention adds in between, where the model
    has attention heads: of its output, and of the norm of that where a block has one (as in Gemma 2), whose weights
    would bring the direction back. Source: Arditi et al. (arXiv 2406.11717), section 2.4.

    Args:
        decoder: the model; it reads all layers and heads, so that all attention outputs are known.
        direction: float (hidden,), of any length; 0 changes nothing.

    Raises:
        ValueError: it reads some of them alone.
    """
    if not decoder.without_heads and len(decoder.projections) < len(decoder.blocks):
        raise ValueError("attention outputs of some blocks are not known; load the model with all layers and heads")
    length = float(np.linalg.norm(direction))
    unit = torch.as_tensor(direction / (length or 1.0), dtype=torch.float32)

    def change(hidden: torch.Tensor) -> torch.Tensor:
        along, wide = unit.to(hidden.device), hidden.float()
        return (wide - (wide @ along)[..., None] * along).to(hidden.dtype)

    attended: list[torch.Tensor] = []  # what attention gave last

    def after_attention(_: Any, _args: tuple, output: torch.Tensor) -> torch.Tensor:
        attended[:] = [change(output)]
        return attended[0]

    def after_part(part: Any, args: tuple, output: Any) -> Any:
        return behind(part, args, output) if args and attended and args[0] is attended[0] else output

    behind = _behind(change)
    with hooks(
        *(block.register_forward_pre_hook(_before(change), with_kwargs=True) for block in decoder.blocks),
        *(projection.register_forward_hook(after_attention) for projection in decoder.projections),
        *(part.register_forward_hook(after_part) for block in decoder.blocks for part in block.children()),
        decoder.blocks[-1].register_forward_hook(behind),
    ):
        yield


@contextmanager
def added(decoder: Decoder, vector: np.ndarray, layer: int) -> Iterator[None]:
    """Add a vector, float (hidden,), to what one block reads, at every position.

    Source: Arditi et al. (arXiv 2406.11717), section 2.4.

    Args:
        decoder: the model.
        vector: what is added.
        layer: of the residual stream, from 0 (the embedding) to the last one that a block reads.

    Raises:
        ValueError: no block reads that layer.
    """
    if not 0 <= layer < len(decoder.blocks):
        raise ValueError(f"no block reads layer {layer}; the last that one does is {len(decoder.blocks) - 1}")
    term = torch.as_tensor(vector, dtype=torch.float32)

    def change(hidden: torch.Tensor) -> torch.Tensor:
        return (hidden.float() + term.to(hidden.device)).to(hidden.dtype)

    with hooks(decoder.blocks[layer].register_forward_pre_hook(_before(change), with_kwargs=True)):
        yield


def _before(change: Change) -> Callable[[Any, tuple, dict], tuple[tuple, dict]]:
    """A hook that changes the residual stream among the arguments of a block."""

    def hook(_: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        hidden = change(hidden_states(args, kwargs))
        return ((hidden, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": hidden})

    return hook


def _behind(change: Change) -> Callable[[Any, tuple, Any], Any]:
    """A hook that changes what a module gives; where that is several values, the first of them."""

    def hook(_: Any, _args: tuple, output: Any) -> Any:
        return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

    return hook
