"""A linear probe on the one layer of the residual stream that tells best responses from worse ones best."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from genies.interventions.base import Intervention, Pairs
from genies.interventions.steps.calibration import Calibrator, fit_calibrator
from genies.interventions.steps.checks import check_count, check_finite, check_training_pairs, check_width
from genies.interventions.steps.selection import keep_best, site_accuracy
from genies.interventions.steps.split import split_pairs


class LayerProbe(Intervention):
    """Score a text by ``weights_`` · residual stream at its last token; the pair's better text scores higher.

    The layer is the one whose logistic regression (L2, C = 1) is most accurate on validation texts. Nothing was
    published for these probes; ``paper`` has its meaning in the shared steps (ties, direction data, calibrator).

    Args:
        split_seed: seed of the 70/30 split into fit and validation pairs.
        **parameters: those of ``Intervention``.

    Attributes:
        layer_: layer that is read, from 0 (embedding) to L (after the final norm).
        weights_: float64 (hidden,).
        calibrator_: maps the difference of two scores to a probability.
    """

    features = ("residual",)
    fit_views = predict_views = ("plain",)

    def __init__(self, *, split_seed: int = 42, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.split_seed = check_count("split_seed", split_seed, least=0)

    @abstractmethod
    def weights(self, best: np.ndarray, worse: np.ndarray) -> np.ndarray:
        """Weights (hidden,) from the best and the worse responses of training pairs, float64 (n, hidden) each."""

    def fit(self, pairs: Pairs) -> Self:
        """Choose the layer on validation pairs, fit on fit pairs (``paper``: on all), calibrate on validation pairs.

        Raises:
            DataError: too few training pairs, a pair with its worse response first, or features that are not finite.
        """
        check_training_pairs(pairs)
        fit, validation = split_pairs(pairs.example, self.split_seed)
        layers = pairs.layers("residual")
        accuracy = [
            site_accuracy(self._read(pairs, layer)[:, :, None], fit, validation, self.protocol) for layer in layers
        ]
        self.layer_ = layers[int(keep_best(np.concatenate(accuracy), 1, self.protocol)[0])]

        shown = np.concatenate([fit, validation]) if self.protocol == "paper" else fit
        texts = self._read(pairs, self.layer_)[shown].astype(np.float64)
        self.weights_ = self.weights(texts[:, 0], texts[:, 1])

        scores = self._scores(pairs)[validation]
        self.calibrator_ = fit_calibrator(scores[:, 0] - scores[:, 1], self.protocol)
        return self

    def decision_function(self, pairs: Pairs) -> np.ndarray:
        """Weighted sums of (first, second), float64 (n, 2), negated where validation pairs contradict the weights."""
        return self.calibrator_.sign * self._scores(pairs)

    def predict_proba(self, pairs: Pairs) -> np.ndarray:
        scores = self._scores(pairs)
        return self.calibrator_.probability(scores[:, 0] - scores[:, 1])

    def chosen_sites(self) -> list[tuple[int, int | None, float | None]]:
        return [(self.layer_, None, None)]

    def get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return {"weights": self.weights_}, {"layer": self.layer_, "calibrator": self.calibrator_.to_json()}

    def set_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> Self:
        self.weights_, self.layer_ = arrays["weights"], values["layer"]
        self.calibrator_ = Calibrator.from_json(values["calibrator"])
        return self

    def _scores(self, pairs: Pairs) -> np.ndarray:
        return check_width(self._read(pairs, self.layer_), self.weights_).astype(np.float64) @ self.weights_

    def _read(self, pairs: Pairs, layer: int) -> np.ndarray:
        return check_finite(pairs.residual("plain", layer), pairs, f"view plain, layer {layer}")
