"""The activation store: features of one split under one view, in zarr, complete or invisible.

A store is a folder named by the digest of everything that decides its bytes. While it is being written it carries the
prefix ``.partial-``; it is renamed when every block was read back, so a folder without the prefix is complete. Within,
texts are stored in blocks; one block is one shard of each array and one line of ``journal.jsonl``, written after the
block's files were flushed to the disk. Presence of a chunk proves nothing to zarr; the journal does.

Layout::

    <digest>/
      store.json       what the store holds: digest fields, plan, shapes, dtype, statistics
      journal.jsonl    a line per block: number and SHA-256 of each array's bytes
      data.zarr/       heads (texts, layers, heads, head_dim), residual (texts, layers + 1, hidden),
                       log_probability (texts,), scored_tokens (texts,), example (texts,), response (texts,)
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genies.digests import value_digest
from genies.errors import StoreError
from genies.files import read_json, sync_file, sync_folder, write_json

STORE_FORMAT = 1
BLOCK_BYTES = 64 * 1024**2
"""Aimed size of one block of one store."""
PARTIAL = ".partial-"


def block_texts(values_per_text: int, itemsize: int, texts: int) -> int:
    """How many texts one block holds: at most about ``BLOCK_BYTES`` (but 16 texts), all blocks nearly alike.

    Zarr stores the last chunk as large as the others, so blocks of uneven size would waste space.
    """
    blocks = -(-texts // max(16, BLOCK_BYTES // (values_per_text * itemsize)))
    return -(-texts // max(1, blocks))


def to_bits(array: np.ndarray, dtype: str) -> np.ndarray:
    """float32 (…,) as it is stored: float32, or the upper 16 bits as uint16 for values that are bfloat16 already."""
    if dtype == "float32":
        return np.ascontiguousarray(array, np.float32)
    return (np.ascontiguousarray(array, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def from_bits(array: np.ndarray, dtype: str) -> np.ndarray:
    """The inverse of ``to_bits``, lossless: float32 of the same shape."""
    if dtype == "float32":
        return array
    return (array.astype(np.uint32) << 16).view(np.float32)


@contextmanager
def locked(root: Path, digests: Sequence[str]) -> Iterator[None]:
    """Be the only writer of these stores; a second one waits.

    Stores are locked in the order of their names, so that two jobs with overlapping lists cannot wait for each other.
    """
    from contextlib import ExitStack

    from filelock import FileLock

    (root / ".locks").mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for digest in sorted(digests):
            stack.enter_context(FileLock(root / ".locks" / digest))
        yield


class StoreWriter:
    """Writes one store block by block; opening it again after a kill goes on where the journal ends.

    Rows must be appended in the order of ``description["example"]`` and ``description["response"]``.
    """

    def __init__(self, root: Path, digest: str, description: Mapping[str, Any], shapes: Mapping[str, tuple]) -> None:
        """Open or resume.

        Args:
            root: folder of all stores.
            digest: the store's name.
            description: JSON values kept in ``store.json``; must hold ``dtype``, ``example``, ``response``,
                ``block_texts``. A partial store with another description is thrown away. The shapes are added to it.
            shapes: feature name → shape of one text's values (``()`` for scalars).
        """
        self.final = root / digest
        self.folder = root / f"{PARTIAL}{digest}"
        self.description = {**description, "shapes": {name: list(shape) for name, shape in shapes.items()}}
        self.dtype = description["dtype"]
        self.texts = len(description["example"])
        self.block = description["block_texts"]
        self.shapes = dict(shapes)
        self.done: dict[int, dict[str, str]] = {}
        if not self._resume():
            self._create()
        self._pending: dict[str, list[np.ndarray]] = {name: [] for name in self.shapes}
        self._next: int | None = None  # the text that an unfinished block waits for

    @property
    def blocks(self) -> int:
        """Number of blocks of the whole store."""
        return -(-self.texts // self.block)

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

    def finish(self, statistics: Mapping[str, Any], check: Mapping[str, Any]) -> None:
        """Read every block back, then make the store visible under its name.

        Args:
            statistics: JSON values to keep: what the extraction did.
            check: JSON values to keep: how exact it was.

        Raises:
            StoreError: a block is missing, or does not read back as it was written.
        """
        if absent := sorted(set(range(self.blocks)) - set(self.done)):
            raise StoreError(f"{self.folder}: block {absent[0]} of {self.blocks} was never written")
        ending = {"statistics": dict(statistics), "check": dict(check), "complete": True}
        write_json(self.folder / "store.json", {**self.description, **ending})
        for block in range(self.blocks):
            ActivationStore(self.folder).check_block(block)
        if self.final.exists():
            shutil.rmtree(self.final)
        self.folder.replace(self.final)
        sync_folder(self.final.parent)

    def _resume(self) -> bool:
        try:
            stored = read_json(self.folder / "store.json")
        except StoreError:
            return False
        if stored != json.loads(json.dumps(self.description)):
            return False
        import zarr

        self._group = zarr.open_group(self.folder / "data.zarr", mode="r+")
        self.done = read_journal(self.folder / "journal.jsonl")
        # A torn last line goes, so that the next one starts on a line of its own.
        (self.folder / "journal.jsonl").write_text("".join(_journal_line(b, d) for b, d in self.done.items()))
        for leftover in (self.folder / "data.zarr").rglob("*.partial"):
            leftover.unlink()
        return True

    def _create(self) -> None:
        import zarr

        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        self._group = zarr.create_group(self.folder / "data.zarr")
        for name, shape in self.shapes.items():
            self._create_array(name, shape)
        for name in ("example", "response"):
            self._group.create_array(name, data=np.array(self.description[name], np.int32))
        write_json(self.folder / "store.json", self.description)

    def _create_array(self, name: str, shape: tuple[int, ...]) -> None:
        from zarr.codecs import Crc32cCodec

        scalar = {"log_probability": "float64", "scored_tokens": "int32"}
        features = {"heads": (1, 1), "residual": (1,)}  # a chunk is one head, or one layer, of a block's texts
        chunks = features.get(name, ()) + shape[len(features.get(name, ())) :]
        self._group.create_array(
            name,
            shape=(self.texts, *shape),
            chunks=(self.block, *chunks),
            shards=(self.block, *shape),
            dtype=scalar.get(name) or {"float32": "float32", "bfloat16": "uint16"}[self.dtype],
            compressors=[Crc32cCodec()],
            attributes={"values": "bfloat16 bits"} if name in features and self.dtype == "bfloat16" else {},
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
            # Zarr's default is to leave chunks of zeros out, and to read what is not there as zeros.
            with zarr.config.set({"array.write_empty_chunks": True}):
                array = self._group[name]
                stored = stored.astype(array.dtype, copy=False)
                array[rows] = stored
            digests[name] = _bytes_digest(stored)
            file = self._shard_file(name, block, stored.ndim)
            sync_file(file)
            for folder in list(file.parents)[: stored.ndim + 1]:
                sync_folder(folder)
        with (self.folder / "journal.jsonl").open("a", encoding="utf-8") as journal:
            journal.write(_journal_line(block, digests))
            journal.flush()
            os.fsync(journal.fileno())
        sync_folder(self.folder)
        self.done[block] = digests

    def _shard_file(self, name: str, block: int, dimensions: int) -> Path:
        return self.folder.joinpath("data.zarr", name, "c", str(block), *["0"] * (dimensions - 1))


class ActivationStore:
    """A complete store, opened for reading.

    Attributes:
        example, response: which response each row is, int32 (texts,).
    """

    def __init__(self, folder: Path) -> None:
        """Open.

        Raises:
            StoreError: there is no complete store in the folder.
        """
        self.folder = Path(folder)
        self.description = read_json(self.folder / "store.json")
        if not self.description.get("complete"):
            raise StoreError(f"{folder}: the store is not complete; run snakemake again to finish it")
        self.dtype: str = self.description["dtype"]
        self.example = np.array(self.description["example"], np.int32)
        self.response = np.array(self.description["response"], np.int32)

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
        journal = read_journal(self.folder / "journal.jsonl")
        if block not in journal:
            raise StoreError(f"{self.folder}: block {block} is not in the journal; delete the store and run again")
        size = self.description["block_texts"]
        for name, expected in journal[block].items():
            if _bytes_digest(self._read(self._group[name], slice(block * size, (block + 1) * size))) != expected:
                raise StoreError(f"{self.folder}: block {block} of {name} is damaged; delete the store and run again")

    def _read(self, array: Any, selection: Any) -> np.ndarray:
        try:
            return array[selection]
        except (ValueError, OSError, KeyError) as error:
            raise StoreError(f"{self.folder}: unreadable ({error}); delete the store and run snakemake again") from None


def started(root: Path, digest: str) -> dict[str, Any] | None:
    """The description of a store that was begun and is not complete; None where there is none."""
    file = root / f"{PARTIAL}{digest}" / "store.json"
    try:
        return read_json(file) if file.is_file() else None
    except StoreError:
        return None


def is_complete(root: Path, digest: str) -> bool:
    """Whether a complete store of this name exists: its journal names every block and its files are there."""
    folder = root / digest
    if not folder.is_dir():
        return False
    store = ActivationStore(folder)
    blocks = -(-len(store.example) // store.description["block_texts"])
    return set(read_journal(folder / "journal.jsonl")) == set(range(blocks))


def read_journal(path: Path) -> dict[int, dict[str, str]]:
    """Blocks that were written, with the SHA-256 of each array's bytes; reading stops at the first torn line."""
    done: dict[int, dict[str, str]] = {}
    if not path.exists():
        return done
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            entry = json.loads(line)
            whole = line.endswith("\n") and entry["check"] == value_digest([entry["block"], entry["sha256"]])
        except (ValueError, KeyError, TypeError):
            break
        if not whole:
            break
        done[entry["block"]] = entry["sha256"]
    return done


def _journal_line(block: int, digests: Mapping[str, str]) -> str:
    return json.dumps({"block": block, "sha256": digests, "check": value_digest([block, digests])}) + "\n"


def _bytes_digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()
