"""The writer of an activation store: block by block, each whole before the journal says so."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from genies.digests import value_digest
from genies.engine.bits import to_bits
from genies.errors import StoreError
from genies.files import PARTIAL, sync_file, sync_folder, write_sealed
from genies.making import MADE_WITH, recorded_making
from genies.store.activations import describe_store
from genies.store.blocks import block_problem, bytes_digest, journal_line, read_journal, write_journal
from genies.store.shards import FEATURE_AXES, Layout, write_shard, zarr_files

ADOPTED = "adopted"
"""Field of a description: where another version's store was taken over, as ``genies.store.adoption`` states it."""
BESIDE = ("check", "device", "tokens", MADE_WITH, "plan", "files", "blocks_sha256", "complete")
"""What ``store.json`` holds beside the description."""


class BlockThreads:
    """Threads that write blocks; the caller waits where each of them has one."""

    def __init__(self, count: int) -> None:
        """So many threads, which several writers may share."""
        self._pool = ThreadPoolExecutor(max_workers=count)
        self._free = threading.Semaphore(count)

    def start(self, write: Callable[..., None], *arguments: Any) -> Future[None]:
        """Begin to write a block as soon as a thread is free."""
        self._free.acquire()
        future = self._pool.submit(write, *arguments)
        future.add_done_callback(lambda _: self._free.release())
        return future

    def __enter__(self) -> BlockThreads:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


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
        making: Mapping[str, Any] | None = None,
        threads: BlockThreads | None = None,
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
            making: what computes the blocks that are missing, as ``genies.making.made_with`` states it. It is kept
                likewise, after what computed the others.
            threads: write whole blocks meanwhile; None: ``append`` does. Their errors come out of a later call.
        """
        self.final = root / digest
        self.folder = root / f"{PARTIAL}{digest}"
        self.description = {**description, "shapes": {name: list(shape) for name, shape in shapes.items()}}
        self.plan = value_digest(self.description)
        self.dtype = description["dtype"]
        self.texts = len(description["example"])
        self.block = description["block_texts"]
        self.shapes = dict(shapes)
        self._layouts = Layout.of(self.shapes, self.dtype, self.block)
        self._threads = threads
        self._writing: dict[int, Future[None]] = {}  # by block
        self._written = threading.Lock()  # held while the journal is written
        self._journal = self.folder / "journal.jsonl"
        self.done = read_journal(self._journal, self.plan)
        self._sound: set[int] = set()  # blocks that were read back
        self._making = [dict(making)] if making else []
        self._makings = recorded_making(describe_store(root, digest) or {}) if self.done else []
        if len(self.done) < self.blocks or not self._makings:
            self._note_making()
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
            if block not in self.done and block not in self._writing:
                self._take(position, {name: a[position - first : upto - first] for name, a in features.items()})
            position = upto

    def settle(self) -> None:
        """Wait until every whole block is on the disk.

        Raises:
            OSError: one could not be written, or does not read back as it was.
        """
        while self._writing:
            block = next(iter(self._writing))
            self._writing[block].result()
            del self._writing[block]

    def drop_damaged(self) -> dict[int, str]:
        """Read every block back that was not yet; those that differ are to be computed again.

        Returns:
            What is wrong, by block.
        """
        self.settle()
        damaged = {}
        for block in sorted(set(self.done) - self._sound):
            problem = block_problem(self.folder, self._layouts, self.done[block], block, len(self._rows(block)))
            if problem:
                damaged[block] = problem
                del self.done[block]
            else:
                self._sound.add(block)
        if damaged:
            self._note_making()
            write_sealed(self.folder / "store.json", self._stored)
            write_journal(self._journal, self.plan, self.done)
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
        write_journal(self._journal, self.plan, self.done)
        blocks = {str(block): digests for block, digests in self.done.items()}
        write_sealed(self.folder / "store.json", {**self._stored, "blocks_sha256": blocks, "complete": True})
        if self.final.exists():
            shutil.rmtree(self.final)
        self.folder.replace(self.final)
        sync_folder(self.final.parent)

    def _note_making(self) -> None:
        """Count in what computes here; what is stored of the makings is this list."""
        self._makings += [making for making in self._making if making not in self._makings]

    def _open(self, notes: dict[str, Any]) -> None:
        """Lay out everything but the blocks, whatever is there of it: a kill may have left half a file."""
        if not self.done and self.folder.exists():
            shutil.rmtree(self.folder)
        data = self.folder / "data.zarr"
        files = zarr_files(self.description, self._layouts)
        for name, content in files.items():
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            (data / name).write_bytes(content)
            sync_file(data / name)
        for leftover in data.rglob("*.partial"):
            leftover.unlink()
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        self._stored = {**self.description, **notes, MADE_WITH: self._makings, "plan": self.plan, "files": hashes}
        write_sealed(self.folder / "store.json", self._stored)
        write_journal(self._journal, self.plan, self.done)

    def _take(self, position: int, features: Mapping[str, np.ndarray]) -> None:
        expected = self._next if self._next is not None else position - position % self.block
        if position != expected:
            raise StoreError(f"{self.folder}: texts came out of order, {position} where {expected} was due")
        for name, pending in self._pending.items():
            pending.append(features[name])
        self._next = position + len(next(iter(features.values())))
        if self._next == self.texts or self._next % self.block == 0:
            self._hand_over(position // self.block, self._pending)
            self._pending = {name: [] for name in self.shapes}
            self._next = None

    def _hand_over(self, block: int, pieces: Mapping[str, list[np.ndarray]]) -> None:
        if self._threads is None:
            self._write_block(block, pieces)
            return
        for written in [number for number, future in self._writing.items() if future.done()]:
            self._writing.pop(written).result()
        self._writing[block] = self._threads.start(self._write_block, block, pieces)

    def _rows(self, block: int) -> range:
        """Numbers of a block's texts."""
        return range(block * self.block, min(self.texts, (block + 1) * self.block))

    def _write_block(self, block: int, pieces: Mapping[str, list[np.ndarray]]) -> None:
        """Write a block's shards and read them back, then say in the journal that it is whole."""
        digests = {}
        for name, values in pieces.items():
            layout = self._layouts[name]
            bits = [to_bits(piece, self.dtype) if name in FEATURE_AXES else piece for piece in values]
            stored = [piece.astype(layout.dtype, copy=False) for piece in bits]
            file = layout.file(self.folder, block)
            write_shard(file, layout.encoded(stored))
            digests[name] = bytes_digest(*stored)
            for folder in list(file.parents)[: len(layout.shape) + 2]:
                sync_folder(folder)
        with self._written:
            with self._journal.open("a", encoding="utf-8") as journal:
                journal.write(journal_line(self.plan, block, digests))
                journal.flush()
                os.fsync(journal.fileno())
            sync_folder(self.folder)
            self.done[block] = digests
            self._sound.add(block)
