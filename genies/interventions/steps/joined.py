"""Rows of one or several sets of pairs as one set, and pairs whose features stay in memory for many fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from genies.data.pairs import PairTexts
from genies.interventions.base import Pairs

KEPT_BYTES = 2**31
"""Features of one set of pairs that are kept in memory, at most."""


class KeptPairs:
    """Pairs that keep in memory what was read of them, up to a limit; the rest is read anew each time.

    Fulfils ``genies.interventions.base.Pairs``.
    """

    def __init__(self, pairs: Pairs, limit: int = KEPT_BYTES) -> None:
        """Wrap pairs.

        Args:
            pairs: whose features are kept.
            limit: bytes that are kept at most.
        """
        self.example, self.cluster, self.label = pairs.example, pairs.cluster, pairs.label
        self._pairs, self._room = pairs, limit
        self._kept: dict[tuple[str, str, int], np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.example)

    def layers(self, feature: Literal["heads", "residual"]) -> list[int]:
        """Numbers of the feature's layers that can be read."""
        return self._pairs.layers(feature)

    @property
    def head_numbers(self) -> list[int]:
        """Numbers of the heads of each layer that can be read."""
        return self._pairs.head_numbers

    @property
    def final_layer(self) -> int:
        """Number of the residual stream's layer after the final norm."""
        return self._pairs.final_layer

    def heads(self, view: str, layer: int, heads: Sequence[int] | None = None) -> np.ndarray:
        """Head outputs of one layer, float32 (n, 2, heads, head_dim); all heads of the layer are kept."""
        features = self._read(("heads", view, layer), lambda: self._pairs.heads(view, layer))
        if heads is None:
            return features
        return features[:, :, np.searchsorted(self._pairs.head_numbers, heads)]

    def residual(self, view: str, layer: int) -> np.ndarray:
        """Residual stream of one layer, float32 (n, 2, hidden)."""
        return self._read(("residual", view, layer), lambda: self._pairs.residual(view, layer))

    def log_probability(self) -> np.ndarray:
        """Summed natural log-probabilities, float64 (n, 2)."""
        return self._pairs.log_probability()

    def scored_tokens(self) -> np.ndarray:
        """How many tokens each one sums over, int64 (n, 2)."""
        return self._pairs.scored_tokens()

    def reference_log_probability(self) -> np.ndarray:
        """Summed natural log-probabilities under a reference model, float64 (n, 2)."""
        return self._pairs.reference_log_probability()

    def texts(self) -> PairTexts:
        """The prompts and responses themselves."""
        return self._pairs.texts()

    def _read(self, key: tuple[str, str, int], read: Callable[[], np.ndarray]) -> np.ndarray:
        if key in self._kept:
            return self._kept[key]
        features = read()
        if features.nbytes <= self._room:
            self._room -= features.nbytes
            self._kept[key] = features
        return features


class JoinedPairs:
    """Rows of several sets of pairs, one set after the other; a row may be there several times.

    Fulfils ``genies.interventions.base.Pairs``.
    """

    def __init__(
        self, parts: Sequence[tuple[Pairs, np.ndarray]], cluster: np.ndarray, example: np.ndarray | None = None
    ) -> None:
        """Join them.

        Args:
            parts: sets of pairs of one model, each with the rows that are taken of it, int64 (m,).
            cluster: number of each row's cluster in the joined set, int64 (sum of m,).
            example: likewise of its example; default: that of its own set, which must be the only one.
        """
        self._parts = [(pairs, np.asarray(rows, np.int64)) for pairs, rows in parts]
        self.cluster = cluster
        self.example = self._joined(lambda pairs: pairs.example) if example is None else example
        labels = [None if pairs.label is None else pairs.label[rows] for pairs, rows in self._parts]
        known = [label for label in labels if label is not None]
        self.label = np.concatenate(known) if len(known) == len(labels) else None

    def __len__(self) -> int:
        return len(self.cluster)

    def layers(self, feature: Literal["heads", "residual"]) -> list[int]:
        """Numbers of the feature's layers that can be read."""
        return self._first.layers(feature)

    @property
    def head_numbers(self) -> list[int]:
        """Numbers of the heads of each layer that can be read."""
        return self._first.head_numbers

    @property
    def final_layer(self) -> int:
        """Number of the residual stream's layer after the final norm."""
        return self._first.final_layer

    @property
    def _first(self) -> Pairs:
        return self._parts[0][0]

    def heads(self, view: str, layer: int, heads: Sequence[int] | None = None) -> np.ndarray:
        """Head outputs of one layer, float32 (n, 2, heads, head_dim)."""
        return self._joined(lambda pairs: pairs.heads(view, layer, heads))

    def residual(self, view: str, layer: int) -> np.ndarray:
        """Residual stream of one layer, float32 (n, 2, hidden)."""
        return self._joined(lambda pairs: pairs.residual(view, layer))

    def log_probability(self) -> np.ndarray:
        """Summed natural log-probabilities, float64 (n, 2)."""
        return self._joined(lambda pairs: pairs.log_probability())

    def scored_tokens(self) -> np.ndarray:
        """How many tokens each one sums over, int64 (n, 2)."""
        return self._joined(lambda pairs: pairs.scored_tokens())

    def reference_log_probability(self) -> np.ndarray:
        """Summed natural log-probabilities under a reference model, float64 (n, 2)."""
        return self._joined(lambda pairs: pairs.reference_log_probability())

    def texts(self) -> PairTexts:
        """The prompts and responses themselves."""
        found: list[tuple[str, ...]] = [(), (), ()]
        for pairs, rows in self._parts:
            found = [(*before, *(part[row] for row in rows)) for before, part in zip(found, pairs.texts(), strict=True)]
        return PairTexts(*found)

    def _joined(self, read: Callable[[Pairs], np.ndarray]) -> np.ndarray:
        return np.concatenate([read(pairs)[rows] for pairs, rows in self._parts])


def drawn_order(cluster: np.ndarray, seed: int) -> np.ndarray:
    """Rows in an order drawn by seed in which those of a cluster follow each other, int64 (n,).

    Args:
        cluster: number of each row's cluster, int64 (n,).
        seed: of the draw.
    """
    clusters, position = np.unique(cluster, return_inverse=True)
    place = np.random.default_rng(seed).permutation(len(clusters))
    return np.argsort(place[position], kind="stable")


def whole_clusters(order: np.ndarray, cluster: np.ndarray, size: int) -> np.ndarray:
    """The first rows of an order that are at least ``size`` and leave no cluster in parts, ascending, int64 (m,).

    Of one order, the rows of a smaller size are among those of a larger one.

    Args:
        order: as ``drawn_order`` gives it.
        cluster: number of each row's cluster, int64 (n,).
        size: rows that are wanted; all rows where there are no more.
    """
    count = min(size, len(order))
    while count < len(order) and cluster[order[count]] == cluster[order[count - 1]]:
        count += 1
    return np.sort(order[:count])
