"""The tree-causal attention mask that packed passes give to a transformer."""

from __future__ import annotations

import torch


def tree_mask(end: torch.Tensor, dtype: torch.dtype, implementation: str) -> torch.Tensor:
    """Mask under which a node attends to itself and its ancestors alone (see ``genies.activations.forest``).

    Args:
        end: index after the last node below each node, int64 (R, W).
        dtype: type of the model's hidden states, which an additive mask takes.
        implementation: attention implementation of transformers; ``eager`` misreads bool masks and gets an additive
            one, whose blocked entries are finite, so that rows of padding alone stay finite too.

    Returns:
        (R, 1, W, W), axis 2 the node that looks, axis 3 the one that is looked at: bool, or ``dtype`` for eager.
    """
    node = torch.arange(end.shape[1], device=end.device)
    before = node[None, :] <= node[:, None]
    allowed = (before[None] & (node[None, :, None] < end[:, None, :]))[:, None]
    if implementation != "eager":
        return allowed
    blocked = torch.finfo(dtype).min
    return torch.zeros(allowed.shape, dtype=dtype, device=end.device).masked_fill_(~allowed, blocked)
