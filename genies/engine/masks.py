"""The tree-causal attention masks that packed passes give to a transformer."""

from __future__ import annotations

from typing import Any

import torch

from genies.engine.forest import PackedBatch

Mask = torch.Tensor | dict[str, torch.Tensor]
"""An attention mask: one for all layers, or by kind of layer."""


def tree_mask(
    end: torch.Tensor,
    dtype: torch.dtype,
    position: torch.Tensor | None = None,
    window: int | None = None,
    before: int = 0,
) -> torch.Tensor:
    """Mask under which a node attends to itself and its ancestors alone (see ``genies.engine.forest``).

    It is additive: eager attention misreads a bool mask, and sdpa would convert it in every block. Blocked entries are
    finite, so that rows of padding alone stay finite too.

    Args:
        end: index after the last node below each node, int64 (R, W).
        dtype: type of the model's hidden states.
        position: depth of each node in its text, int64 (R, W); needed with ``window``.
        window: attend only to the last ``window`` positions of the text, the node itself counted.
        before: tokens that come before every text, in front of the nodes.

    Returns:
        ``dtype`` (R, 1, W, before + W), axis 2 the node that looks, axis 3 what is looked at.
    """
    node = torch.arange(end.shape[1], device=end.device)
    allowed = (node[None, :] <= node[:, None]) & (node[None, :, None] < end[:, None, :])
    if window is not None:
        if position is None:
            raise ValueError("tree_mask: a window needs the position of each node")
        allowed &= position[:, :, None] - position[:, None, :] < window
    if before:
        seen = torch.ones((*end.shape, before), dtype=torch.bool, device=end.device)
        if window is not None and position is not None:
            seen &= position[:, :, None] - torch.arange(before, device=end.device) < window
        allowed = torch.cat([seen, allowed], dim=2)
    mask = torch.zeros(allowed.shape, dtype=dtype, device=end.device)
    return mask.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]


def tree_masks(config: Any, end: torch.Tensor, position: torch.Tensor, dtype: torch.dtype, before: int = 0) -> Mask:
    """The mask that a model's layers need: one for all, or by kind of layer where only some have a sliding window.

    Args:
        config: the model's text configuration.
        end: int64 (R, W), as ``tree_mask`` takes it.
        position: int64 (R, W), likewise.
        dtype: type of the model's hidden states.
        before: as ``tree_mask`` takes it.
    """
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ())
    if "sliding_attention" in kinds:
        return {
            "full_attention": tree_mask(end, dtype, before=before),
            "sliding_attention": tree_mask(end, dtype, position, window, before),
        }
    # Configurations that name no kinds of layers, such as Mistral's, have the window in every layer.
    return tree_mask(end, dtype, position, None if kinds else window, before)


def separate_inputs(batch: PackedBatch, device: torch.device) -> dict[str, Any]:
    """Token ids and 2D attention mask, int64 (R, W), of rows that hold one text each and right padding."""
    width = batch.tokens.shape[1]
    real = torch.arange(width) < torch.as_tensor(batch.last % width + 1)[:, None]
    return {
        "input_ids": torch.as_tensor(batch.tokens, device=device),
        "attention_mask": real.long().to(device),
    }
