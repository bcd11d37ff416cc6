"""A linear probe on the one layer of the residual stream that tells best responses from worse ones best."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from genies.interventions.base import Pairs
from genies.interventions.steps.calibration import Calibrator, fit_calibrator
from genies.interventions.steps.checks import check_finite, check_training_pairs, check_width
from genies.interventions.steps.selection import accuracies_of_layers, keep_best, tied_at_edge
from genies.interventions.steps.site_probe import SiteProbe
from genies.interventions.steps.split import training_parts
from genies.options import NonNegativeInt


class LayerProbe(SiteProbe):
    """Score a text by ``weights_`` · residual stream at its last token; the pair's better text scores higher.

    The layer is the one whose logistic regression (L2, C = 1) is most accurate on validation texts. Nothing was
    published for these probes; ``paper`` has its meaning in the shared steps (ties, direction data, calibrator).

    Args:
        split_seed: seed of the folds, and of the 70/30 splits into fit and validation pairs.
        **parameters: those of ``Intervention``.

    Attributes:
        layer_: layer that is read, from 0 (embedding) to L (after the final norm).
        weights_: float64 (hidden,); under ``corrected`` of such length that the scores of the texts that it was fitted
            on have standard deviation 1, so that scores of different layers compare.
        calibrator_: maps the difference of two scores to a probability.
        out_of_fold_: accuracy on training pairs of fits that had not seen them; None under ``paper``.
        ties_: how many layers are as accurate as the one that is read, and 1; (0, 0) where none is.
    """

    features = ("residual",)
    saw = ("source labels",)
    fit_views = predict_views = ("plain",)
    no_text_scores = ""

    def __init__(self, *, split_seed: NonNegativeInt = 42, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.split_seed = split_seed

    @abstractmethod
    def weights(self, best: np.ndarray, worse: np.ndarray) -> np.ndarray:
        """Weights (hidden,) from the best and the worse responses of training pairs, float64 (n, hidden) each."""

    def fit(self, pairs: Pairs) -> Self:
        """Choose a layer and fit weights, then calibrate on scores of pairs (``training_parts`` says which).

        Raises:
            DataError: too few training pairs, a pair with its worse response first, or features that are not finite.
        """
        check_training_pairs(pairs)
        parts = training_parts(pairs, self.split_seed, self.protocol)
        layers = pairs.layers("residual")
        accuracies = accuracies_of_layers(
            lambda layer: self._read(pairs, layer)[:, :, None], layers, parts, self.protocol
        )
        chosen = [layers[int(keep_best(accuracy, 1, self.protocol)[0])] for accuracy in accuracies]
        scores = [np.empty((0, 2))] * len(parts)
        # The layer that is kept, that of the last part, comes last; each is read once.
        for layer in sorted(set(chosen), key=lambda layer: layer == chosen[-1]):
            features = self._read(pairs, layer).astype(np.float64)
            for row in (row for row, own in enumerate(chosen) if own == layer):
                self.weights_ = self._scaled(features[parts[row].shown])
                scores[row] = features[parts[row].scored] @ self.weights_
        self.layer_ = chosen[-1]
        tied = len(tied_at_edge(accuracies[-1], 1))
        self.ties_ = (tied, min(tied, 1))

        advantage = np.concatenate([of_part[:, 0] - of_part[:, 1] for of_part in scores])
        self.calibrator_ = fit_calibrator(advantage, self.protocol, directed=True)
        self.out_of_fold_ = self.calibrator_.accuracy(advantage) if self.protocol == "corrected" else None
        return self

    def _scaled(self, texts: np.ndarray) -> np.ndarray:
        weights = self.weights(texts[:, 0], texts[:, 1])
        spread = float((texts @ weights).std())
        return weights if self.protocol == "paper" or spread == 0 else weights / spread

    def decision_function(self, pairs: Pairs) -> np.ndarray:
        """Weighted sums of (first, second), float64 (n, 2); under ``paper`` negated where validation pairs say so."""
        return self.calibrator_.sign * self._scores(pairs)

    def predict_proba(self, pairs: Pairs) -> np.ndarray:
        scores = self._scores(pairs)
        return self.calibrator_.probability(scores[:, 0] - scores[:, 1])

    def site_layers(self, pairs: Pairs) -> list[int]:
        return pairs.layers("residual")

    def site_features(self, pairs: Pairs, layer: int) -> np.ndarray:
        return self._read(pairs, layer)[:, :, None]

    @property
    def sites_kept(self) -> int:
        return 1

    def chosen_sites(self) -> list[tuple[int, int | None, float | None]]:
        return [(self.layer_, None, None)]

    def get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        values = {
            "layer": self.layer_,
            "calibrator": self.calibrator_.to_json(),
            "out_of_fold": self.out_of_fold_,
            "ties": list(self.ties_),
        }
        return {"weights": self.weights_}, values

    def set_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> Self:
        self.weights_, self.layer_ = arrays["weights"], values["layer"]
        self.calibrator_ = Calibrator.from_json(values["calibrator"])
        self.out_of_fold_, self.ties_ = values["out_of_fold"], tuple(values["ties"])
        return self

    def _scores(self, pairs: Pairs) -> np.ndarray:
        return check_width(self._read(pairs, self.layer_), self.weights_).astype(np.float64) @ self.weights_

    def _read(self, pairs: Pairs, layer: int) -> np.ndarray:
        return check_finite(pairs.residual("plain", layer), pairs, f"view plain, layer {layer}")
