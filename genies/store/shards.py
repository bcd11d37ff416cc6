"""Shards: the numbers of one array and one block, in one file of zarr's sharding format, written and read in one go.

Zarr's metadata describe the files, so that whatever reads zarr reads them; its own codecs take several times as long.
A shard is its chunks one after the other, each followed by its CRC-32C, and an index: where each chunk begins and how
many bytes it has, and the index's own CRC-32C (zarr's specification, version 3, codecs ``sharding_indexed`` with the
index at the end, ``bytes`` little-endian, ``crc32c``).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from genies.files import sync_file

FEATURE_AXES = {"heads": 2, "residual": 1}
"""How many axes of a text's values count chunks: a chunk is one head, or one layer, of a block's texts."""
SCALARS = {"log_probability": "float64", "scored_tokens": "int32"}
"""What is stored once per text, and its type."""
BITS = {"float32": "float32", "bfloat16": "uint16"}
"""As what a number of features is stored, by the store's type."""
CRC = np.dtype("<u4")
PLACE = np.dtype("<u8")
"""Of a chunk's offset, and of its length, in the index."""

READ_BACK = 2**19
"""Bytes that are read back at a time: so many stay in a core's cache."""


@dataclass(frozen=True)
class Layout:
    """How one array of a store lies in its shards.

    Attributes:
        name: of the array.
        block: texts of a shard; the last one is filled up with zeros.
        shape: of one text's values.
        dtype: as which a number is stored.
    """

    name: str
    block: int
    shape: tuple[int, ...]
    dtype: np.dtype

    @classmethod
    def of(cls, shapes: Mapping[str, Sequence[int]], dtype: str, block: int) -> dict[str, Layout]:
        """By name, the layouts of the arrays of a store of a type, "float32" or "bfloat16"."""
        return {
            name: cls(name, block, tuple(shape), np.dtype(SCALARS.get(name) or BITS[dtype]).newbyteorder("<"))
            for name, shape in shapes.items()
        }

    @property
    def chunked(self) -> tuple[int, ...]:
        """Axes of a text's values that count chunks: (layers,), (layers, heads), or none."""
        return self.shape[: FEATURE_AXES.get(self.name, 0)]

    @property
    def inner(self) -> tuple[int, ...]:
        """Axes of a text's values within a chunk."""
        return self.shape[len(self.chunked) :]

    @property
    def chunk_bytes(self) -> int:
        """Of a chunk's numbers."""
        return self.block * math.prod(self.inner) * self.dtype.itemsize

    @property
    def index_bytes(self) -> int:
        """Of the index and its checksum."""
        return 2 * PLACE.itemsize * math.prod(self.chunked) + CRC.itemsize

    @property
    def file_bytes(self) -> int:
        """Of a shard."""
        return math.prod(self.chunked) * (self.chunk_bytes + CRC.itemsize) + self.index_bytes

    def file(self, folder: Path, block: int) -> Path:
        """Where the shard of a block lies within a store's folder."""
        return folder.joinpath("data.zarr", self.name, "c", str(block), *["0"] * len(self.shape))

    def create(self, group: Any, texts: int, dtype: str) -> None:
        """Describe the array in a zarr group of a store of so many texts, of type "float32" or "bfloat16"."""
        from zarr.codecs import Crc32cCodec

        group.create_array(
            self.name,
            shape=(texts, *self.shape),
            chunks=(self.block, *(1 for _ in self.chunked), *self.inner),
            shards=(self.block, *self.shape),
            dtype=self.dtype,
            compressors=[Crc32cCodec()],
            attributes={"values": "bfloat16 bits"} if self.name in FEATURE_AXES and dtype == "bfloat16" else {},
        )

    def encoded(self, pieces: Sequence[np.ndarray]) -> np.ndarray:
        """The shard's bytes, uint8 (``file_bytes``,).

        Args:
            pieces: values of the block's texts in their order, (n, *shape) of ``dtype`` each.
        """
        count, size = math.prod(self.chunked), self.chunk_bytes
        shard = np.empty(self.file_bytes, np.uint8)
        body = shard[: -self.index_bytes].reshape(count, size + CRC.itemsize)
        numbers = body[:, :size].view(self.dtype).reshape(count, self.block, *self.inner)
        filled = 0
        for values in pieces:
            rows = slice(filled, filled + len(values))
            numbers[:, rows] = np.moveaxis(values.reshape(len(values), count, *self.inner), 1, 0)
            filled += len(values)
        numbers[:, filled:] = 0
        for chunk in body:
            chunk[size:] = _checksum(chunk[:size])
        index = shard[-self.index_bytes :]
        places = index[: -CRC.itemsize].view(PLACE).reshape(count, 2)
        places[:, 0] = np.arange(count) * body.shape[1]
        places[:, 1] = body.shape[1]
        index[-CRC.itemsize :] = _checksum(index[: -CRC.itemsize])
        return shard

    def read(self, folder: Path, block: int, chunks: Sequence[int] | None = None) -> np.ndarray:
        """Numbers of some chunks of a block's shard, or of all, (chunks, block, *inner) of ``dtype``.

        Args:
            folder: of the store.
            block: number of the block.
            chunks: their numbers, counted over the axes of ``chunked`` in C order.

        Raises:
            OSError: the shard is missing, has another size, or does not fit its checksums.
        """
        path, whole = self.file(folder, block), self.chunk_bytes + CRC.itemsize
        name = path.relative_to(folder)
        if not path.is_file():
            raise OSError(f"{name} is missing")
        with path.open("rb", buffering=0) as file:
            if (found := os.fstat(file.fileno()).st_size) != self.file_bytes:
                raise OSError(f"{name} has {found} of {self.file_bytes} bytes")
            offsets = self._offsets(file.fileno(), name)
            wanted = offsets if chunks is None else offsets[np.asarray(chunks, np.int64)]
            body = np.empty((len(wanted), whole), np.uint8)
            # Runs of chunks that lie one after the other are read at once.
            ends = np.flatnonzero(np.diff(wanted, append=-1) != whole) + 1
            for first, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
                _read_exactly(file.fileno(), body[first:end], int(wanted[first]), name)
        for chunk in body:
            if bytes(chunk[-CRC.itemsize :]) != _checksum(chunk[: -CRC.itemsize]).tobytes():
                raise OSError(f"{name}: a chunk does not fit its checksum")
        return body[:, : -CRC.itemsize].view(self.dtype).reshape(len(wanted), self.block, *self.inner)

    def texts(self, folder: Path, block: int, count: int) -> np.ndarray:
        """Values of a block's first texts, (count, *shape) of ``dtype``; errors as of ``read``."""
        values = np.moveaxis(self.read(folder, block)[:, :count], 0, 1)
        return np.ascontiguousarray(values).reshape(count, *self.shape)

    def _offsets(self, descriptor: int, name: Path) -> np.ndarray:
        """Where each chunk begins, int64 (chunks,), from the shard's index."""
        index = np.empty(self.index_bytes, np.uint8)
        _read_exactly(descriptor, index, self.file_bytes - self.index_bytes, name)
        if bytes(index[-CRC.itemsize :]) != _checksum(index[: -CRC.itemsize]).tobytes():
            raise OSError(f"{name}: the index does not fit its checksum")
        places = index[: -CRC.itemsize].view(PLACE).reshape(-1, 2)
        whole = self.chunk_bytes + CRC.itemsize
        if (places[:, 1] != whole).any() or (places[:, 0] > self.file_bytes - self.index_bytes - whole).any():
            raise OSError(f"{name}: the index names chunks that the shard does not hold")
        return places[:, 0].astype(np.int64)


