"""Blocks of a store: how many texts one holds, its shards on the disk, and the journal that says what is whole."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from genies.digests import value_digest
from genies.files import whole_file
from genies.store.shards import BITS, SCALARS, Layout

BLOCK_BYTES = 64 * 1024**2
"""Aimed size of one block of one store."""
MOST_TEXTS = 2**13
"""Texts of a block at most: those of an unfinished one are lost where a process is killed."""


ITEM_BYTES = {dtype: np.dtype(stored).itemsize for dtype, stored in BITS.items()}
"""Bytes of a stored number by the store's type."""
METADATA_BYTES = {"store": 16 * 1024, "block": 1024, "text": 40}
"""At most what a store, a block and a text take beside their numbers: descriptions, rows, journal, checksums."""


def block_texts(values_per_text: int, itemsize: int, texts: int) -> int:
    """How many texts one block holds: at most about ``BLOCK_BYTES``, or ``MOST_TEXTS`` (but 16); all nearly alike.

    Zarr stores the last chunk as large as the others, so blocks of uneven size would waste space.
    """
    most = min(MOST_TEXTS, BLOCK_BYTES // max(1, values_per_text * itemsize))
    blocks = -(-texts // max(16, most))
    return -(-texts // max(1, blocks))


def data_bytes(shapes: Mapping[str, tuple[int, ...]], dtype: str, texts: int) -> int:
    """Bytes of the shards of a store, exactly: numbers, checksums of chunks, and the shards' indices.

    Args:
        shapes: feature name → shape of one text's values, as ``StoreWriter`` takes it.
        dtype: of the store, "float32" or "bfloat16".
        texts: how many texts it holds; the last block takes as much as the others.
    """
    block = texts_per_block(shapes, dtype, texts)
    return sum(layout.file_bytes for layout in Layout.of(shapes, dtype, block).values()) * -(-texts // block)


def store_bytes(shapes: Mapping[str, tuple[int, ...]], dtype: str, texts: int) -> int:
    """Bytes of a whole store on the disk: ``data_bytes``, and at most ``METADATA_BYTES`` beside them."""
    blocks = -(-texts // texts_per_block(shapes, dtype, texts))
    beside = METADATA_BYTES["store"] + METADATA_BYTES["block"] * blocks + METADATA_BYTES["text"] * texts
    return data_bytes(shapes, dtype, texts) + beside


def texts_per_block(shapes: Mapping[str, tuple[int, ...]], dtype: str, texts: int) -> int:
    values = sum(math.prod(shape) for name, shape in shapes.items() if name not in SCALARS)
    return block_texts(values, ITEM_BYTES[dtype], texts)


def block_problem(
    folder: Path, layouts: Mapping[str, Layout], digests: Mapping[str, str], block: int, count: int
) -> str | None:
    """Reread a block of so many texts. Returns what is wrong with it, or None."""
    for name, expected in digests.items():
        try:
            digest = bytes_digest(layouts[name].texts(folder, block, count))
        except (OSError, KeyError) as error:
            return f"{name} cannot be read ({error})"
        if digest != expected:
            return f"{name} is not what was written"
    return None


def read_journal(path: Path, plan: str) -> dict[int, dict[str, str]]:
    """Blocks of this plan that were written, with the SHA-256 of each array's bytes; damaged lines do not count."""
    done: dict[int, dict[str, str]] = {}
    if not path.exists():
        return done
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            entry = json.loads(line)
            if entry["plan"] == plan and line == journal_line(plan, entry["block"], entry["sha256"]).rstrip("\n"):
                done[entry["block"]] = entry["sha256"]
        except (ValueError, KeyError, TypeError):
            continue
    return done


def write_journal(path: Path, plan: str, done: Mapping[int, Mapping[str, str]]) -> None:
    """The whole journal anew: lines of other plans go, and damaged ones."""
    with whole_file(path) as partial:
        partial.write_text("".join(journal_line(plan, *block) for block in sorted(done.items())), encoding="utf-8")


def journal_line(plan: str, block: int, digests: Mapping[str, str]) -> str:
    entry = {"plan": plan, "block": block, "sha256": dict(digests)}
    return json.dumps({**entry, "check": value_digest(entry)}, sort_keys=True) + "\n"


def bytes_digest(*arrays: np.ndarray) -> str:
    """SHA-256 of the bytes of arrays, one after the other."""
    digest = hashlib.sha256()
    for array in arrays:
        # An array is a buffer, but the stubs say so only from Python 3.12 on.
        digest.update(np.ascontiguousarray(array))  # type: ignore[arg-type]
    return digest.hexdigest()
