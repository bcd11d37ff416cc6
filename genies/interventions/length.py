"""A surface baseline: how long the response is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genies.interventions.steps.surface_probe import SurfaceProbe


class Length(SurfaceProbe):
    """Prefer longer responses, or shorter ones, as those of the source say.

    What is counted is log(1 + characters), so that the probability goes by the ratio of two lengths.

    Args:
        **parameters: those of ``SurfaceProbe``.
    """

    def counts(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        return np.log1p([len(response) for response in responses])[:, None]
