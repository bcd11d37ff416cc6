"""Checks of what interventions are given, so that bad input ends with one line and not inside a solver."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from genies.errors import DataError
from genies.interventions.base import Pairs


class Labelled(Protocol):
    """What pairs with features and pairs of texts have in common: ``label`` and ``example`` of ``Pairs``."""

    @property
    def label(self) -> np.ndarray | None: ...

    @property
    def example(self) -> np.ndarray: ...


def check_training_pairs(pairs: Labelled) -> None:
    """Raise DataError unless every pair has its best response first, as ``fit`` assumes."""
    if pairs.label is not None and not np.all(pairs.label):
        row = int(np.argmin(pairs.label))
        raise DataError(
            f"training pairs: pair {row} (example {pairs.example[row]}) has its worse response first; "
            "swap its two responses before fitting"
        )


def check_finite(features: np.ndarray, pairs: Pairs, name: str) -> np.ndarray:
    """Return ``features`` (n, …) as given, or raise DataError naming the first example with an infinity or a NaN."""
    finite = np.isfinite(features).reshape(len(features), -1).all(axis=1)
    if not finite.all():
        example = pairs.example[int(np.argmin(finite))]
        raise DataError(
            f"{name}: example {example} has values that are not finite; extract again in bfloat16 or float32, "
            "float16 overflows in some models"
        )
    return features


def check_width(features: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Return ``features`` (…, dim) as given, or raise DataError unless what was fitted (…, dim) is as wide."""
    if features.shape[-1] != fitted.shape[-1]:
        raise DataError(
            f"features: {features.shape[-1]} numbers wide, the fit was made on {fitted.shape[-1]}; "
            "give features of the model that it was fitted on"
        )
    return features