def zarr_files(description: Mapping[str, Any], layouts: Mapping[str, Layout]) -> dict[str, bytes]:
    """Zarr's metadata of a store, and the two small arrays that name the rows, by path: everything but the shards.

    Args:
        description: of the store, with ``dtype``, ``example`` and ``response``.
        layouts: of the arrays.
    """
    import zarr

    files: dict[str, Any] = {}
    group = zarr.create_group(zarr.storage.MemoryStore(files))
    for layout in layouts.values():
        layout.create(group, len(description["example"]), description["dtype"])
    for name in ("example", "response"):
        group.create_array(name, data=np.array(description[name], np.int32))
    return {name: content.to_bytes() for name, content in sorted(files.items())}


def write_shard(path: Path, shard: np.ndarray) -> None:
    """Write a shard's bytes, flush them to the disk and read them back.

    What is there of the shard goes first: another store may hold the same file by a hard link.

    Raises:
        OSError: they do not read back as they were written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(shard.data)
    sync_file(path)
    piece = bytearray(READ_BACK)
    with path.open("rb", buffering=0) as file:
        for start in range(0, len(shard) + 1, READ_BACK):
            read = np.frombuffer(piece, np.uint8)[: file.readinto(piece)]
            if not np.array_equal(read, shard[start : start + READ_BACK]):
                raise OSError(f"{path}: does not read back as it was written; check the disk")


def _read_exactly(descriptor: int, into: np.ndarray, offset: int, name: Path) -> None:
    """Fill an array with a file's bytes from an offset on."""
    view = into.data.cast("B")
    while view:
        read = os.preadv(descriptor, [view], offset)
        if not read:
            raise OSError(f"{name} ends too early")
        view, offset = view[read:], offset + read


def _checksum(numbers: np.ndarray) -> np.ndarray:
    """CRC-32C of bytes, as the four bytes that zarr writes."""
    return np.array([google_crc32c.value(numbers)], CRC).view(np.uint8)
