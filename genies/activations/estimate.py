"""What an extraction will cost in disk and time, told before it begins."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import torch

from genies.activations.decoder import Decoder
from genies.activations.extraction import Extractor, Request, missing_views, store_digest
from genies.activations.forest import build_forest
from genies.activations.store import PARTIAL
from genies.errors import DiskError

TEXT_BYTES = 64
"""Disk that a text takes beside its features: log-probability, indices, the store's lists of them."""
TIMED_SECONDS = 0.1
"""How long the matrix products are timed that stand for the model."""

log = logging.getLogger(__name__)


def tell_costs(extractor: Extractor, requests: Iterable[Request]) -> None:
    """Log what is still to be computed; the model is loaded unless nothing is.

    The time is that of the model's matrix products at the rate of one timed here, so a lower bound.

    Raises:
        DiskError: the stores would not fit on the disk.
    """
    splits = texts = text_tokens = present = 0
    distinct: float | None = None
    for request in requests:
        views = missing_views(extractor.model, extractor.root, extractor.settings, request)
        if not views:
            continue
        tokens = {view: request.tokens[view] for view in views}
        splits += 1
        texts += sum(map(len, tokens.values()))
        text_tokens += sum(len(table.ids) for table in tokens.values())
        present += sum(_partial_bytes(extractor, request, view) for view in views)
        if distinct is None:
            forest = build_forest(tokens, extractor.model["eos_token"])
            distinct = sum(map(len, forest.trees)) / max(1, text_tokens)
    if not splits:
        return
    decoder = extractor.decoder()
    itemsize = 4 if extractor.settings.dtype == "float32" else 2
    needed = texts * (decoder.shape.values * itemsize + TEXT_BYTES) - present
    extractor.root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(extractor.root).free
    operations = 2 * _multiplied_weights(decoder) * distinct * text_tokens
    rate = _operations_per_second(decoder)
    log.info(
        "to compute: %d texts of %d splits, about %.2g distinct tokens; %.2f GiB of disk (%.1f GiB free); "
        "at least %s at %.3g GFLOP/s",
        texts, splits, distinct * text_tokens, needed / 2**30, free / 2**30, _readable(operations / rate), rate / 1e9,
    )  # fmt: skip
    if needed > free:
        raise DiskError(
            f"{extractor.root}: the activations take {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free; "
            "make room, name another disk under folders.cache, or store less (extraction.layers, heads, dtype)"
        )


def _partial_bytes(extractor: Extractor, request: Request, view: str) -> int:
    """What an interrupted extraction has left of a store."""
    digest, _ = store_digest(extractor.model["weights_digest"], request.tokens_digests[view], extractor.settings)
    folder = extractor.root / f"{PARTIAL}{digest}" / "data.zarr"
    return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())


def _multiplied_weights(decoder: Decoder) -> int:
    """Weights that every token is multiplied with: those of the blocks."""
    return sum(p.numel() for block in decoder.blocks for p in block.parameters() if p.ndim > 1)


def _operations_per_second(decoder: Decoder) -> float:
    """Floating-point operations per second of a matrix product of the model's width."""
    hidden = decoder.shape.hidden
    a = torch.ones((1024, hidden), dtype=decoder.dtype, device=decoder.device)
    b = torch.ones((hidden, 4 * hidden), dtype=decoder.dtype, device=decoder.device)
    _product(a, b)
    count, begin = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < TIMED_SECONDS:
        _product(a, b)
        count += 1
    return count * 2 * a.numel() * b.shape[1] / elapsed


def _product(a: torch.Tensor, b: torch.Tensor) -> None:
    a @ b
    if a.device.type == "cuda":
        torch.cuda.synchronize(a.device)


def _readable(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
