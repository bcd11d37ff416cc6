"""How fast a disk takes stores, and whether it or computing limits an extraction."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from genies.costs.extraction import existing
from genies.store.blocks import BLOCK_BYTES
from genies.store.shards import Layout, write_shard

WIDTH = 1024
"""Of the numbers that are written to time it."""


def write_rate(folder: Path) -> float | None:
    """Bytes per second at which stores are written to the disk of a folder, flushes and reading back included.

    One block is written next to what is there, and removed; None where nothing can be written.

    Args:
        folder: of the cache, which need not exist yet.
    """
    values = np.random.default_rng(0).random((BLOCK_BYTES // (4 * WIDTH), 1, WIDTH), np.float32)
    layout = Layout.of({"residual": values.shape[1:]}, "float32", len(values))["residual"]
    try:
        with tempfile.TemporaryDirectory(prefix=".genies-rate-", dir=existing(folder)) as place:
            begin = time.perf_counter()
            write_shard(layout.file(Path(place), 0), layout.encoded([values]))
            return values.nbytes / (time.perf_counter() - begin)
    except OSError:
        return None
