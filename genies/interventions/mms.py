"""Mass Mean Shift (Li et al., arXiv 2306.03341): directions between class means in the best attention heads."""

from __future__ import annotations

from genies.interventions.steps.direction_probe import DirectionProbe


class MassMeanShift(DirectionProbe):
    """Difference of means in the output of each kept attention head, before the attention's output projection."""

    features = ("heads",)
    fit_views = predict_views = ("plain",)
