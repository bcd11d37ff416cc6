"""Which sites (attention heads or layers) tell best responses from worse ones: a logistic regression for each."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from genies.interventions.base import Protocols
from genies.interventions.steps.newton import regressions
from genies.interventions.steps.split import Part

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

log = logging.getLogger(__name__)

LARGEST_HESSIAN = 1024
"""Numbers of a text, or texts, up to which Newton's method takes less time than steps without a Hessian."""
ITERATIONS = 1000
"""Of scikit-learn's solver, at most; published."""
TOGETHER = 2**25
"""Bytes of the features of several layers that are solved for together, at most; a layer by itself may have more."""
_known: ContextVar[dict[bytes, np.ndarray] | None] = ContextVar("accuracies of sites", default=None)


@contextmanager
def accuracies_kept() -> Iterator[None]:
    """Within it, accuracies of sites are computed once for the same features and splits.

    Probes that choose among the same layers by the same splits then share them.
    """
    token = _known.set({})
    try:
        yield
    finally:
        _known.reset(token)


def texts_of(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Single texts (2n, …) of pairs (n, 2, …), best response first, and their labels (2n,): best 1, worse 0."""
    return features.reshape(-1, *features.shape[2:]), np.tile([1, 0], len(features))


def accuracies_of_layers(
    read: Callable[[int], np.ndarray], layers: Sequence[int], parts: Sequence[Part], protocol: Protocols
) -> np.ndarray:
    """``site_accuracy`` of the sites of all layers, float64 (parts, sites).

    Args:
        read: gives the features of a layer, float32 (n, 2, sites, dim); each is read once, in order.
        layers: their numbers.
        parts: which pairs are fitted on, and which accuracy is measured on.
        protocol: as ``logistic_regression`` takes it.
    """
    found: list[list[np.ndarray]] = [[] for _ in parts]
    for together in _small_together(map(read, layers)):
        contents = [*map(_digest, together)]
        for part, accuracies in zip(parts, found, strict=True):
            accuracies += _accuracies(together, contents, part, protocol)
    return np.stack([np.concatenate(accuracies) for accuracies in found])


def _small_together(features: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Layers that are solved for together."""
    held: list[np.ndarray] = []
    for of_layer in features:
        if held and sum(one.nbytes for one in held) + of_layer.nbytes > TOGETHER:
            yield held
            held = []
        held.append(of_layer)
    if held:
        yield held


def _accuracies(
    layers: Sequence[np.ndarray], contents: Sequence[bytes], part: Part, protocol: Protocols
) -> list[np.ndarray]:
    """Of each layer those of its sites, float64 (sites,); those that are known are not computed again."""
    if (known := _known.get()) is None:
        known = {}
    split = _digest(part.fit, part.validation, protocol=protocol)
    keys = [split + content for content in contents]
    new = {key: of_layer for key, of_layer in zip(keys, layers, strict=True) if key not in known}
    if new:
        features = np.concatenate([*new.values()], axis=2) if len(new) > 1 else next(iter(new.values()))
        ends = np.cumsum([of_layer.shape[2] for of_layer in new.values()])
        accuracies = site_accuracy(features, part.fit, part.validation, protocol)
        known.update(zip(new, np.split(accuracies, ends[:-1]), strict=True))
    return [known[key] for key in keys]


def _digest(*arrays: np.ndarray, protocol: str = "") -> bytes:
    digest = hashlib.sha1(f"{protocol} {[array.shape for array in arrays]}".encode(), usedforsecurity=False)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


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
    import scipy.linalg  # noqa: F401 (it brings a library of its own, to be found with the others)
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
    residual stream it often does. ``corrected`` finds the optimum, by Newton's method. Beyond ``LARGEST_HESSIAN`` of
    both texts and their numbers it takes that solver, too, and a warning says of how many sites it stopped.

    Args:
        texts: float (sites, n, dim).
        labels: 0 or 1, int (n,).
        strength: scikit-learn's C, the inverse of the penalty's weight.
        protocol: ``paper`` or ``corrected``.

    Returns:
        Weights, float64 (sites, dim), and intercepts, float64 (sites,).
    """
    if protocol == "corrected" and min(texts.shape[1:]) <= LARGEST_HESSIAN:
        return regressions(texts, labels, strength)
    found = [_by_scikit_learn(of_site, labels, strength) for of_site in texts]
    stopped = sum(iterations >= ITERATIONS for *_, iterations in found)
    if stopped and protocol == "corrected":
        log.warning(
            "%d of %d logistic regressions on %d texts were stopped after %d iterations, before their optimum; fewer "
            "training pairs (limit) are fitted exactly, up to %d texts",
            stopped, len(found), len(labels), ITERATIONS, LARGEST_HESSIAN,
        )  # fmt: skip
    return np.stack([weights for weights, *_ in found]), np.array([intercept for _, intercept, _ in found])


def _by_scikit_learn(texts: np.ndarray, labels: np.ndarray, strength: float) -> tuple[np.ndarray, float, int]:
    """Weights, intercept, and how many iterations it took."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    # Until 1.4, and so in the published code, scikit-learn's loss was a sum over texts. It now is their mean, and the
    # default tolerance would stop on small activations before the first step.
    model = LogisticRegression(C=strength, tol=1e-4 / len(texts), max_iter=ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(texts.astype(np.float64), labels)
    return model.coef_[0], float(model.intercept_[0]), int(model.n_iter_[0])


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
