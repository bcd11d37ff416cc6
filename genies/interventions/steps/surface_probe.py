"""Surface baselines: probes of what anyone can count in a text, without a model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from genies.data.pairs import PairTexts
from genies.interventions.base import Intervention, Pairs
from genies.interventions.parameters import PositiveFloat
from genies.interventions.steps.calibration import Calibrator, fit_calibrator
from genies.interventions.steps.checks import check_training_pairs
from genies.interventions.steps.split import training_parts
from genies.options import NonNegativeInt

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class SurfaceProbe(Intervention[Pairs]):
    """Logistic regression without intercept on the difference of what is counted in the two responses of a pair.

    A model is worth its cost on a shift only where it does better than such a rule. Nothing was published for these
    baselines; ``paper`` has its meaning in the shared steps (which pairs the calibrator is fitted on, and how).

    Args:
        strength: scikit-learn's C, the inverse of the penalty's weight.
        split_seed: seed of the folds whose pairs the calibrator is fitted on.
        **parameters: those of ``Intervention``.

    Attributes:
        columns_: what the columns of counts stand for, where they are found in the training texts; else empty.
        weights_: float64 (columns,).
        calibrator_: maps the difference of two scores to a probability.
        out_of_fold_: accuracy on training pairs of fits that had not seen them; None under ``paper``.
    """

    features = ("texts",)
    saw = ("source labels",)
    no_text_scores = ""

    def __init__(self, *, strength: PositiveFloat = 1.0, split_seed: NonNegativeInt = 42, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.strength = strength
        self.split_seed = split_seed

    def columns(self, responses: Sequence[str]) -> list[str]:
        """What is counted, found in the training responses alone; empty where it does not depend on them."""
        return []

    @abstractmethod
    def counts(self, prompts: Sequence[str], responses: Sequence[str]) -> csr_matrix | np.ndarray:
        """Counts of n responses to their prompts, (n, columns), after ``columns_`` was set."""

    def fit(self, pairs: Pairs) -> Self:
        """Fit weights, then calibrate on scores of pairs (``training_parts`` says which).

        Raises:
            DataError: too few training pairs, or a pair with its worse response first.
        """
        check_training_pairs(pairs)
        texts, advantages = pairs.texts(), []
        for part in training_parts(pairs, self.split_seed, self.protocol):
            shown = _rows(texts, part.shown)
            self.columns_ = self.columns([*shown.first, *shown.second])
            self.weights_ = self._weights(shown)
            scores = self._scores(_rows(texts, part.scored))
            advantages.append(scores[:, 0] - scores[:, 1])
        advantage = np.concatenate(advantages)
        self.calibrator_ = fit_calibrator(advantage, self.protocol, directed=True)
        self.out_of_fold_ = self.calibrator_.accuracy(advantage) if self.protocol == "corrected" else None
        return self

    def _weights(self, texts: PairTexts) -> np.ndarray:
        from scipy.sparse import csr_matrix, vstack
        from sklearn.linear_model import LogisticRegression

        difference = csr_matrix(self.counts(texts.prompt, texts.first) - self.counts(texts.prompt, texts.second))
        if not difference.nnz:
            return np.zeros(difference.shape[1])
        # Each pair in both orders, since the solver wants two classes; half of C, since the loss is summed twice.
        both = vstack([difference, -difference])
        model = LogisticRegression(C=self.strength / 2, fit_intercept=False, max_iter=1000)
        model.fit(both, np.repeat([1, 0], difference.shape[0]))
        return np.asarray(model.coef_[0], np.float64)

    def _scores(self, texts: PairTexts) -> np.ndarray:
        if not texts.prompt:  # the last of several fits scores nothing, and what counts in no text may have no columns
            return np.zeros((0, 2))
        return np.column_stack(
            [self.counts(texts.prompt, responses) @ self.weights_ for responses in (texts.first, texts.second)]
        )

    def decision_function(self, pairs: Pairs) -> np.ndarray:
        """Weighted counts of (first, second), float64 (n, 2); under ``paper`` negated where validation pairs say so."""
        return self.calibrator_.sign * self._scores(pairs.texts())

    def predict_proba(self, pairs: Pairs) -> np.ndarray:
        scores = self._scores(pairs.texts())
        return self.calibrator_.probability(scores[:, 0] - scores[:, 1])

    def get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        values = {
            "columns": self.columns_,
            "calibrator": self.calibrator_.to_json(),
            "out_of_fold": self.out_of_fold_,
        }
        return {"weights": self.weights_}, values

    def set_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> Self:
        self.columns_, self.weights_ = values["columns"], arrays["weights"]
        self.calibrator_ = Calibrator.from_json(values["calibrator"])
        self.out_of_fold_ = values["out_of_fold"]
        return self


def _rows(texts: PairTexts, rows: np.ndarray) -> PairTexts:
    return PairTexts(*(tuple(part[row] for row in rows) for part in texts))
