"""The numbers of a complete activation store, block by block, checked whenever they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genies.engine.bits import from_bits
from genies.errors import REPAIR, StoreError
from genies.store.blocks import block_problem
from genies.store.shards import FEATURE_AXES, Layout


@dataclass(frozen=True)
class StoreData:
    """The blocks of a store.

    Attributes:
        folder: of the store.
        texts: how many it holds.
        block: texts of a block; the last one may hold fewer.
        dtype: of its features, "float32" or "bfloat16".
        layouts: of its arrays, by name.
        digests: SHA-256 of each array's bytes, by block.
    """

    folder: Path
    texts: int
    block: int
    dtype: str
    layouts: Mapping[str, Layout]
    digests: Mapping[int, Mapping[str, str]]

    def read_into(
        self, values: np.ndarray, places: np.ndarray, rows: np.ndarray, chunks: tuple[str, Sequence[int]]
    ) -> None:
        """Write some texts' values where they are wanted; memory also holds the values of one block.

        Args:
            values: (n, chunks, *inner), of the type of the values.
            places: where in ``values`` each text goes, int64 (m,).
            rows: of those texts, int64 (m,).
            chunks: as ``ActivationStore.chunks`` gives them.
        """
        name, numbers = chunks
        layout, of_block = self.layouts[name], rows // self.block
        with self._readable():
            for block in np.unique(of_block).tolist():
                here = of_block == block
                read = np.moveaxis(layout.read(self.folder, block, numbers)[:, rows[here] % self.block], 0, 1)
                values[places[here]] = from_bits(read, self.dtype) if name in FEATURE_AXES else read

    def empty(self, texts: int, chunks: tuple[str, Sequence[int]]) -> np.ndarray:
        """An array that ``read_into`` may fill."""
        layout = self.layouts[chunks[0]]
        dtype = np.dtype(np.float32) if chunks[0] in FEATURE_AXES else layout.dtype
        return np.empty((texts, len(chunks[1]), *layout.inner), dtype)

    def values(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """All that is stored of some texts, by name, (n, *shape) each: heads and residual as float32.

        Only the blocks of these texts are read.

        Args:
            rows: rows of the texts, int64 (n,).
        """
        of_block = rows // self.block
        found = {}
        for name, layout in self.layouts.items():
            stored = np.empty((len(rows), *layout.shape), layout.dtype)
            for block in np.unique(of_block).tolist():
                here = of_block == block
                stored[here] = self._whole(layout, block)[rows[here] - block * self.block]
            found[name] = from_bits(stored, self.dtype) if name in FEATURE_AXES else stored
        return found

    def check_block(self, block: int) -> None:
        """Reread one block and compare it with the journal.

        Raises:
            StoreError: it is missing or differs.
        """
        if problem := block_problem(self.folder, self.layouts, self.digests[block], block, self._texts_of(block)):
            raise StoreError(f"{self.folder}: block {block}: {problem}; {REPAIR}")

    def _texts_of(self, block: int) -> int:
        """How many texts a block holds."""
        return min(self.texts - block * self.block, self.block)

    def _whole(self, layout: Layout, block: int) -> np.ndarray:
        with self._readable():
            return layout.texts(self.folder, block, self._texts_of(block))

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self.folder}: unreadable ({error}); {REPAIR}") from None
