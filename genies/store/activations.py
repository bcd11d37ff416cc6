"""A part of an activation store: some features of some examples under one view, in zarr, complete or invisible.

A part is a folder named by the digests of everything that decides its bytes, see ``genies.store.parts``. While it is
being written it carries the prefix ``.partial-``; it is renamed when every block was read back, so a folder without the
prefix is complete. Within, texts are stored in blocks; one block is one shard of each array and one line of
``journal.jsonl``, written after the block's files were flushed to the disk. Presence of a chunk proves nothing to zarr;
the journal does. Its lines also name the plan (what the part holds, in which order), so that they alone say what a
killed extraction has done; ``store.json`` repeats them in the end, so that the loss of either file costs no block.

Nothing is trusted when read: chunks and shards carry checksums, ``store.json`` one of itself and those of zarr's own
small files, and a shard that is missing is an error, though zarr would read it as its fill value. A whole shard in the
place of another fits its own checksums: ``StoreData.check_block``, which compares with ``store.json``, finds that. A
damaged store is reopened (``reopen``) and extraction computes again what does not read back.

Layout::

    <digest>/
      store.json       what the store holds: digest fields, plan, shapes, dtype, blocks; and its own checksum
      journal.jsonl    a line per block: plan, number and SHA-256 of each array's bytes; and the line's checksum
      data.zarr/       example (texts,), response (texts,), and of these what is read: heads (texts, layers, heads,
                       head_dim), residual (texts, layers, hidden), log_probability (texts,), scored_tokens (texts,)
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genies.digests import file_sha256
from genies.errors import REPAIR, StoreError
from genies.files import PARTIAL, read_sealed, sync_folder
from genies.store.blocks import read_journal, write_journal
from genies.store.data import StoreData
from genies.store.shards import Layout

log = logging.getLogger(__name__)


class ActivationStore:
    """A complete part of a store, opened for reading.

    Attributes:
        example, response: which response each row is, int32 (texts,).
        blocks: number of blocks.
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
        self._block: int = self.description["block_texts"]
        self.dtype: str = self.description["dtype"]
        self.example = np.array(self.description["example"], np.int32)
        self.response = np.array(self.description["response"], np.int32)
        self.blocks = -(-len(self.example) // self._block)

    @cached_property
    def data(self) -> StoreData:
        """The numbers of the texts."""
        layouts = Layout.of(self.shapes, self.dtype, self._block)
        return StoreData(self.folder, len(self.example), self._block, self.dtype, layouts, self._sha256)

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
        """Layers of a feature (``heads`` or ``residual``) that are held, ascending.

        Raises:
            StoreError: there are no heads.
        """
        if feature == "heads" and "heads" not in self.description["shapes"]:
            raise StoreError(f"{self.folder}: holds no heads: {self.without_heads}")
        return self.description["layers"][feature]

    @property
    def without_heads(self) -> str:
        """Why there are no heads, and what to do."""
        if reason := self.description["without_heads"]:
            return f"{reason}; use interventions on the residual stream"
        return "extraction.heads leaves them out, or no intervention of the run declares that it reads them"

    @property
    def head_numbers(self) -> list[int]:
        """Heads of each layer that are held, ascending."""
        return self.description["heads"]

    @property
    def final_layer(self) -> int:
        """Number of the layer after the last block and the final norm."""
        return self.description["blocks"]

    def heads(self, layer: int, heads: Sequence[int] | None = None) -> np.ndarray:
        """Outputs of one layer's heads, of all that are stored or of those given, float32 (texts, heads, head_dim)."""
        return self._all(self.chunks("heads", layer, heads))

    def residual(self, layer: int) -> np.ndarray:
        """Residual stream of one layer, float32 (texts, hidden)."""
        return self._all(self.chunks("residual", layer))[:, 0]

    def log_probability(self) -> np.ndarray:
        """Summed log-probability of each response and EOS, natural logarithm, float64 (texts,)."""
        return self._all(("log_probability", [0]))[:, 0]

    def scored_tokens(self) -> np.ndarray:
        """Tokens that each log-probability sums over, int64 (texts,)."""
        return self._all(("scored_tokens", [0]))[:, 0].astype(np.int64)

    def chunks(self, feature: str, layer: int, heads: Sequence[int] | None = None) -> tuple[str, list[int]]:
        """Name of an array, and those of its chunks that are one layer, or some heads of it.

        Raises:
            StoreError: they are not held.
        """
        place = _place(self, feature, layer)
        if feature == "residual":
            return feature, [place]
        stored = self.head_numbers
        check_heads(self.folder, stored, heads or ())
        columns = range(len(stored)) if heads is None else [stored.index(int(head)) for head in heads]
        return feature, [place * len(stored) + column for column in columns]

    def _all(self, chunks: tuple[str, Sequence[int]]) -> np.ndarray:
        """Some chunks of an array over all texts, (texts, chunks, *inner of the array's layout)."""
        values, rows = self.data.empty(len(self.example), chunks), np.arange(len(self.example))
        self.data.read_into(values, rows, rows, chunks)
        return values


def _place(store: ActivationStore, feature: str, layer: int) -> int:
    """Index of a layer among those that a store holds of a feature."""
    layers = store.layers(feature)
    check_layer(store.folder, feature, layers, layer)
    return layers.index(layer)


def check_layer(folder: Path, feature: str, layers: Sequence[int], layer: int) -> None:
    """Raise StoreError unless a layer of a feature is among those that can be read."""
    if layer not in layers:
        raise StoreError(
            f"{folder}: holds {feature} of the layers {', '.join(map(str, layers))}, not {layer}; add it to "
            "extraction.layers"
        )


def check_heads(folder: Path, stored: Sequence[int], heads: Sequence[int]) -> None:
    """Raise StoreError unless heads are among those that can be read."""
    if absent := [head for head in heads if head not in stored]:
        raise StoreError(
            f"{folder}: holds the heads {', '.join(map(str, stored))}, not {absent[0]}; add it to extraction.heads"
        )


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
        write_journal(partial / "journal.jsonl", stored["plan"], done)


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
