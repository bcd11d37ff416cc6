"""Sites, and a direction in each along which two texts are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from genies.interventions.steps.checks import check_width
from genies.interventions.steps.split import Part


class Read(Protocol):
    """Gives the features of one layer's sites, or of some heads in the order asked for."""

    def __call__(self, layer: int, heads: Sequence[int] | None = None, /) -> np.ndarray:
        """float32 (n, 2, sites, dim)."""
        ...


def cosine(differences: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Cosine of each difference (n, sites, dim) with its site's direction (sites, dim), float64 (n, sites).

    A vector of zero length has cosine 0 with every other.
    """
    differences, directions = differences.astype(np.float64), directions.astype(np.float64)
    dot = np.einsum("nsd,sd->ns", differences, directions)
    length = np.linalg.norm(differences, axis=2) * np.linalg.norm(directions, axis=1)
    return np.clip(np.divide(dot, length, out=np.zeros_like(dot), where=length > 0), -1.0, 1.0)


def projection(texts: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Projection of each text (..., sites, dim) on its site's unit direction, float64 (..., sites).

    That on a direction (sites, dim) of zero length is 0.
    """
    directions = directions.astype(np.float64)
    length = np.linalg.norm(directions, axis=1, keepdims=True)
    unit = np.divide(directions, length, out=np.zeros_like(directions), where=length > 0)
    return np.einsum("...sd,sd->...s", texts.astype(np.float64), unit)


@dataclass(frozen=True)
class SiteDirections:
    """Directions by site.

    Attributes:
        sites: layer and head (0 for the residual stream) of each, int64 (sites, 2).
        directions: float64 (sites, dim).
    """

    sites: np.ndarray
    directions: np.ndarray

    def read(self, read: Read) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Layer by layer, rows of its sites among all, and their features, float32 (n, 2, its sites, dim)."""
        for layer in np.unique(self.sites[:, 0]):
            rows = np.flatnonzero(self.sites[:, 0] == layer)
            yield rows, check_width(read(int(layer), self.sites[rows, 1].tolist()), self.directions)

    def cosines(self, read: Read, pairs: int) -> np.ndarray:
        """Cosine of first − second with each direction, float64 (pairs, sites); odd in the two texts."""
        cosines = np.empty((pairs, len(self.sites)))
        for rows, features in self.read(read):
            cosines[:, rows] = cosine(features[:, 0] - features[:, 1], self.directions[rows])
        return cosines


def fit_directions(
    read: Read,
    direction: Callable[[np.ndarray, np.ndarray], np.ndarray],
    parts: Sequence[Part],
    sites: Sequence[np.ndarray],
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Fit a direction in each site, for several parts of the training pairs; each layer is read once.

    Args:
        read: gives the features of all training pairs.
        direction: from the best and the worse responses' features, float64 (n, sites, dim), to (sites, dim).
        parts: which pairs each fit is shown, and which it scores.
        sites: of each part, int64 (sites, 2).

    Returns:
        For each part the directions of its sites, float64 (sites, dim), and cosines of what it scores (n, sites). Also
        the mean and standard deviation of the training texts' projections, float64 (2, sites), of the last part, the
        fit that is kept.
    """
    directions: list[dict[int, np.ndarray]] = [{} for _ in parts]
    cosines = [np.empty((len(part.scored), len(own))) for part, own in zip(parts, sites, strict=True)]
    moments = np.empty((2, len(sites[-1])))
    for layer in np.unique(np.concatenate(sites)[:, 0]):
        heads = np.unique(np.concatenate([own[own[:, 0] == layer, 1] for own in sites]))
        features = read(int(layer), heads.tolist())
        for part, own, fitted, scored in zip(parts, sites, directions, cosines, strict=True):
            rows = np.flatnonzero(own[:, 0] == layer)
            if not len(rows):
                continue
            texts = features[:, :, np.searchsorted(heads, own[rows, 1])]
            shown = texts[part.shown].astype(np.float64)
            found = direction(shown[:, 0], shown[:, 1])
            fitted.update(zip(rows.tolist(), found, strict=True))
            scored[:, rows] = cosine(texts[part.scored, 0] - texts[part.scored, 1], found)
            if part is parts[-1]:
                projected = projection(shown, found).reshape(-1, len(rows))
                moments[:, rows] = projected.mean(axis=0), projected.std(axis=0)
    return [np.stack([found[row] for row in range(len(found))]) for found in directions], cosines, moments
