"""Erasing a concept from features: LEACE, in its closed form for a binary label.

r(x) = x − δ · δᵀM(x − μ) / δᵀMδ, with δ the difference of class means, μ the mean of all texts and M the inverse of
their covariance: of all affine maps after which no linear classifier of the label does better than a constant one, the
nearest to the identity. Source: Belrose et al. (arXiv 2306.03819), theorem 4.3, where the cross-covariance with the
label has rank one. A hidden state has more dimensions than a source has texts, so the covariance is shrunk (Ledoit and
Wolf, 2004), as the authors' program does; what is erased in the fitted texts does not depend on M.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genies.interventions.steps.directions import Direct, drawn

ROUNDING = 1e-9
"""Share of the differences' length below which their mean is what rounding leaves of 0."""


@dataclass(frozen=True)
class Eraser:
    """Takes from each text its multiple of one direction, float64.

    Attributes:
        direction: δ, (dim,).
        reader: Mδ / δᵀMδ, (dim,); 0 where there is nothing to erase.
        mean: of the texts that it was fitted on, (dim,).
    """

    direction: np.ndarray
    reader: np.ndarray
    mean: np.ndarray

    def __call__(self, texts: np.ndarray) -> np.ndarray:
        """Texts (…, dim) without it."""
        return texts - ((texts - self.mean) @ self.reader)[..., None] * self.direction


def erasers(pairs: np.ndarray, cluster: np.ndarray, draws: int, seed: int) -> list[Eraser]:
    """LEACE of which response is the best one, and of random directions in its place.

    Those vary as the difference of class means would if labels said nothing: by the covariance of pair differences, in
    which what the texts of a prompt share plays no part.

    Args:
        pairs: features of training pairs, float64 (n, 2, dim), best response first.
        cluster: number of each pair's cluster, int64 (n,).
        draws: how many random directions there are.
        seed: of the draws.

    Returns:
        LEACE first, then one eraser for each draw.
    """
    from sklearn.covariance import ledoit_wolf

    texts = pairs.reshape(-1, pairs.shape[2])
    mean = texts.mean(axis=0)
    centred = texts - mean
    covariance, _ = ledoit_wolf(centred, assume_centered=True)
    directions = np.concatenate([(pairs[:, 0] - pairs[:, 1]).mean(axis=0)[None], drawn(pairs, cluster, draws, seed)])
    readers = np.linalg.solve(covariance, directions.T).T if covariance.any() else np.zeros_like(directions)
    norms = np.einsum("kd,kd->k", readers, directions)[:, None]
    readers = np.divide(readers, norms, out=np.zeros_like(readers), where=norms > 0)
    return [Eraser(direction, reader, mean) for direction, reader in zip(directions, readers, strict=True)]


def accuracy(train: np.ndarray, test: np.ndarray, rule: Direct) -> float:
    """Share of pairs (m, 2, dim) that a direction ranks right which was fitted on (n, 2, dim), best response first.

    Where training pairs do not differ on average along the direction but for rounding, it says nothing, and ½ is right.
    """
    direction = rule(train[:, 0], train[:, 1])
    lead = (train[:, 0] - train[:, 1]) @ direction
    if abs(lead.mean()) <= ROUNDING * np.sqrt((lead**2).mean()):
        return 0.5
    scores = (test[:, 0] - test[:, 1]) @ direction
    return float(0.5 * (1 + np.sign(scores)).mean())
