"""A surface baseline: which words the response has (TF-IDF)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from genies.interventions.steps.surface_probe import SurfaceProbe
from genies.interventions.steps.words import words_of

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class BagOfWords(SurfaceProbe):
    """TF-IDF of the response's words (Salton & Buckley, Information Processing & Management 24, 1988).

    Words and how rare they are come from the responses of the source alone; rows have length 1, as scikit-learn's
    ``TfidfVectorizer`` makes them.

    Args:
        **parameters: those of ``SurfaceProbe``.

    Attributes:
        rarity_: inverse document frequency of each column's word, float64 (columns,).
    """

    def columns(self, responses: Sequence[str]) -> list[str]:
        from sklearn.feature_extraction.text import TfidfVectorizer

        if not any(map(words_of, responses)):
            self.rarity_ = np.zeros(0)
            return []
        vectorizer = TfidfVectorizer(analyzer=words_of).fit(responses)
        self.rarity_ = vectorizer.idf_
        return vectorizer.get_feature_names_out().tolist()

    def counts(self, prompts: Sequence[str], responses: Sequence[str]) -> csr_matrix:
        from scipy.sparse import csr_matrix
        from sklearn.feature_extraction.text import TfidfVectorizer

        if not self.columns_ or not responses:
            return csr_matrix((len(responses), len(self.columns_)))
        vectorizer = TfidfVectorizer(analyzer=words_of, vocabulary=self.columns_)
        vectorizer.idf_ = self.rarity_
        return vectorizer.transform(responses)

    def get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays, values = super().get_state()
        return {**arrays, "rarity": self.rarity_}, values

    def set_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> Self:
        self.rarity_ = arrays["rarity"]
        return super().set_state(arrays, values)
