"""A surface baseline: how much the response repeats of its prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genies.interventions.steps.surface_probe import SurfaceProbe
from genies.interventions.steps.words import words_of


class PromptOverlap(SurfaceProbe):
    """Two shares: of the response's different words, those that its prompt has; and of the prompt's, the response's.

    Args:
        **parameters: those of ``SurfaceProbe``.
    """

    def counts(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        rows = np.zeros((len(responses), 2))
        for row, prompt, response in zip(rows, prompts, responses, strict=True):
            asked, said = set(words_of(prompt)), set(words_of(response))
            shared = len(asked & said)
            row[:] = shared / max(1, len(said)), shared / max(1, len(asked))
        return rows
