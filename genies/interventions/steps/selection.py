"""Which sites (attention heads or layers) tell best responses from worse ones: a logistic regression for each."""

from __future__ import annotations

import warnings

import numpy as np

from genies.interventions.base import Protocols

LARGEST_HESSIAN = 1024
"""Numbers of a text, or texts, up to which Newton's method takes less time than steps without a Hessian."""
NEWTON_TOLERANCE = 1e-8
"""Largest gradient of the mean loss at which it ends."""


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
    from threadpoolctl import threadpool_limits

    train, labels = texts_of(features[fit])
    held_out, held_out_labels = texts_of(features[validation])
    accuracy = np.empty(features.shape[2])
    # The solver's vectors are so short that several threads wait for each other more than they compute.
    with threadpool_limits(1):
        for site in range(features.shape[2]):
            weights, intercept = logistic_regression(train[:, site], labels, 1.0, protocol)
            predicted = held_out[:, site] @ weights + intercept > 0
            accuracy[site] = np.mean(predicted == held_out_labels)
    return accuracy


def logistic_regression(
    texts: np.ndarray, labels: np.ndarray, strength: float, protocol: Protocols
) -> tuple[np.ndarray, float]:
    """Weights (dim,) and intercept, float64, of an L2 logistic regression on texts (n, dim) with labels 0 / 1 (n,).

    Under ``paper`` the solver is that of the published code, which stops after 1,000 iterations; on an unscaled
    residual stream it often does. ``corrected`` finds the optimum, by Newton's method.

    Args:
        texts: float (n, dim).
        labels: 0 or 1, int (n,).
        strength: scikit-learn's C, the inverse of the penalty's weight.
        protocol: ``paper`` or ``corrected``.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if protocol == "corrected" and min(texts.shape) <= LARGEST_HESSIAN:
        return _by_newton(texts.astype(np.float64), labels, strength)
    # Until 1.4, and so in the published code, scikit-learn's loss was a sum over texts. It now is their mean, and the
    # default tolerance would stop on small activations before the first step.
    model = LogisticRegression(C=strength, tol=1e-4 / len(texts), max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(texts.astype(np.float64), labels)
    return model.coef_[0], float(model.intercept_[0])


def _by_newton(texts: np.ndarray, labels: np.ndarray, strength: float) -> tuple[np.ndarray, float]:
    from sklearn.linear_model import LogisticRegression

    # The intercept is free, so centred texts have the same optimum; a number that is large in all of them, as residual
    # streams have some, would spoil the Hessian.
    mean = texts.mean(axis=0)
    centred = texts - mean
    # With fewer texts than numbers the optimum is a sum of texts: it is sought among those alone.
    basis, coordinates = np.linalg.qr(centred.T) if len(texts) < texts.shape[1] else (None, centred.T)
    model = LogisticRegression(C=strength, tol=NEWTON_TOLERANCE, max_iter=100, solver="newton-cholesky")
    model.fit(coordinates.T, labels)
    weights = model.coef_[0] if basis is None else basis @ model.coef_[0]
    return weights, float(model.intercept_[0] - mean @ weights)


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
