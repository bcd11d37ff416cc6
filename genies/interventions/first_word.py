"""A surface baseline: which word the response begins with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from genies.interventions.steps.surface_probe import SurfaceProbe
from genies.interventions.steps.words import words_of

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class FirstWord(SurfaceProbe):
    """A weight for each word that a response of the source begins with ("Yes", "I", "Sorry", …); others weigh nothing.

    Args:
        **parameters: those of ``SurfaceProbe``.
    """

    def columns(self, responses: Sequence[str]) -> list[str]:
        return sorted({word for response in responses for word in words_of(response)[:1]})

    def counts(self, prompts: Sequence[str], responses: Sequence[str]) -> csr_matrix:
        from scipy.sparse import csr_matrix

        column = {word: index for index, word in enumerate(self.columns_)}
        begun = [words_of(response)[:1] for response in responses]
        found = [(row, column[word]) for row, words in enumerate(begun) for word in words if word in column]
        rows, columns = zip(*found, strict=True) if found else ((), ())
        return csr_matrix(([1.0] * len(found), (rows, columns)), shape=(len(responses), len(column)))
