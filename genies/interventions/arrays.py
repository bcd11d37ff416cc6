"""Pairs held in memory, so that an intervention can be fitted on arrays of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from genies.data.pairs import PairTexts
from genies.errors import DataError


class ArrayPairs:
    """n pairs of responses whose features are arrays; fulfils ``genies.interventions.base.Pairs``.

    Give what the intervention reads. Axis 0 counts pairs, axis 1 is (first, second); for ``fit`` the best response
    comes first:

        train = ArrayPairs(residual={"plain": activations})  # (n, 2, layers, hidden)
        probe = LatStim1().fit(train)
        probability = probe.predict_proba(ArrayPairs(residual={"plain": others}))

    Args:
        heads: by view, attention-head outputs at the last token, (n, 2, layers, heads, head_dim).
        residual: by view, the residual stream at the last token, (n, 2, L + 1, hidden), from the embedding to the state
            after the last of L blocks and the final norm.
        log_probability: summed natural log-probability of each response, (n, 2).
        scored_tokens: how many tokens each one sums over, (n, 2).
        reference_log_probability: the log-probabilities under a reference model, (n, 2).
        texts: prompts, first and second responses, n strings each.
        example: index of each pair's example, (n,). Default: a pair is an example.
        cluster: number of each pair's cluster, (n,), such as that of its prompt; pairs of one cluster stay together
            when pairs are split. Default: an example is a cluster.
        label: True where the first response is the best one, (n,).

    Raises:
        DataError: nothing given, or shapes that do not fit together.
    """

    def __init__(
        self,
        *,
        heads: Mapping[str, np.ndarray] | None = None,
        residual: Mapping[str, np.ndarray] | None = None,
        log_probability: np.ndarray | None = None,
        scored_tokens: np.ndarray | None = None,
        reference_log_probability: np.ndarray | None = None,
        texts: Sequence[Sequence[str]] | None = None,
        example: np.ndarray | None = None,
        cluster: np.ndarray | None = None,
        label: np.ndarray | None = None,
    ) -> None:
        self._heads = _Views.checked("heads", heads, 5)
        self._residual = _Views.checked("residual", residual, 4)
        scalars = {
            "log_probability": log_probability,
            "scored_tokens": scored_tokens,
            "reference_log_probability": reference_log_probability,
        }
        self._scalars = {name: _checked(array, name, 2) for name, array in scalars.items() if array is not None}
        self._texts = None if texts is None else PairTexts(*map(tuple, texts))
        arrays = [*self._heads.arrays.values(), *self._residual.arrays.values(), *self._scalars.values()]
        given = [*arrays, *(self._texts or ())]
        sizes = {len(one) for one in given} | {len(x) for x in (example, cluster, label) if x is not None}
        if len(sizes) != 1 or not given:
            raise DataError(
                f"ArrayPairs: arrays of {sorted(sizes)} pairs; give at least one feature, all of equal length"
            )
        self.example = np.arange(sizes.pop()) if example is None else np.asarray(example, dtype=np.int64)
        self.cluster = self.example if cluster is None else np.asarray(cluster, dtype=np.int64)
        self.label = None if label is None else np.asarray(label, dtype=bool)

    def __len__(self) -> int:
        return len(self.example)

    def layers(self, feature: Literal["heads", "residual"]) -> list[int]:
        """Numbers of the feature's layers."""
        return list(range((self._heads if feature == "heads" else self._residual).any.shape[2]))

    @property
    def head_numbers(self) -> list[int]:
        """Numbers of the heads of each layer."""
        return list(range(self._heads.any.shape[3]))

    @property
    def final_layer(self) -> int:
        """Number of the residual stream's last layer."""
        return self._residual.any.shape[2] - 1

    def heads(self, view: str, layer: int, heads: Sequence[int] | None = None) -> np.ndarray:
        """Attention-head outputs of one layer, float32 (n, 2, heads, head_dim)."""
        features = self._heads.layer(view, layer)
        return np.asarray(features if heads is None else features[:, :, list(heads)], dtype=np.float32)

    def residual(self, view: str, layer: int) -> np.ndarray:
        """Residual stream of one layer, float32 (n, 2, hidden)."""
        return np.asarray(self._residual.layer(view, layer), dtype=np.float32)

    def log_probability(self) -> np.ndarray:
        """Summed natural log-probabilities, float64 (n, 2)."""
        return np.asarray(self._scalar("log_probability"), dtype=np.float64)

    def scored_tokens(self) -> np.ndarray:
        """How many tokens each log-probability sums over, int64 (n, 2)."""
        return np.asarray(self._scalar("scored_tokens"), dtype=np.int64)

    def reference_log_probability(self) -> np.ndarray:
        """Summed natural log-probabilities under a reference model, float64 (n, 2)."""
        return np.asarray(self._scalar("reference_log_probability"), dtype=np.float64)

    def texts(self) -> PairTexts:
        """The prompts and responses themselves."""
        if self._texts is None:
            raise DataError("ArrayPairs: no texts given; pass texts=(prompts, first responses, second responses)")
        return self._texts

    def take(self, rows: np.ndarray) -> Self:
        """The pairs of these rows, in their order."""
        rest = {"example": self.example[rows], "cluster": self.cluster[rows], "label": _maybe(self.label, rows)}
        texts = self._texts and tuple(np.array(part, object)[rows] for part in self._texts)
        return self._map(lambda array: array[rows], texts, **rest)

    def swapped(self) -> Self:
        """The same pairs with first and second exchanged."""
        label = None if self.label is None else ~self.label
        texts = self._texts and (self._texts.prompt, self._texts.second, self._texts.first)
        return self._map(lambda array: array[:, ::-1], texts, example=self.example, cluster=self.cluster, label=label)

    def _map(
        self,
        change: Callable[[np.ndarray], np.ndarray],
        texts: Sequence[Sequence[str]] | None,
        **rest: np.ndarray | None,
    ) -> Self:
        heads, residual = self._heads.map(change), self._residual.map(change)
        scalars = {name: change(a) for name, a in self._scalars.items()}
        return type(self)(heads=heads, residual=residual, texts=texts, **scalars, **rest)

    def _scalar(self, name: str) -> np.ndarray:
        if name not in self._scalars:
            raise DataError(f"ArrayPairs: no {name} given; pass {name}=array of shape (n, 2)")
        return self._scalars[name]


