"""The tree-causal attention mask that packed passes give to a transformer."""

from __future__ import annotations

import torch


def tree_mask(end: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Mask under which a node attends to itself and its ancestors alone (see ``genies.activations.forest``).

    It is additive: eager attention misreads a bool mask, and sdpa would convert it in every block. Blocked entries are
    finite, so that rows of padding alone stay finite too.

    Args:
        end: index after the last node below each node, int64 (R, W).
        dtype: type of the model's hidden states.

    Returns:
        ``dtype`` (R, 1, W, W), axis 2 the node that looks, axis 3 the one that is looked at.
    """
    node = torch.arange(end.shape[1], device=end.device)
    allowed = (node[None, :] <= node[:, None]) & (node[None, :, None] < end[:, None, :])
    mask = torch.zeros(allowed.shape, dtype=dtype, device=end.device)
    return mask.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]
