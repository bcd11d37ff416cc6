"""Which sites (attention heads or layers) tell best responses from worse ones: a logistic regression for each."""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from genies.interventions.base import Protocols
from genies.interventions.steps.calibration import sigmoid

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

LARGEST_HESSIAN = 1024
"""Numbers of a text, or texts, up to which Newton's method takes less time than steps without a Hessian."""
NEWTON_TOLERANCE = 1e-8
"""Largest gradient of the mean loss at which it ends."""
NEWTON_STEPS, HALVINGS = 100, 30
"""At most how many steps it takes, and how often a step that raises the loss is halved."""


def texts_of(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Single texts (2n, …) of pairs (n, 2, …), best response first, and their labels (2n,): best 1, worse 0."""
    return features.reshape(-1, *features.shape[2:]), np.tile([1, 0], len(features))


def site_accuracy(features: np.ndarray, fit: np.ndarray, validation: np.ndarray, protocol: Protocols) -> np.ndarray:
    """Validation accuracy of a logistic regression (L2, C = 1) on the single texts, for each site.

    Source: Li et al. (arXiv 2306.03341), section 3.1, with the settings of the published GENIES code.

    Args:
        features: float32 (n, 2, sites, dim), best response first.
        fit: rows of the pairs that are fitted on.
        validation: rows of the pairs that accuracy is measured on.
        protocol: as ``logistic_regression`` takes it.

    Returns:
        Share of validation texts whose label is predicted, float64 (sites,).
    """
    train, labels = texts_of(features[fit])
    held_out, held_out_labels = texts_of(features[validation])
    # The solver's matrices are so small that several threads wait for each other more than they compute.
    with _threads().limit(limits=1):
        weights, intercepts = logistic_regressions(train.swapaxes(0, 1), labels, 1.0, protocol)
        scores = np.einsum("nsd,sd->sn", held_out, weights) + intercepts[:, None]
    return np.mean((scores > 0) == held_out_labels, axis=1)


@cache
def _threads() -> ThreadpoolController:
    """Looks the libraries of this process up once, which takes longer than a small regression."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def logistic_regression(
    texts: np.ndarray, labels: np.ndarray, strength: float, protocol: Protocols
) -> tuple[np.ndarray, float]:
    """Weights (dim,) and intercept of the regression on texts (n, dim); otherwise as ``logistic_regressions``."""
    weights, intercepts = logistic_regressions(texts[None], labels, strength, protocol)
    return weights[0], float(intercepts[0])


def logistic_regressions(
    texts: np.ndarray, labels: np.ndarray, strength: float, protocol: Protocols
) -> tuple[np.ndarray, np.ndarray]:
    """L2 logistic regressions of the same labels on the texts of several sites, each site by itself.

    Under ``paper`` the solver is that of the published code, which stops after 1,000 iterations; on an unscaled
    residual stream it often does. ``corrected`` finds the optimum, by Newton's method.

    Args:
        texts: float (sites, n, dim).
        labels: 0 or 1, int (n,).
        strength: scikit-learn's C, the inverse of the penalty's weight.
        protocol: ``paper`` or ``corrected``.

    Returns:
        Weights, float64 (sites, dim), and intercepts, float64 (sites,).
    """
    if protocol == "corrected" and min(texts.shape[1:]) <= LARGEST_HESSIAN:
        return _by_newton(texts.astype(np.float64), labels, strength)
    found = [_by_scikit_learn(of_site, labels, strength) for of_site in texts]
    return np.stack([weights for weights, _ in found]), np.array([intercept for _, intercept in found])