@dataclass(frozen=True)
class _Views:
    """The arrays of one feature by view, (n, 2, layers, ...) each."""

    feature: str
    arrays: Mapping[str, np.ndarray]

    @classmethod
    def checked(cls, feature: str, arrays: Mapping[str, np.ndarray] | None, dimensions: int) -> _Views:
        return cls(
            feature,
            {view: _checked(array, f"{feature}, view {view}", dimensions) for view, array in (arrays or {}).items()},
        )

    @property
    def any(self) -> np.ndarray:
        """That of one view; all have as many layers and heads."""
        if not self.arrays:
            raise DataError(f"ArrayPairs: no {self.feature} given; pass {self.feature}={{view: array}}")
        return next(iter(self.arrays.values()))

    def layer(self, view: str, layer: int) -> np.ndarray:
        """Features of one layer, (n, 2, ...)."""
        if view not in self.arrays:
            given = ", ".join(self.arrays) or "none"
            raise DataError(
                f"ArrayPairs: no {self.feature} of view {view} (given: {given}); pass "
                f"{self.feature}={{{view!r}: array}}"
            )
        array = self.arrays[view]
        if not 0 <= layer < array.shape[2]:
            raise DataError(
                f"ArrayPairs: {self.feature}, view {view} has the layers 0 to {array.shape[2] - 1}, not {layer}; give "
                "the arrays of the model that the intervention was fitted on"
            )
        return array[:, :, layer]

    def map(self, change: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays with a change, by view."""
        return {view: change(array) for view, array in self.arrays.items()}


def _checked(array: np.ndarray, name: str, dimensions: int) -> np.ndarray:
    array = np.asarray(array)
    if array.ndim != dimensions or array.shape[1] != 2:
        raise DataError(
            f"ArrayPairs: {name} has shape {array.shape}; needed are {dimensions} axes, the second of size 2"
        )
    return array


def _maybe(array: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if array is None else array[rows]
