"""Mass-mean probe with the inverse covariance (Marks & Tegmark, arXiv 2310.06824, section 5.1)."""

from __future__ import annotations

import numpy as np

from genies.interventions.steps.layer_probe import LayerProbe


class MassMeanWhitened(LayerProbe):
    """Σ⁻¹ · difference of means on the best layer, Σ the covariance around each class's mean.

    A hidden state has more dimensions than a source has texts, so Σ is shrunk towards a multiple of the identity
    (Ledoit & Wolf, 2004) where the authors take a pseudo-inverse.
    """

    def weights(self, best: np.ndarray, worse: np.ndarray) -> np.ndarray:
        from sklearn.covariance import ledoit_wolf

        centred = np.concatenate([best - best.mean(axis=0), worse - worse.mean(axis=0)])
        covariance, _ = ledoit_wolf(centred, assume_centered=True)
        difference = best.mean(axis=0) - worse.mean(axis=0)
        if not covariance.any():
            return difference
        return np.linalg.solve(covariance, difference)
