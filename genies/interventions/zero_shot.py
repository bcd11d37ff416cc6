"""Zero-shot: the response that the untouched language model finds likelier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np

from genies.errors import ConfigError
from genies.interventions.base import Intervention, Pairs
from genies.interventions.steps.calibration import sigmoid
from genies.interventions.steps.checks import check_finite

Normalization = Literal["sum", "mean"]


class ZeroShot(Intervention[Pairs]):
    """Softmax over the log-probabilities of the two responses, each with its EOS, given the prompt.

    Source: GENIES (arXiv 2311.07723), section 4. Under ``paper`` probabilities are 0, ½ or 1, as the published ones of
    LLaMA are: they describe decisions only.

    Args:
        normalization: ``sum`` of the tokens' log-probabilities, or their ``mean`` per token.
        **parameters: those of ``Intervention``.
    """

    features = ("log_probability",)
    drawn = False
    saw = ()
    no_text_scores = ""
    text_scores_compare = "within a prompt"
    predict_views = ("plain",)

    def __init__(self, *, normalization: Normalization = "sum", **parameters: Any) -> None:
        super().__init__(**parameters)
        if self.protocol == "paper" and normalization != "sum":
            raise ConfigError("parameter normalization: the protocol paper decides by sum; choose sum or corrected")
        self.normalization = normalization

    def fit(self, pairs: Pairs) -> Self:
        """Nothing is learned."""
        return self

    def decision_function(self, pairs: Pairs) -> np.ndarray:
        """Natural log-probabilities of (first, second), summed over tokens or their mean, float64 (n, 2)."""
        scores = check_finite(pairs.log_probability(), pairs, "log-probabilities")
        # The sum over no token, where the tokenizer itself closes an empty response, is 0.
        return scores / np.maximum(1, pairs.scored_tokens()) if self.normalization == "mean" else scores

    def predict_proba(self, pairs: Pairs) -> np.ndarray:
        scores = self.decision_function(pairs)
        advantage = scores[:, 0] - scores[:, 1]
        return 0.5 * (1 + np.sign(advantage)) if self.protocol == "paper" else sigmoid(advantage)

    def get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return {}, {}

    def set_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> Self:
        return self
