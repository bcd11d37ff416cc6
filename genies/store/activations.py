"""The activation store: features of one split under one view, in zarr, complete or invisible.

A store is a folder named by the digest of everything that decides its bytes. While it is being written it carries the
prefix ``.partial-``; it is renamed when every block was read back, so a folder without the prefix is complete. Within,
texts are stored in blocks; one block is one shard of each array and one line of ``journal.jsonl``, written after the
block's files were flushed to the disk. Presence of a chunk proves nothing to zarr; the journal does. Its lines also
name the plan (what the store holds, in which order), so that they alone say what a killed extraction has done;
``store.json`` repeats them in the end, so that the loss of either file costs no block.

Nothing is trusted when read: chunks and shards carry checksums, ``store.json`` one of itself and those of zarr's own
small files, and a shard that is missing is an error, though zarr would read it as its fill value. A damaged store is
reopened (``reopen``) and extraction computes again what does not read back.

Layout::

    <digest>/
      store.json       what the store holds: digest fields, plan, shapes, dtype, blocks; and its own checksum
      journal.jsonl    a line per block: plan, number and SHA-256 of each array's bytes; and the line's checksum
      data.zarr/       heads (texts, layers, heads, head_dim), residual (texts, layers + 1, hidden),
                       log_probability (texts,), scored_tokens (texts,), example (texts,), response (texts,)
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genies.digests import file_sha256, value_digest
from genies.engine.bits import from_bits, to_bits
from genies.errors import REPAIR, StoreError
from genies.files import PARTIAL, read_sealed, sync_file, sync_folder, whole_file, write_sealed

BLOCK_BYTES = 64 * 1024**2
"""Aimed size of one block of one store."""
ITEM_BYTES = {"float32": 4, "bfloat16": 2}
"""Bytes of a stored number by the store's type."""
SCALARS = {"log_probability": "float64", "scored_tokens": "int32"}
"""What is stored once per text, and its type."""
FEATURE_AXES = {"heads": 2, "residual": 1}
"""How many axes of a text's values count chunks: a chunk is one head, or one layer, of a block's texts."""
METADATA_BYTES = {"store": 16 * 1024, "block": 1024, "text": 40}
"""At most what a store, a block and a text take beside their numbers: descriptions, rows, journal, checksums."""