def _by_scikit_learn(texts: np.ndarray, labels: np.ndarray, strength: float) -> tuple[np.ndarray, float]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    # Until 1.4, and so in the published code, scikit-learn's loss was a sum over texts. It now is their mean, and the
    # default tolerance would stop on small activations before the first step.
    model = LogisticRegression(C=strength, tol=1e-4 / len(texts), max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(texts.astype(np.float64), labels)
    return model.coef_[0], float(model.intercept_[0])


def _by_newton(texts: np.ndarray, labels: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    # The intercept is free, so centred texts have the same optimum; a number that is large in all of them, as residual
    # streams have some, would spoil the Hessian.
    mean = texts.mean(axis=1, keepdims=True)
    centred = texts - mean
    # With fewer texts than numbers the optimum is a sum of texts: it is sought among those alone.
    few = texts.shape[1] < texts.shape[2]
    basis, coordinates = np.linalg.qr(centred.swapaxes(1, 2)) if few else (None, centred.swapaxes(1, 2))
    found = _newton(coordinates.swapaxes(1, 2), labels, 1 / (strength * len(labels)))
    weights = found[:, :-1] if basis is None else np.einsum("sdk,sk->sd", basis, found[:, :-1])
    return weights, found[:, -1] - np.einsum("sd,sd->s", mean[:, 0], weights)


def _newton(texts: np.ndarray, labels: np.ndarray, penalty: float) -> np.ndarray:
    """Weights and intercept of each site, float64 (sites, dim + 1): minima of mean loss + penalty / 2 · |weights|²."""
    sites, n, dim = texts.shape
    columns = np.concatenate([texts, np.ones((sites, n, 1))], axis=2)
    ridge = penalty * np.append(np.ones(dim), 0.0)
    sign = np.where(labels, 1.0, -1.0)
    found = np.zeros((sites, dim + 1))

    def losses(chosen: np.ndarray, weights: np.ndarray) -> np.ndarray:
        margins = sign * np.einsum("snd,sd->sn", columns[chosen], weights)
        return np.logaddexp(0, -margins).mean(axis=1) + weights**2 @ ridge / 2

    open_sites = np.arange(sites)
    for _ in range(NEWTON_STEPS):
        probability = sigmoid(np.einsum("snd,sd->sn", columns[open_sites], found[open_sites]))
        gradient = np.einsum("sn,snd->sd", probability - labels, columns[open_sites]) / n + ridge * found[open_sites]
        steep = np.abs(gradient).max(axis=1) > NEWTON_TOLERANCE
        open_sites, probability, gradient = open_sites[steep], probability[steep], gradient[steep]
        if not len(open_sites):
            break
        weighted = (probability * (1 - probability) / n)[:, :, None] * columns[open_sites]
        hessian = weighted.swapaxes(1, 2) @ columns[open_sites]
        # Where the regression is sure of every text, the intercept's curvature vanishes; what is added is far below it.
        hessian[:, range(dim + 1), range(dim + 1)] += ridge + np.finfo(np.float64).tiny
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        before = losses(open_sites, found[open_sites])
        for _ in range(HALVINGS):
            worse = losses(open_sites, found[open_sites] - step) > before
            if not worse.any():
                break
            step[worse] /= 2
        found[open_sites] -= step
    return found


def keep_best(accuracy: np.ndarray, kept: int, protocol: Protocols) -> np.ndarray:
    """Indices of the ``kept`` highest accuracies (all, if there are fewer), highest first, int64.

    Ties go to the lower index under ``corrected``, to the higher one under ``paper``. The published code reads NumPy's
    default sort backwards, which does the same where that sort happens to be stable; elsewhere, which of several equal
    sites it kept depended on the version and the processor.
    """
    if protocol == "paper":
        return np.argsort(accuracy, kind="stable")[::-1][:kept]
    return np.argsort(-accuracy, kind="stable")[:kept]


def tied_at_edge(accuracy: np.ndarray, kept: int) -> np.ndarray:
    """Indices of the sites of which chance keeps some and drops others, ascending, int64; none where none tie so.

    They are as accurate as the last of the ``kept`` highest accuracies, of which there is another that is dropped.
    """
    if len(accuracy) <= kept:
        return np.zeros(0, np.int64)
    edge = np.sort(accuracy)[::-1][kept - 1]
    tied = np.flatnonzero(accuracy == edge)
    return tied if len(tied) + np.sum(accuracy > edge) > kept else tied[:0]
