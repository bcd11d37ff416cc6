"""From scores to probabilities: a one-variable logistic regression on scores of training pairs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from genies.interventions.base import Protocols


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-logit)) without overflow, float64; values in [0, 1]."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(logit, dtype=np.float64)))


@dataclass(frozen=True)
class Calibrator:
    """Probability that the first response is the better one, from its advantage: its score minus the other's."""

    slope: float
    intercept: float

    @property
    def sign(self) -> int:
        """-1 where the pairs contradict the score, so that the lower score is the one preferred; else 1."""
        return -1 if self.slope < 0 else 1

    def probability(self, advantage: np.ndarray) -> np.ndarray:
        """σ(slope · advantage + intercept), float64 (n,), for advantages (n,)."""
        with np.errstate(over="ignore", under="ignore"):  # what is beyond the largest number has probability 0 or 1
            return sigmoid(self.slope * np.asarray(advantage, dtype=np.float64) + self.intercept)

    def accuracy(self, advantage: np.ndarray) -> float:
        """Share of pairs that it ranks right, from the advantages of best responses (n,); a tie is half right."""
        return float(0.5 * (1 + np.sign(self.sign * np.asarray(advantage)).mean()))

    def to_json(self) -> dict[str, float]:
        """Its two numbers; JSON keeps every bit of them."""
        return {"slope": self.slope, "intercept": self.intercept}

    @classmethod
    def from_json(cls, value: Mapping[str, float]) -> Self:
        """What ``to_json`` gave."""
        return cls(value["slope"], value["intercept"])


FAINTEST = 1e-6
"""Slope per standard score of a calibrator whose pairs contradict a direction: all but ½, in the direction's order."""
LARGEST = float(np.finfo(np.float64).max)


def fit_calibrator(advantage: np.ndarray, protocol: Protocols, directed: bool = False) -> Calibrator:
    """Fit the logistic regression of "the first response is the best" on the advantage of the first, with no penalty.

    ``paper`` takes the pairs in alternating order (best minus worse first) and has an intercept, on the score
    ½(1 + advantage). Where the scores separate the labels the likelihood has no maximum, and the fit stops where
    scikit-learn's solver does: when no summed gradient exceeds 1e-4, or after 100 iterations.

    ``corrected`` has no intercept, so that p(a, b) + p(b, a) = 1, whatever order the pairs are in. The label of the m
    pairs that are not ties is given the probability (m + 1) / (m + 2) instead of 1, the targets of Platt (1999),
    section 2.2. The slope is then finite where the scores rank every pair right, and falls with every pair whose
    advantage turns from right to wrong at the same size. The mean probability that the pairs' higher scores are given,
    weighted by the sizes of the advantages, is (m + 1) / (m + 2) times the weight of right pairs plus 1 / (m + 2) times
    that of wrong ones, so at most Platt's target, even where one pair is narrowly wrong. m is that of all pairs, right
    or wrong: each pair is one text of each class.

    Args:
        advantage: score of the best response minus score of the worse one, float (n,), n ≥ 2.
        protocol: ``paper`` or ``corrected``.
        directed: whether the score's sign was fitted on labels before. Then ``corrected`` decides how sure the
            score is, and does not turn it round: where the pairs contradict it, every probability is all but ½.
    """
    advantage = np.asarray(advantage, dtype=np.float64)
    if protocol == "paper":
        return _fit_published(advantage)
    calibrator = _fit_symmetric(advantage)
    if not directed or calibrator.slope > 0 or not advantage.any():
        return calibrator
    return Calibrator(_per_advantage(FAINTEST, advantage), 0.0)


def _fit_published(advantage: np.ndarray) -> Calibrator:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    best_first = np.arange(len(advantage)) % 2 == 0
    score = 0.5 * (1 + np.where(best_first, advantage, -advantage))
    # The published code's scikit-learn summed the loss over pairs; today's averages it, so its tolerance is per pair.
    model = LogisticRegression(C=np.inf, tol=1e-4 / len(score), max_iter=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(score[:, None], best_first)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    return Calibrator(slope / 2, intercept + slope / 2)


def _fit_symmetric(advantage: np.ndarray) -> Calibrator:
    from scipy.optimize import brentq

    if not advantage.any():
        return Calibrator(0.0, 0.0)
    column = _standard(advantage)[0]
    pairs = np.count_nonzero(advantage)
    # The probability given to the label, that the best response is the best.
    certainty = (pairs + 1) / (pairs + 2)

    def gradient(slope: float) -> float:
        """Of the log-likelihood; falls as the slope grows, so that it has one zero."""
        return float(np.mean(column * (certainty - sigmoid(slope * column))))

    far = float(np.sign(gradient(0.0)))
    while gradient(far) * far > 0:
        far *= 2
    return Calibrator(_per_advantage(brentq(gradient, 0.0, far) if far else 0.0, advantage), 0.0)


def _standard(advantage: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Advantages divided by their root mean square, and its two factors, whose product may be no number of its own."""
    peak = float(np.abs(advantage).max())
    column = advantage / peak
    spread = float(np.sqrt(np.mean(column**2)))
    return column / spread, peak, spread


def _per_advantage(slope: float, advantage: np.ndarray) -> float:
    """A slope per standard score as one per advantage; the largest number where advantages are all but nothing."""
    _, peak, spread = _standard(advantage)
    with np.errstate(over="ignore"):
        return float(np.clip(np.float64(slope / spread) / peak, -LARGEST, LARGEST))