log = logging.getLogger(__name__)


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
    block = _block_texts(shapes, dtype, texts)
    total = 0
    for name, shape in shapes.items():
        item = np.dtype(SCALARS[name]).itemsize if name in SCALARS else ITEM_BYTES[dtype]
        chunks = math.prod(shape[: FEATURE_AXES.get(name, 0)])
        # Each chunk ends with its checksum; the index has an offset and a length of each, and a checksum of its own.
        total += block * math.prod(shape) * item + chunks * (4 + 16) + 4
    return total * -(-texts // block)


def store_bytes(shapes: Mapping[str, tuple[int, ...]], dtype: str, texts: int) -> int:
    """Bytes of a whole store on the disk: ``data_bytes``, and at most ``METADATA_BYTES`` beside them."""
    blocks = -(-texts // _block_texts(shapes, dtype, texts))
    beside = METADATA_BYTES["store"] + METADATA_BYTES["block"] * blocks + METADATA_BYTES["text"] * texts
    return data_bytes(shapes, dtype, texts) + beside


def _block_texts(shapes: Mapping[str, tuple[int, ...]], dtype: str, texts: int) -> int:
    values = sum(math.prod(shape) for name, shape in shapes.items() if name not in SCALARS)
    return block_texts(values, ITEM_BYTES[dtype], texts)


class StoreWriter:
    """Writes one store block by block; opening it again after a kill goes on with the blocks that the journal lacks.

    Rows must be appended in the order of ``description["example"]`` and ``description["response"]``.
    """

    def __init__(
        self,
        root: Path,
        digest: str,
        description: Mapping[str, Any],
        shapes: Mapping[str, tuple],
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        """Open or resume.

        Args:
            root: folder of all stores.
            digest: the store's name.
            description: JSON values kept in ``store.json``; must hold ``dtype``, ``example``, ``response``,
                ``block_texts``. Blocks of a partial store with another description are thrown away. The shapes are
                added to it.
            shapes: feature name → shape of one text's values (``()`` for scalars).
            notes: JSON values that are kept beside the description and do not bind the blocks.
        """
        self.final = root / digest
        self.folder = root / f"{PARTIAL}{digest}"
        self.description = {**description, "shapes": {name: list(shape) for name, shape in shapes.items()}}
        self.plan = value_digest(self.description)
        self.dtype = description["dtype"]
        self.texts = len(description["example"])
        self.block = description["block_texts"]
        self.shapes = dict(shapes)
        self._journal = self.folder / "journal.jsonl"
        self.done = read_journal(self._journal, self.plan)
        self._sound: set[int] = set()  # blocks that were read back
        self._open(dict(notes or {}))
        self._pending: dict[str, list[np.ndarray]] = {name: [] for name in self.shapes}
        self._next: int | None = None  # the text that an unfinished block waits for

    @property
    def blocks(self) -> int:
        """Number of blocks of the whole store."""
        return -(-self.texts // self.block)

    def end_of_block(self, text: int) -> int:
        """Where the block ends of which ``text`` is not the first one; ``text`` itself where it is the first."""
        return min(self.texts, -(-text // self.block) * self.block)

    def missing(self) -> np.ndarray:
        """Which texts are still to be computed, bool (texts,)."""
        mask = np.ones(self.texts, bool)
        for block in self.done:
            mask[block * self.block : (block + 1) * self.block] = False
        return mask

    def append(self, first: int, features: Mapping[str, np.ndarray]) -> None:
        """Take the features of texts ``first``, ``first + 1``, …; whole blocks go to the disk at once.

        Texts of finished blocks are passed over. Within an unfinished block texts must come without a gap.
        """
        count = len(next(iter(features.values())))
        position = first
        while position < first + count:
            block = position // self.block
            upto = min(first + count, (block + 1) * self.block)
            if block not in self.done:
                self._take(position, {name: a[position - first : upto - first] for name, a in features.items()})
            position = upto

    def drop_damaged(self) -> dict[int, str]:
        """Read every block back that was not yet; those that differ are to be computed again.

        Returns:
            What is wrong, by block.
        """
        damaged = {}
        for block in sorted(set(self.done) - self._sound):
            problem = _block_problem(self.folder, self._group, self.done[block], block, self.block)
            if problem:
                damaged[block] = problem
                del self.done[block]
            else:
                self._sound.add(block)
        if damaged:
            _write_journal(self._journal, self.plan, self.done)
        return damaged

    def finish(self) -> None:
        """Read every block back, then make the store visible under its name.

        Raises:
            StoreError: a block is missing, or does not read back as it was written.
        """
        if damaged := self.drop_damaged():
            block, problem = next(iter(damaged.items()))
            raise StoreError(f"{self.folder}: block {block} does not read back ({problem}); check the disk, run again")
        if absent := sorted(set(range(self.blocks)) - set(self.done)):
            raise StoreError(f"{self.folder}: block {absent[0]} of {self.blocks} was never written")
        _write_journal(self._journal, self.plan, self.done)
        blocks = {str(block): digests for block, digests in self.done.items()}
        write_sealed(self.folder / "store.json", {**self._stored, "blocks_sha256": blocks, "complete": True})
        if self.final.exists():
            shutil.rmtree(self.final)
        self.folder.replace(self.final)
        sync_folder(self.final.parent)

    def _open(self, notes: dict[str, Any]) -> None:
        """Lay out everything but the blocks, whatever is there of it: a kill may have left half a file."""
        import zarr

        if not self.done and self.folder.exists():
            shutil.rmtree(self.folder)
        data = self.folder / "data.zarr"
        files = self._zarr_files()
        for name, content in files.items():
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            (data / name).write_bytes(content)
            sync_file(data / name)
        for leftover in data.rglob("*.partial"):
            leftover.unlink()
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        self._stored = {**self.description, **notes, "plan": self.plan, "files": hashes}
        write_sealed(self.folder / "store.json", self._stored)
        _write_journal(self._journal, self.plan, self.done)
        self._group = zarr.open_group(data, mode="r+")

    def _zarr_files(self) -> dict[str, bytes]:
        """Zarr's metadata, and the two small arrays that tell the rows, by path: everything but the blocks."""
        import zarr

        files: dict[str, Any] = {}
        group = zarr.create_group(zarr.storage.MemoryStore(files))
        for name, shape in self.shapes.items():
            self._create_array(group, name, shape)
        for name in ("example", "response"):
            group.create_array(name, data=np.array(self.description[name], np.int32))
        return {name: content.to_bytes() for name, content in sorted(files.items())}

    def _create_array(self, group: Any, name: str, shape: tuple[int, ...]) -> None:
        from zarr.codecs import Crc32cCodec

        axes = FEATURE_AXES.get(name, 0)
        chunks = (1,) * axes + shape[axes:]
        group.create_array(
            name,
            shape=(self.texts, *shape),
            chunks=(self.block, *chunks),
            shards=(self.block, *shape),
            dtype=SCALARS.get(name) or {"float32": "float32", "bfloat16": "uint16"}[self.dtype],
            compressors=[Crc32cCodec()],
            attributes={"values": "bfloat16 bits"} if name in FEATURE_AXES and self.dtype == "bfloat16" else {},
        )

    def _take(self, position: int, features: Mapping[str, np.ndarray]) -> None:
        expected = self._next if self._next is not None else position - position % self.block
        if position != expected:
            raise StoreError(f"{self.folder}: texts came out of order, {position} where {expected} was due")
        for name, pending in self._pending.items():
            pending.append(features[name])
        self._next = position + len(next(iter(features.values())))
        if self._next == self.texts or self._next % self.block == 0:
            self._write_block(position // self.block, {n: np.concatenate(p) for n, p in self._pending.items()})
            self._pending = {name: [] for name in self.shapes}
            self._next = None

    def _write_block(self, block: int, arrays: Mapping[str, np.ndarray]) -> None:
        import zarr

        rows = slice(block * self.block, min(self.texts, (block + 1) * self.block))
        digests = {}
        for name, values in arrays.items():
            stored = to_bits(values, self.dtype) if name in ("heads", "residual") else values
            file = _shard_file(self.folder, name, block, stored.ndim)
            file.unlink(missing_ok=True)  # zarr reads what is there of a shard that it writes in part, as the last one
            # Zarr's default is to leave chunks of zeros out, and to read what is not there as zeros.
            with zarr.config.set({"array.write_empty_chunks": True}):
                array = self._group[name]
                stored = stored.astype(array.dtype, copy=False)
                array[rows] = stored
            digests[name] = _bytes_digest(stored)
            sync_file(file)
            for folder in list(file.parents)[: stored.ndim + 1]:
                sync_folder(folder)
        with self._journal.open("a", encoding="utf-8") as journal:
            journal.write(_journal_line(self.plan, block, digests))
            journal.flush()
            os.fsync(journal.fileno())
        sync_folder(self.folder)
        self.done[block] = digests


class ActivationStore:
    """A complete store, opened for reading.

    Attributes:
        example, response: which response each row is, int32 (texts,).
    """

    def __init__(self, folder: Path) -> None:
        """Open.

        Raises:
            StoreError: there is no complete store in the folder, or something beside its blocks is damaged.
        """
        self.folder = Path(folder)
        self.description = read_sealed(self.folder / "store.json")
        if not self.description.get("complete"):
            raise StoreError(f"{folder}: the store is not complete; {REPAIR}")
        for name, expected in self.description["files"].items():
            file = self.folder / "data.zarr" / name
            if not file.is_file() or file_sha256(file) != expected:
                raise StoreError(f"{file}: missing or damaged; {REPAIR}")
        journal = self.folder / "journal.jsonl"
        self._sha256 = {int(block): digests for block, digests in self.description["blocks_sha256"].items()}
        if read_journal(journal, self.description["plan"]) != self._sha256:
            raise StoreError(f"{journal}: missing or damaged; {REPAIR}")
        self._block = self.description["block_texts"]
        self.dtype: str = self.description["dtype"]
        self.example = np.array(self.description["example"], np.int32)
        self.response = np.array(self.description["response"], np.int32)

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-len(self.description["example"]) // self.description["block_texts"])

    @cached_property
    def _group(self) -> Any:
        import zarr

        return zarr.open_group(self.folder / "data.zarr", mode="r")

    @cached_property
    def _row(self) -> dict[tuple[int, int], int]:
        return {key: row for row, key in enumerate(zip(self.example.tolist(), self.response.tolist(), strict=True))}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one text's values by feature."""
        return {name: tuple(shape) for name, shape in self.description["shapes"].items()}

    def rows(self, example: Sequence[int], response: Sequence[int]) -> np.ndarray:
        """Rows of the given responses, int64 (n,).

        Raises:
            StoreError: the store does not hold one of them.
        """
        try:
            return np.array([self._row[key] for key in zip(example, response, strict=True)], np.int64)
        except KeyError as error:
            raise StoreError(f"{self.folder}: holds no features of example, response {error.args[0]}") from None

    def layers(self, feature: str) -> list[int]:
        """Layers of a feature (``heads`` or ``residual``) that the store holds, ascending.

        Raises:
            StoreError: it holds no heads.
        """
        if feature == "heads" and "heads" not in self.description["shapes"]:
            reason = self.description["without_heads"] or "extraction.heads leaves them out"
            raise StoreError(f"{self.folder}: holds no heads: {reason}; use interventions on the residual stream")
        return self.description["layers"][feature]

    @property
    def head_numbers(self) -> list[int]:
        """Heads of each layer that the store holds, ascending."""
        return self.description["heads"]

    @property
    def final_layer(self) -> int:
        """Number of the layer after the last block and the final norm."""
        return self.description["blocks"]

    def heads(self, layer: int, heads: Sequence[int] | None = None) -> np.ndarray:
        """Outputs of one layer's heads, of all that are stored or of those given, float32 (texts, heads, head_dim)."""
        place = self._place("heads", layer)
        array = self._group["heads"]
        if heads is None:
            return from_bits(self._read(array, (slice(None), place)), self.dtype)
        stored = self.head_numbers
        if absent := [head for head in heads if head not in stored]:
            raise StoreError(
                f"{self.folder}: holds the heads {', '.join(map(str, stored))}, not {absent[0]}; add it to "
                "extraction.heads"
            )
        columns = [self._read(array, (slice(None), place, stored.index(int(head)))) for head in heads]
        return from_bits(np.stack(columns, 1), self.dtype)

    def residual(self, layer: int) -> np.ndarray:
        """Residual stream of one layer, float32 (texts, hidden)."""
        return from_bits(self._read(self._group["residual"], (slice(None), self._place("residual", layer))), self.dtype)

    def _place(self, feature: str, layer: int) -> int:
        layers = self.layers(feature)
        if layer not in layers:
            raise StoreError(
                f"{self.folder}: holds {feature} of the layers {', '.join(map(str, layers))}, not {layer}; add it to "
                "extraction.layers"
            )
        return layers.index(layer)

    def log_probability(self) -> np.ndarray:
        """Summed log-probability of each response and EOS, natural logarithm, float64 (texts,)."""
        return self._read(self._group["log_probability"], slice(None))

    def scored_tokens(self) -> np.ndarray:
        """Tokens that each log-probability sums over, int64 (texts,)."""
        return self._read(self._group["scored_tokens"], slice(None)).astype(np.int64)

    def check_block(self, block: int) -> None:
        """Reread one block and compare it with the journal.

        Raises:
            StoreError: it is missing or differs.
        """
        if problem := _block_problem(self.folder, self._group, self._sha256[block], block, self._block):
            raise StoreError(f"{self.folder}: block {block}: {problem}; {REPAIR}")

    def _read(self, array: Any, selection: Any) -> np.ndarray:
        try:
            for block in range(self.blocks):
                _check_shard(self.folder, array, block)
            return array[selection]
        except (ValueError, OSError, KeyError) as error:
            raise StoreError(f"{self.folder}: unreadable ({error}); {REPAIR}") from None


def _check_shard(folder: Path, array: Any, block: int) -> None:
    """Raise OSError where a shard is missing or has another size: zarr would read some of these as its fill value."""
    shard = _shard_file(folder, array.basename, block, array.ndim)
    chunk = math.prod(array.chunks)
    inner = math.prod(array.shards) // chunk
    # Each chunk has a checksum of 4 bytes and 16 in the index, which has a checksum, too.
    expected = inner * (chunk * array.dtype.itemsize + 4 + 16) + 4
    found = shard.stat().st_size if shard.is_file() else None
    if found != expected:
        what = "is missing" if found is None else f"has {found} of {expected} bytes"
        raise OSError(f"{shard.relative_to(folder)} {what}")


def _block_problem(folder: Path, group: Any, digests: Mapping[str, str], block: int, size: int) -> str | None:
    """Reread a block. Returns what is wrong with it, or None."""
    for name, expected in digests.items():
        array = group[name]
        try:
            _check_shard(folder, array, block)
            digest = _bytes_digest(array[block * size : (block + 1) * size])
        except (ValueError, OSError, KeyError) as error:
            return f"{name} cannot be read ({error})"
        if digest != expected:
            return f"{name} is not what was written"
    return None


def _shard_file(folder: Path, name: str, block: int, dimensions: int) -> Path:
    return folder.joinpath("data.zarr", name, "c", str(block), *["0"] * (dimensions - 1))


def describe_store(root: Path, digest: str) -> dict[str, Any] | None:
    """What ``store.json`` says of a store, be it complete or only begun; None where nothing readable is there."""
    for folder in (root / digest, root / f"{PARTIAL}{digest}"):
        try:
            return read_sealed(folder / "store.json")
        except StoreError:
            continue
    return None


def has_begun(root: Path, digest: str) -> bool:
    """Whether a store was begun and is not complete."""
    return (root / f"{PARTIAL}{digest}").is_dir()


def reopen(root: Path, digest: str) -> None:
    """Make a store, if there is one, partial again: extraction computes what does not read back. Hold its lock."""
    if not (root / digest).is_dir():
        return
    partial = root / f"{PARTIAL}{digest}"
    if partial.exists():
        shutil.rmtree(partial)
    (root / digest).replace(partial)
    sync_folder(root)
    stored = describe_store(root, digest)
    if stored and stored.get("complete"):  # else the journal alone knows the blocks
        done = {int(block): digests for block, digests in stored["blocks_sha256"].items()}
        _write_journal(partial / "journal.jsonl", stored["plan"], done)


def is_complete(root: Path, digest: str) -> bool:
    """Whether a complete store of this name exists, and is sound beside its blocks, which are not reread."""
    if not (root / digest).is_dir():
        return False
    try:
        ActivationStore(root / digest)
    except StoreError as error:
        log.warning("%s", error)
        return False
    return True


def read_journal(path: Path, plan: str) -> dict[int, dict[str, str]]:
    """Blocks of this plan that were written, with the SHA-256 of each array's bytes; damaged lines do not count."""
    done: dict[int, dict[str, str]] = {}
    if not path.exists():
        return done
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            entry = json.loads(line)
            if entry["plan"] == plan and line == _journal_line(plan, entry["block"], entry["sha256"]).rstrip("\n"):
                done[entry["block"]] = entry["sha256"]
        except (ValueError, KeyError, TypeError):
            continue
    return done


def _write_journal(path: Path, plan: str, done: Mapping[int, Mapping[str, str]]) -> None:
    """The whole journal anew: lines of other plans go, and damaged ones."""
    with whole_file(path) as partial:
        partial.write_text("".join(_journal_line(plan, *block) for block in sorted(done.items())), encoding="utf-8")


def _journal_line(plan: str, block: int, digests: Mapping[str, str]) -> str:
    entry = {"plan": plan, "block": block, "sha256": dict(digests)}
    return json.dumps({**entry, "check": value_digest(entry)}, sort_keys=True) + "\n"


def _bytes_digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()
