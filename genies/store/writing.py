"""Writing beside computing: features of a batch go to their parts while the next batch is computed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from genies.engine.batches import stored_values
from genies.engine.features import Features
from genies.engine.forest import Batch, Forest
from genies.engine.tokens import Tokens
from genies.store.writer import BlockThreads, StoreWriter

Columns = Mapping[str, Sequence[int] | None]
"""As ``stored_values`` takes them."""
WAITING_BATCHES = 2
"""Batches whose features wait to be written while the next ones are computed."""
BLOCK_THREADS = 4
"""Blocks that are written at a time where a GPU computes."""

log = logging.getLogger(__name__)


def block_threads(device: torch.device) -> AbstractContextManager[BlockThreads | None]:
    """Threads that write blocks where a GPU computes; a CPU has none to spare, and is slower than a disk."""
    return nullcontext() if device.type == "cpu" else BlockThreads(min(BLOCK_THREADS, os.cpu_count() or 1))


@contextmanager
def one_by_one() -> Iterator[Any]:
    """Calls that run beside the caller, in their order; at most ``WAITING_BATCHES`` wait, and errors come out."""
    waiting: list[Future] = []
    with ThreadPoolExecutor(max_workers=1) as pool:

        def later(call: Any, *arguments: Any) -> None:
            while len(waiting) >= WAITING_BATCHES:
                waiting.pop(0).result()
            waiting.append(pool.submit(call, *arguments))

        yield later
        for future in waiting:
            future.result()


def write(
    writers: Mapping[str, StoreWriter],
    columns: Mapping[str, Columns],
    features: Features,
    views: np.ndarray,
    position: Mapping[str, int],
) -> None:
    """Hand the features of a batch to the stores; ``position`` is where each view's texts begin."""
    for view, writer in writers.items():
        rows = np.flatnonzero(views == view)
        if len(rows):
            writer.append(position[view], stored_values(features, rows, columns[view]))


def drop_damaged(writer: StoreWriter) -> int:
    """How many blocks of an earlier process do not read back; they are to be computed again."""
    damaged = writer.drop_damaged()
    for block, problem in damaged.items():
        log.warning("%s: block %d is computed again: %s", writer.folder, block, problem)
    return len(damaged)


def order_of(view: str, table: Tokens, plan: Sequence[Batch], forest: Forest) -> tuple[list[int], list[int]]:
    """Example and response of each text of a view, in the order in which the plan computes them."""
    rows = [i for batch in plan for tree in batch.trees for v, i in forest.members[tree] if v == view]
    return table.example[rows].tolist(), table.response[rows].tolist()
