"""LAT as its authors describe it (Zou et al., arXiv 2310.01405, section 3.1): a principal component of differences."""

from __future__ import annotations

import numpy as np

from genies.interventions.steps.direction_probe import DirectionProbe


class LatPca(DirectionProbe):
    """First principal component of the pair differences in each kept layer of the residual stream."""

    features = ("residual_inner",)
    fit_views = predict_views = ("plain",)

    def direction(self, best: np.ndarray, worse: np.ndarray) -> np.ndarray:
        """Unit vector (sites, dim) along which the differences (n, sites, dim) vary most.

        Differences count in both orders, so that their mean is zero and labels play no part but in the sign: best
        responses lie ahead of worse ones, on average, over the pairs given. Differences that are all zero give zero.
        """
        differences = (best - worse).transpose(1, 0, 2)
        # The first eigenvector of the pairs' products or of the numbers', whichever are fewer.
        few = differences.shape[1] < differences.shape[2]
        rows = differences if few else differences.swapaxes(1, 2)
        vector = np.linalg.eigh(rows @ rows.swapaxes(1, 2)).eigenvectors[:, :, -1]
        component = (vector[:, None] @ rows)[:, 0] if few else vector
        length = np.linalg.norm(component, axis=1, keepdims=True)
        component = np.divide(component, length, out=np.zeros_like(component), where=length > 0)
        lead = np.einsum("snd,sd->s", differences, component)
        sign = np.where(lead < 0, -1.0, 1.0) * differences.any(axis=(1, 2))
        return component * sign[:, None]
