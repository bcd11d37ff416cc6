"""The implicit reward of a policy that was tuned on preferences without a reward model (DPO)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from genies.errors import ConfigError
from genies.interventions.base import Intervention, Pairs
from genies.interventions.parameters import PositiveFloat
from genies.interventions.steps.calibration import sigmoid
from genies.interventions.steps.checks import check_finite


class ImplicitReward(Intervention[Pairs]):
    """β (log π − log π_ref) of each response and its EOS, given the prompt; π is the run's model.

    Both log-probabilities are sums over tokens, never means, and are read from the stores of the two models. A pair's
    probability is that of Bradley and Terry's model, σ(reward of the first − reward of the second). β changes no
    ranking.

    Source: Rafailov et al. 2023, Direct preference optimization (arXiv 2305.18290), equation 5, without the term that
    depends on the prompt alone.

    Args:
        reference: what the policy was tuned from: a folder, `.gguf` file or hub id (pinned under `revisions`), or the
            name of another model of the run. Default: of an adapter, its base.
        beta: β, that of the policy's training.
        **parameters: those of ``Intervention``.
    """

    features = ("log_probability", "reference_log_probability")
    drawn = False
    saw = ("a judge",)
    no_text_scores = ""
    text_scores_compare = "within a prompt"
    predict_views = ("plain",)

    def __init__(self, *, reference: str | None = None, beta: PositiveFloat = 0.1, **parameters: Any) -> None:
        super().__init__(**parameters)
        if reference is not None and (not reference or not isinstance(reference, str)):
            raise ConfigError("parameter reference: name the folder or hub id of the model that the policy was made of")
        self.reference = reference
        self.beta = beta

    def fit(self, pairs: Pairs) -> Self:
        """Nothing is learned."""
        return self

    def decision_function(self, pairs: Pairs) -> np.ndarray:
        """Implicit rewards of (first, second), up to a term that depends on the prompt alone, float64 (n, 2).

        Raises:
            DataError: a log-probability is not finite, or the pairs come without those of a reference.
        """
        policy = check_finite(pairs.log_probability(), pairs, "log-probabilities")
        reference = check_finite(pairs.reference_log_probability(), pairs, "log-probabilities of the reference")
        return self.beta * (policy - reference)

    def predict(self, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
        rewards = self.decision_function(pairs)
        return sigmoid(rewards[:, 0] - rewards[:, 1]), rewards

    def predict_proba(self, pairs: Pairs) -> np.ndarray:
        return self.predict(pairs)[0]

    def get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return {}, {}

    def set_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> Self:
        return self
