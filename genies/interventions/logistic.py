"""Logistic regression on the best layer of the residual stream (Alain & Bengio, arXiv 1610.01644)."""

from __future__ import annotations

from typing import Any

import numpy as np

from genies.interventions.parameters import PositiveFloat
from genies.interventions.steps.layer_probe import LayerProbe
from genies.interventions.steps.selection import logistic_regression, texts_of


class Logistic(LayerProbe):
    """L2 logistic regression of best against worse on single texts.

    Args:
        strength: scikit-learn's C, the inverse of the penalty's weight.
        **parameters: those of ``LayerProbe``.
    """

    def __init__(self, *, strength: PositiveFloat = 1.0, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.strength = strength

    def weights(self, best: np.ndarray, worse: np.ndarray) -> np.ndarray:
        texts, labels = texts_of(np.stack([best, worse], axis=1))
        return logistic_regression(texts, labels, self.strength, self.protocol)[0]
