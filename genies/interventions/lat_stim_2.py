"""LAT, second stimulus (GENIES, arXiv 2311.07723): as lat_stim_1, on a text that asks about the response."""

from __future__ import annotations

from genies.interventions.steps.direction_probe import DirectionProbe


class LatStim2(DirectionProbe):
    """Difference of means in each kept layer of the residual stream, at the end of the LAT template."""

    features = ("residual_inner",)
    fit_views = predict_views = ("lat_template",)
