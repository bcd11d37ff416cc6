"""LAT, first stimulus (GENIES, arXiv 2311.07723, after Zou et al., arXiv 2310.01405): directions in whole layers."""

from __future__ import annotations

from genies.interventions.steps.direction_probe import DirectionProbe


class LatStim1(DirectionProbe):
    """Difference of means in each kept layer of the residual stream.

    GENIES published it under the name of Linear Artificial Tomography, whose authors describe a principal component
    instead: that is ``lat_pca``.
    """

    features = ("residual_inner",)
    fit_views = predict_views = ("plain",)
