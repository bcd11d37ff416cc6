"""The floor: no preference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from genies.interventions.base import Intervention, Pairs


class Random(Intervention[Pairs]):
    """Gives every pair the probability ½, which counts as half right; reads nothing."""

    drawn = False
    saw = ()
    no_text_scores = "it prefers nothing"

    def fit(self, pairs: Pairs) -> Self:
        return self

    def decision_function(self, pairs: Pairs) -> np.ndarray:
        """Zeros, float64 (n, 2)."""
        return np.zeros((len(pairs), 2))

    def predict_proba(self, pairs: Pairs) -> np.ndarray:
        return np.full(len(pairs), 0.5)

    def get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return {}, {}

    def set_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> Self:
        return self
