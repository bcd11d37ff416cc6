"""Blocks of a store: how many texts one holds, its shards on the disk, and the journal that says what is whole."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from genies.digests import value_digest
from genies.files import whole_file

FEATURE_AXES = {"heads": 2, "residual": 1}
"""How many axes of a text's values count chunks: a chunk is one head, or one layer, of a block's texts."""
BLOCK_BYTES = 64 * 1024**2
"""Aimed size of one block of one store."""


ITEM_BYTES = {"float32": 4, "bfloat16": 2}
"""Bytes of a stored number by the store's type."""


SCALARS = {"log_probability": "float64", "scored_tokens": "int32"}
"""What is stored once per text, and its type."""


METADATA_BYTES = {"store": 16 * 1024, "block": 1024, "text": 40}
"""At most what a store, a block and a text take beside their numbers: descriptions, rows, journal, checksums."""


def block_texts(values_per_text: int, itemsize: int, texts: int) -> int:
    """How many texts one block holds: at most about ``BLOCK_BYTES`` (but 16 texts), all blocks nearly alike.

    Zarr stores the last chunk as large as the others, so blocks of uneven size would waste space.
    """
    blocks = -(-texts // max(16, BLOCK_BYTES // (values_per_text * itemsize)))
    return -(-texts // max(1, blocks))


def data_bytes(shapes: Mapping[str, tuple[int, ...]], dtype: str, texts: int) -> int:
    """Bytes of the shards of a store, exactly: numbers, checksums of chunks, and the shards' indices.

    Args:
        shapes: feature name → shape of one text's values, as ``StoreWriter`` takes it.
        dtype: of the store, "float32" or "bfloat16".
        texts: how many texts it holds; the last block takes as much as the others.
    """
    block = texts_per_block(shapes, dtype, texts)
    total = 0
    for name, shape in shapes.items():
        item = np.dtype(SCALARS[name]).itemsize if name in SCALARS else ITEM_BYTES[dtype]
        chunks = math.prod(shape[: FEATURE_AXES.get(name, 0)])
        # Each chunk ends with its checksum; the index has an offset and a length of each, and a checksum of its own.
        total += block * math.prod(shape) * item + chunks * (4 + 16) + 4
    return total * -(-texts // block)


def store_bytes(shapes: Mapping[str, tuple[int, ...]], dtype: str, texts: int) -> int:
    """Bytes of a whole store on the disk: ``data_bytes``, and at most ``METADATA_BYTES`` beside them."""
    blocks = -(-texts // texts_per_block(shapes, dtype, texts))
    beside = METADATA_BYTES["store"] + METADATA_BYTES["block"] * blocks + METADATA_BYTES["text"] * texts
    return data_bytes(shapes, dtype, texts) + beside


def texts_per_block(shapes: Mapping[str, tuple[int, ...]], dtype: str, texts: int) -> int:
    values = sum(math.prod(shape) for name, shape in shapes.items() if name not in SCALARS)
    return block_texts(values, ITEM_BYTES[dtype], texts)


def check_shard(folder: Path, array: Any, block: int) -> None:
    """Raise OSError where a shard is missing or has another size: zarr would read some of these as its fill value."""
    shard = shard_file(folder, array.basename, block, array.ndim)
    chunk = math.prod(array.chunks)
    inner = math.prod(array.shards) // chunk
    # Each chunk has a checksum of 4 bytes and 16 in the index, which has a checksum, too.
    expected = inner * (chunk * array.dtype.itemsize + 4 + 16) + 4
    found = shard.stat().st_size if shard.is_file() else None
    if found != expected:
        what = "is missing" if found is None else f"has {found} of {expected} bytes"
        raise OSError(f"{shard.relative_to(folder)} {what}")


def block_problem(folder: Path, group: Any, digests: Mapping[str, str], block: int, size: int) -> str | None:
    """Reread a block. Returns what is wrong with it, or None."""
    for name, expected in digests.items():
        array = group[name]
        try:
            check_shard(folder, array, block)
            digest = bytes_digest(array[block * size : (block + 1) * size])
        except (ValueError, OSError, KeyError) as error:
            return f"{name} cannot be read ({error})"
        if digest != expected:
            return f"{name} is not what was written"
    return None


def shard_file(folder: Path, name: str, block: int, dimensions: int) -> Path:
    return folder.joinpath("data.zarr", name, "c", str(block), *["0"] * (dimensions - 1))


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


def bytes_digest(array: np.ndarray) -> str:
    # An array is a buffer, but the stubs say so only from Python 3.12 on.
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()  # type: ignore[arg-type]
