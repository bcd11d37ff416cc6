"""How passes are cut: which trees go into one batch, and what is kept of its features."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from genies.engine.arithmetic import to_device
from genies.engine.decoder import Decoder, Features
from genies.engine.forest import Batch, Forest, attention_cost, plan_batches

CPU_BATCH_NUMBERS = 2**20
"""Hidden states of a batch on a CPU: more of them leave its caches, fewer leave it waiting for Python."""
GPU_BATCH_NUMBERS = 2**26
"""Hidden states of a batch on a GPU: so many keep it busy, and more leave the disk waiting for the first of them."""

log = logging.getLogger(__name__)


def cpu_budget(hidden: int) -> int:
    """Tokens of one forward pass on a CPU, a power of two from 2¹⁰ to 2¹², for a residual stream of this width."""
    return 2 ** int(np.clip(np.log2(CPU_BATCH_NUMBERS / hidden), 10, 12))


def token_budget(free_bytes: int, hidden: int, intermediate: int, itemsize: int) -> int:
    """Tokens of one forward pass that this much memory holds, a power of two from 2¹⁰ to 2¹⁵.

    A token in work takes some ten vectors of the residual stream's width, three of the feed-forward layer's, and a row
    of the mask, which is as wide as the largest example; half the memory is left for what else there is.
    """
    mask = 2 * 4096
    per_token = itemsize * (10 * hidden + 3 * intermediate + mask)
    tokens = min(free_bytes / 2 / per_token, GPU_BATCH_NUMBERS / hidden)
    return 2 ** int(np.clip(np.log2(max(1, tokens)), 10, 15))


def free_budget(decoder: Decoder) -> int:
    """Tokens of one forward pass that suit a loaded model and the memory that its device has free."""
    config = decoder.model.config.get_text_config()
    hidden = config.hidden_size
    if decoder.device.type != "cuda":
        return cpu_budget(hidden)
    intermediate = getattr(config, "intermediate_size", None) or 4 * hidden
    free = torch.cuda.mem_get_info(decoder.device)[0]
    budget = token_budget(free, hidden, intermediate, decoder.dtype.itemsize)
    log.info("%.1f GiB free on the device: %d tokens per forward pass", free / 2**30, budget)
    return budget


def planned(forest: Forest, budget: int, hidden: int, packed: bool) -> list[Batch]:
    """Batches of a forest for a residual stream of this width; see ``plan_batches``."""
    sizes = [len(tree) for tree in forest.trees]
    return plan_batches(sizes, budget, share_rows=packed, attention_cost=attention_cost(hidden))


def stored_values(
    features: Features, rows: np.ndarray, columns: Mapping[str, Sequence[int] | None]
) -> dict[str, np.ndarray]:
    """Features of some texts of a pass, as arrays: float32 of heads and residual, the others as they are.

    Args:
        features: of the pass.
        rows: of the texts, int64 (n,).
        columns: which of the layers that the pass read, by the name of what is stored; None of single numbers.
    """
    index = to_device(rows, features.residual.device)
    chosen: dict[str, torch.Tensor] = {}
    for name, layers in columns.items():
        values = getattr(features, name)
        # Layers first where few are wanted: what is copied is then as small as it can be.
        chosen[name] = (values if layers is None or len(layers) == values.shape[1] else values[:, layers])[index]
    arrays = _on_host(chosen)
    return {n: (a.float() if n in ("heads", "residual") else a).numpy() for n, a in arrays.items()}


def _on_host(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies in the host's memory; from a GPU by way of pages that stay put, ten times as fast as by others."""
    if next(iter(tensors.values())).device.type != "cuda":
        return {name: tensor.cpu() for name, tensor in tensors.items()}
    copies = {
        name: torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
        for name, tensor in tensors.items()
    }
    done = torch.cuda.Event()
    done.record()
    done.synchronize()
    return copies
