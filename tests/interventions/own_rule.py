"""An example of your own rule: prefer the response with more words of doubt, or with fewer, as the source says."""

import numpy as np

from genies.interventions.steps.surface_probe import SurfaceProbe

DOUBT = ("perhaps", "maybe", "might", "not sure")


class Doubt(SurfaceProbe):
    def counts(self, prompts, responses):
        return np.array([[sum(response.lower().count(word) for word in DOUBT)] for response in responses], float)
