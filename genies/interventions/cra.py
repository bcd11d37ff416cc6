"""Contrastive Representation Arithmetic (GENIES, arXiv 2311.07723): mms on the answer Yes minus the answer No."""

from __future__ import annotations

from typing import Any

import numpy as np

from genies.interventions.steps.direction_probe import DirectionProbe


class ContrastiveRepresentationArithmetic(DirectionProbe):
    """Difference of means of h(yes) − α · h(no) in each kept attention head.

    Args:
        alpha: α; 0 reads the yes view alone.
        **parameters: those of ``DirectionProbe``.
    """

    features = ("heads",)
    fit_views = predict_views = ("yes", "no")

    def __init__(self, *, alpha: float = 1.0, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.alpha = alpha

    def combine(self, *views: np.ndarray) -> np.ndarray:
        yes, no = views
        return yes - np.float32(self.alpha) * no
