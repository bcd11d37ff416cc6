"""Pairs of responses with their cached features: what interventions are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from genies.data.distributions import Example
from genies.data.pairs import Pair, PairTexts
from genies.engine.reads import EVERYTHING, Reads
from genies.engine.tokens import SCORED_VIEW
from genies.errors import DataError, StoreError
from genies.store.assembled import AssembledStore
from genies.store.held import Held

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
        stores: Mapping[str, AssembledStore],
        best_first: np.ndarray,
        labelled: bool = True,
        cluster: np.ndarray | None = None,
        reads: Mapping[str, Reads] | None = None,
        examples: Sequence[Example] = (),
        reference: AssembledStore | None = None,
    ) -> None:
        """Bind pairs to stores.

        Args:
            pairs: the pairs.
            stores: an open store for each view that is to be read.
            best_first: whether the best response is the first of the pair, bool (n,).
            labelled: whether ``label`` is given.
            cluster: number of each pair's cluster, int64 (n,); None: each example is one.
            reads: what the intervention declares by view; it gets nothing else, so that no fit depends on what others
                read. None: everything.
            examples: those that the pairs index into, for ``texts``.
            reference: store of a reference model, see ``genies.store.reference``; None where none is read.
        """
        self.example = np.array([pair.example for pair in pairs], np.int64)
        self.cluster = self.example if cluster is None else cluster
        self.label = best_first.copy() if labelled else None
        best, worse = (np.array([getattr(pair, side) for pair in pairs], np.int64) for side in ("best", "worse"))
        response = np.where(best_first[:, None], np.stack([best, worse], 1), np.stack([worse, best], 1))
        self._stores = dict(stores)
        self._texts = PairTexts.of(examples, pairs, best_first) if examples else None
        self._reads = dict.fromkeys(stores, EVERYTHING) if reads is None else dict(reads)
        self._reference = reference
        named = {**stores, **({} if reference is None else {_REFERENCE: reference})}
        self._rows = {
            view: store.rows(np.repeat(self.example, 2).tolist(), response.ravel().tolist()).reshape(-1, 2)
            for view, store in named.items()
        }

    def __len__(self) -> int:
        return len(self.example)

    def layers(self, feature: Literal["heads", "residual"]) -> list[int]:
        """Numbers of the feature's layers that can be read, ascending: those that any view declares.

        Raises:
            StoreError: there are no heads.
        """
        offered = [self._offered(view) for view in self._stores]
        if feature == "heads" and not any(held.head_layers for held in offered):
            raise StoreError(f"{self._any.parts[0].folder}: holds no heads: {self._any.parts[0].without_heads}")
        found = (held.residual if feature == "residual" else held.head_layers for held in offered)
        return sorted({layer for layers in found for layer in layers})

    @property
    def head_numbers(self) -> list[int]:
        """Numbers of the heads that can be read."""
        return self._any.head_numbers

    @property
    def final_layer(self) -> int:
        """Number of the layer after the final norm."""
        return self._any.final_layer

    @property
    def _any(self) -> AssembledStore:
        return next(iter(self._stores.values()))

    def heads(self, view: str, layer: int, heads: Sequence[int] | None = None) -> np.ndarray:
        """Head outputs of one layer, float32 (n, 2, heads, head_dim)."""
        store = self._store(view, "heads", self._reads_of(view).heads)
        return _paired(store.heads(layer, heads, self._rows[view].ravel()))

    def residual(self, view: str, layer: int) -> np.ndarray:
        """Residual stream of one layer, float32 (n, 2, hidden)."""
        reads = self._reads_of(view)
        is_final = bool(self._stores) and layer == self.final_layer
        store = self._store(view, f"residual of layer {layer}", reads.final if is_final else reads.inner)
        return _paired(store.residual(layer, self._rows[view].ravel()))

    def log_probability(self) -> np.ndarray:
        """Summed natural log-probability of response + EOS, float64 (n, 2)."""
        store = self._store(SCORED_VIEW, "log_probability", self._reads_of(SCORED_VIEW).log_probability)
        return _paired(store.log_probability(self._rows[SCORED_VIEW].ravel()))

    def scored_tokens(self) -> np.ndarray:
        """Tokens each log-probability sums over, int64 (n, 2)."""
        store = self._store(SCORED_VIEW, "log_probability", self._reads_of(SCORED_VIEW).log_probability)
        return _paired(store.scored_tokens(self._rows[SCORED_VIEW].ravel()))

    def reference_log_probability(self) -> np.ndarray:
        """The same as ``log_probability`` under the reference model, float64 (n, 2).

        Raises:
            DataError: no reference was given.
        """
        if self._reference is None:
            raise DataError("pairs: no log-probabilities of a reference model are given; name one as the reference")
        return _paired(self._reference.log_probability(self._rows[_REFERENCE].ravel()))

    def texts(self) -> PairTexts:
        """The prompts and responses themselves."""
        if self._texts is None:
            raise StoreError('texts: not declared by the intervention; add "texts" to its features')
        return self._texts

    def _reads_of(self, view: str) -> Reads:
        return self._reads.get(view, Reads())

    def _offered(self, view: str) -> Held:
        return self._stores[view].offered(self._reads_of(view))

    def _store(self, view: str, what: str, declared: bool) -> AssembledStore:
        if view not in self._stores:
            raise StoreError(f"view {view}: not declared by the intervention; add it to its fit_views or predict_views")
        if not declared:
            raise StoreError(f"view {view}: {what} is not declared by the intervention; add it to its features")
        return self._stores[view]


def _paired(values: np.ndarray) -> np.ndarray:
    """Values of texts, (2 n, ...), as those of their pairs, (n, 2, ...)."""
    return values.reshape(-1, 2, *values.shape[1:])
