"""Pairs of responses with their cached features: what interventions are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from genies.data.pairs import Pair
from genies.errors import DataError, StoreError
from genies.store.activations import ActivationStore

_REFERENCE = "reference"
"""Of the rows in the reference's store; no view has this name."""


class StoredPairs:
    """n pairs (first, second) over the stores of their views; implements ``genies.interventions.base.Pairs``.

    Features are read when asked for and not kept, so that memory holds one layer at a time.

    Attributes:
        example: index of each pair's example in its file, int64 (n,).
        cluster: number of each pair's cluster, int64 (n,); see ``genies.data.clusters``.
        label: True where the first response is the best one, bool (n,); None when it is withheld.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        stores: Mapping[str, ActivationStore],
        best_first: np.ndarray,
        labelled: bool = True,
        cluster: np.ndarray | None = None,
        reference: ActivationStore | None = None,
    ) -> None:
        """Bind pairs to stores.

        Args:
            pairs: the pairs.
            stores: an open store for each view that is to be read.
            best_first: whether the best response is the first of the pair, bool (n,).
            labelled: whether ``label`` is given.
            cluster: number of each pair's cluster, int64 (n,); None: each example is one.
            reference: store of a reference model, see ``genies.store.reference``; None where none is read.
        """
        self.example = np.array([pair.example for pair in pairs], np.int64)
        self.cluster = self.example if cluster is None else cluster
        self.label = best_first.copy() if labelled else None
        best, worse = (np.array([getattr(pair, side) for pair in pairs], np.int64) for side in ("best", "worse"))
        response = np.where(best_first[:, None], np.stack([best, worse], 1), np.stack([worse, best], 1))
        self._stores = dict(stores)
        self._reference = reference
        named = {**stores, **({} if reference is None else {_REFERENCE: reference})}
        self._rows = {
            view: store.rows(np.repeat(self.example, 2).tolist(), response.ravel().tolist()).reshape(-1, 2)
            for view, store in named.items()
        }

    def __len__(self) -> int:
        return len(self.example)

    def layers(self, feature: Literal["heads", "residual"]) -> list[int]:
        """Numbers of the feature's layers that are stored."""
        return self._any.layers(feature)

    @property
    def head_numbers(self) -> list[int]:
        """Numbers of the heads that are stored."""
        return self._any.head_numbers

    @property
    def final_layer(self) -> int:
        """Number of the layer after the final norm."""
        return self._any.final_layer

    @property
    def _any(self) -> ActivationStore:
        return next(iter(self._stores.values()))

    def heads(self, view: str, layer: int, heads: Sequence[int] | None = None) -> np.ndarray:
        """Head outputs of one layer, float32 (n, 2, heads, head_dim)."""
        return self._store(view).heads(layer, heads)[self._rows[view]]

    def residual(self, view: str, layer: int) -> np.ndarray:
        """Residual stream of one layer, float32 (n, 2, hidden)."""
        return self._store(view).residual(layer)[self._rows[view]]

    def log_probability(self) -> np.ndarray:
        """Summed natural log-probability of response + EOS, float64 (n, 2)."""
        return self._store("plain").log_probability()[self._rows["plain"]]

    def scored_tokens(self) -> np.ndarray:
        """Tokens each log-probability sums over, int64 (n, 2)."""
        return self._store("plain").scored_tokens()[self._rows["plain"]]

    def reference_log_probability(self) -> np.ndarray:
        """The same as ``log_probability`` under the reference model, float64 (n, 2).

        Raises:
            DataError: no reference was given.
        """
        if self._reference is None:
            raise DataError("pairs: no log-probabilities of a reference model are given; name one as the reference")
        return self._reference.log_probability()[self._rows[_REFERENCE]]

    def _store(self, view: str) -> ActivationStore:
        if view not in self._stores:
            raise StoreError(f"view {view}: not declared by the intervention; add it to its fit_views or predict_views")
        return self._stores[view]
