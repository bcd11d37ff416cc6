"""L2 logistic regressions by Newton's method: the same labels on the texts of several sites, each site by itself.

With few texts the optimum is a sum of texts, w = Σ αᵢ xᵢ. It is then sought among the α, for which the products of
texts are all that is needed of them (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, section
3.4, with an intercept that is free). Texts that are there several times are computed once, with their weight.
"""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np

from genies.interventions.steps.calibration import sigmoid

log = logging.getLogger(__name__)

TOLERANCE = 1e-8
"""Largest gradient of the mean loss at which it ends."""
STEPS, HALVINGS = 100, 30
"""At most how many steps it takes, and how often a step that raises the loss is halved."""
ROUNDING = 1e-12
"""Relative rise of a loss that is none."""
HASHED = 1024
"""Rows that are hashed at once, so that wide ones take little memory."""


def regressions(texts: np.ndarray, labels: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights, float64 (sites, dim), and intercepts, float64 (sites,).

    Args:
        texts: float (sites, n, dim).
        labels: 0 or 1, int (n,).
        strength: scikit-learn's C, the inverse of the penalty's weight.
    """
    first, often = _distinct_texts(texts, labels)
    share, penalty = often / len(labels), 1 / (strength * len(labels))
    chosen = texts[:, first].astype(np.float64)
    # The intercept is free, so centred texts have the same optimum; a number that is large in all of them, as residual
    # streams have some, would spoil the Hessian.
    mean = share @ chosen
    chosen -= mean[:, None]
    kind = _OverTexts if len(first) < chosen.shape[2] else _OverNumbers
    weights, intercepts = kind(chosen, labels[first], share, penalty).optimum()
    return weights, intercepts - np.einsum("sd,sd->s", mean, weights)


def distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each of m different rows of (n, …) is first, ascending, int64 (m,), and which one each row is, (n,)."""
    if _all_differ(rows):
        return np.arange(len(rows)), np.arange(len(rows))
    known: dict[bytes, int] = {}
    numbers = np.array([known.setdefault(row.tobytes(), len(known)) for row in rows], np.int64)
    return np.unique(numbers, return_index=True)[1], numbers


def _all_differ(rows: np.ndarray) -> bool:
    """Whether all rows have other bytes, as most do; False also where two of them only have one hash.

    The hash is the sum of a row's words of 4 bytes with odd factors, modulo 2**64. It is faster than a dictionary.
    """
    words = np.ascontiguousarray(rows).reshape(len(rows), math.prod(rows.shape[1:])).view(np.uint32)
    factors = np.random.default_rng(0).integers(2**64, size=words.shape[1], dtype=np.uint64) | np.uint64(1)
    parts = (words[begin : begin + HASHED].astype(np.uint64) @ factors for begin in range(0, len(words), HASHED))
    hashes = np.sort(np.concatenate([np.zeros(0, np.uint64), *parts]))
    return bool((hashes[1:] != hashes[:-1]).all())


def _distinct_texts(texts: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each text that differs in some site, or in its label, is there first, and how often; int64 each."""
    first, numbers = distinct(np.column_stack([texts[-1], labels]))
    if len(first) < len(labels) and not np.array_equal(texts, texts[:, first[numbers]]):
        first, numbers = distinct(np.column_stack([texts.swapaxes(0, 1).reshape(len(labels), -1), labels]))
    return first, np.bincount(numbers)


@dataclass
class _Regressions(ABC):
    """Regressions of s sites; what is sought of each is called its point.

    Attributes:
        texts: centred, float64 (s, n, dim).
        labels: 0 or 1, int (n,).
        share: of each text in the mean loss, float64 (n,).
        penalty: λ; the mean loss has λ / 2 · |weights|² added.
        ready: what is computed of the texts beforehand, (s, n, …).
    """

    texts: np.ndarray
    labels: np.ndarray
    share: np.ndarray
    penalty: float
    ready: np.ndarray = field(init=False)
    _asked: tuple[np.ndarray, np.ndarray] | None = field(default=None, init=False)

    @abstractmethod
    def optimum(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights (s, dim) and intercepts (s,)."""

    @abstractmethod
    def logits(self, sites: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Log-odds of each text, (m, n), at points of m of the sites; linear in the points."""

    @abstractmethod
    def norms(self, points: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """|weights|² of each site, (m,)."""

    @abstractmethod
    def gradients(self, sites: np.ndarray, points: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradients at points, and the size of each, (m,).

        Args:
            sites: their numbers, int64 (m,).
            points: of each.
            slope: derivative of the mean loss by the log-odds of each text, (m, n).
        """

    @abstractmethod
    def step(self, sites: np.ndarray, points: np.ndarray, gradient: np.ndarray, curvature: np.ndarray) -> np.ndarray:
        """What Newton's method takes from each point; ``curvature`` is the second derivative, (m, n)."""

    def minimum(self, size: int) -> np.ndarray:
        """Points with the least loss, float64 (s, size); a warning says of how many sites rounding hides it."""
        found, sites = np.zeros((len(self.texts), size)), np.arange(len(self.texts))
        for _ in range(STEPS):
            logits = self.logits(sites, found[sites])
            probability = sigmoid(logits)
            gradient, sizes = self.gradients(sites, found[sites], self.share * (probability - self.labels))
            steep = sizes > TOLERANCE
            if not steep.any():
                return found
            if not steep.all():
                sites, logits, probability, gradient = sites[steep], logits[steep], probability[steep], gradient[steep]
            points = found[sites]
            with np.errstate(over="ignore", invalid="ignore"):
                step = self.step(sites, points, gradient, self.share * probability * (1 - probability))
            step[~np.isfinite(step).all(axis=1)] = 0
            change, before = self.logits(sites, step), self._losses(points, logits)
            for _ in range(HALVINGS):
                worse = self._losses(points - step, logits - change) > before * (1 + ROUNDING)
                if not worse.any():
                    break
                step[worse] /= 2
                change[worse] /= 2
            found[sites] = points - step
        log.warning(
            "%d of %d logistic regressions have no optimum within %d steps; features of these sites are too large for "
            "their rank, and their accuracies are rough",
            len(sites), len(found), STEPS,
        )  # fmt: skip
        return found

    def of(self, sites: np.ndarray) -> np.ndarray:
        """What is computed of the texts beforehand, of some sites; the last ones that were asked for are kept."""
        if self._asked is None or self._asked[0] is not sites:
            self._asked = sites, self.ready[sites]
        return self._asked[1]

    def _losses(self, points: np.ndarray, logits: np.ndarray) -> np.ndarray:
        of_texts = np.logaddexp(0, np.where(self.labels, -logits, logits))
        return of_texts @ self.share + self.penalty / 2 * self.norms(points, logits)


@dataclass
class _OverNumbers(_Regressions):
    """Points are weights and intercept, (dim + 1,)."""

    def __post_init__(self) -> None:
        self.ready = np.concatenate([self.texts, np.ones((*self.texts.shape[:2], 1))], axis=2)
        self._ridge = self.penalty * np.append(np.ones(self.texts.shape[2]), 0.0)

    def optimum(self) -> tuple[np.ndarray, np.ndarray]:
        found = self.minimum(len(self._ridge))
        return found[:, :-1], found[:, -1]

    def logits(self, sites: np.ndarray, points: np.ndarray) -> np.ndarray:
        return (self.of(sites) @ points[:, :, None])[:, :, 0]

    def norms(self, points: np.ndarray, logits: np.ndarray) -> np.ndarray:
        return np.einsum("sd,sd->s", points[:, :-1], points[:, :-1])

    def gradients(self, sites: np.ndarray, points: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gradient = (slope[:, None] @ self.of(sites))[:, 0] + self._ridge * points
        return gradient, np.abs(gradient).max(axis=1)

    def step(self, sites: np.ndarray, points: np.ndarray, gradient: np.ndarray, curvature: np.ndarray) -> np.ndarray:
        columns = self.of(sites)
        hessian = (curvature[:, :, None] * columns).swapaxes(1, 2) @ columns
        # Where the regression is sure of every text, the intercept's curvature vanishes; what is added is far below it.
        places = range(len(self._ridge))
        hessian[:, places, places] += self._ridge + np.finfo(np.float64).tiny
        return np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]


@dataclass
class _OverTexts(_Regressions):
    """Points are α and intercept, (n + 1,); the gradient by weights is the sum of texts with g = slope + λα."""

    def __post_init__(self) -> None:
        # One by one: NumPy then knows that the products are symmetric, and computes half of them.
        self.ready = np.stack([of_site @ of_site.T for of_site in self.texts])

    def optimum(self) -> tuple[np.ndarray, np.ndarray]:
        found = self.minimum(len(self.labels) + 1)
        return (found[:, None, :-1] @ self.texts)[:, 0], found[:, -1]

    def logits(self, sites: np.ndarray, points: np.ndarray) -> np.ndarray:
        return (self.of(sites) @ points[:, :-1, None])[:, :, 0] + points[:, -1:]

    def norms(self, points: np.ndarray, logits: np.ndarray) -> np.ndarray:
        return np.einsum("sn,sn->s", points[:, :-1], logits - points[:, -1:])

    def gradients(self, sites: np.ndarray, points: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gradient = slope + self.penalty * points[:, :-1]
        squares = np.einsum("sn,sn->s", gradient, (self.of(sites) @ gradient[:, :, None])[:, :, 0])
        return gradient, np.maximum(np.sqrt(np.maximum(squares, 0)), np.abs(slope.sum(axis=1)))

    def step(self, sites: np.ndarray, points: np.ndarray, gradient: np.ndarray, curvature: np.ndarray) -> np.ndarray:
        """With D the curvatures and K the products: λδ + D(Kδ + δ₀) = g, and the sum of δ is that of α."""
        products, root = self.of(sites), np.sqrt(curvature)[:, :, None]
        right = np.stack([gradient, curvature], axis=2)
        # (λ + DK)⁻¹ of both, by the symmetric matrix λ + √D K √D, which is far from singular.
        solved = map(self._solve, products, root, root * (products @ right))
        of_gradient, of_curvature = np.moveaxis((right - root * np.stack([*solved])) / self.penalty, 2, 0)
        excess = of_gradient.sum(axis=1) - points[:, :-1].sum(axis=1)
        of_intercept = excess / np.maximum(of_curvature.sum(axis=1), np.finfo(np.float64).tiny)
        return np.column_stack([of_gradient - of_intercept[:, None] * of_curvature, of_intercept])

    def _solve(self, products: np.ndarray, root: np.ndarray, right: np.ndarray) -> np.ndarray:
        """(λ + √D K √D)⁻¹ of the columns (n, k), by Cholesky, or by LU where rounding leaves the matrix indefinite."""
        from scipy.linalg import LinAlgError, cho_factor, cho_solve

        matrix = root * products
        matrix *= root.T
        matrix[np.diag_indices(len(matrix))] += self.penalty
        try:
            return cho_solve(cho_factor(matrix.T, lower=True, check_finite=False), right, check_finite=False)
        except LinAlgError:
            return np.linalg.solve(matrix, right)
