"""How alike directions rank pairs: the correlation of their scores, next to what one source's own halves allow.

Two directions a, b agree by aᵀΣb / √(aᵀΣa · bᵀΣb), Σ the covariance of pair differences (best − worse) within targets,
pooled over targets with equal weights. A cosine would say something else: in a residual stream a few dimensions have
most of the variance, and directions that differ in all others still rank pairs alike, or the other way round.

Directions are estimates. With halves of a source that agree by r, two whole sources of this size that share one
direction agree by about 2r / (1 + r) (Spearman and Brown); of sources a and b the ceiling is the geometric mean.

How many directions there are: the participation ratio n² / ‖A‖² of the n × n matrix of agreements, which is 1 where all
are the same up to their sign, and n where none have anything in common. It is compared with that of the ceilings, and
with that of directions drawn at random, each from the covariance of its own source's differences, prompt by prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from genies.engine.reads import declares
from genies.interventions.base import Intervention
from genies.interventions.lat_stim_1 import LatStim1
from genies.interventions.steps.direction_probe import DirectionProbe
from genies.interventions.steps.layer_probe import LayerProbe

(MEAN_DIFFERENCE_VIEW,) = LatStim1.fit_views
"""View under which differences of means are compared."""
Direct = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""A direction (dim,) from the best and the worse responses of training pairs, float64 (n, dim) each."""


def has_directions(kind: type[Intervention]) -> bool:
    """Whether a probe can be fitted in every layer of the residual stream, by another rule than ``LatStim1``."""
    if issubclass(kind, LayerProbe):
        return True
    if not issubclass(kind, DirectionProbe) or declares(kind.features, "heads"):
        return False
    alike = all(getattr(kind, name) is getattr(LatStim1, name) for name in ("direction", "combine", "fit_views"))
    return not alike


def direct(probe: Intervention) -> Direct:
    """The rule by which a probe finds the direction of a layer.

    Raises:
        TypeError: it has none.
    """
    if isinstance(probe, LayerProbe):
        return probe.weights
    if isinstance(probe, DirectionProbe):
        return lambda best, worse: probe.direction(best[:, None], worse[:, None])[0]
    raise TypeError(f"{type(probe).__name__} has no direction in a layer; give a probe of the residual stream")


def halved(texts: np.ndarray, cluster: np.ndarray, rule: Direct, count: int, seed: int) -> np.ndarray:
    """Directions of the halves of training pairs, float64 (count, 2, dim); 0 of a half without pairs.

    Args:
        texts: features of the pairs, float64 (n, 2, dim), best response first.
        cluster: number of each pair's cluster, int64 (n,), which stays in one half.
        rule: of the probe.
        count: how often they are halved at random.
        seed: of that.
    """
    generator = np.random.default_rng(seed)
    clusters, position = np.unique(cluster, return_inverse=True)
    found = np.zeros((count, 2, texts.shape[2]))
    for halving in found:
        first = (generator.permutation(len(clusters)) % 2 == 0)[position]
        for number, rows in enumerate((first, ~first)):
            if rows.any():
                halving[number] = rule(texts[rows, 0], texts[rows, 1])
    return found


def drawn(texts: np.ndarray, cluster: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Directions that vary as the difference of means would if labels said nothing, float64 (count, dim).

    They are drawn from the covariance of pair differences, summed over each cluster, whose pairs may share a response.

    Args:
        texts: as ``halved`` takes them.
        cluster: likewise.
        count: how many are drawn.
        seed: of that.
    """
    differences = texts[:, 0] - texts[:, 1]
    clusters, position = np.unique(cluster, return_inverse=True)
    sums = np.zeros((len(clusters), texts.shape[2]))
    np.add.at(sums, position, differences - differences.mean(axis=0))
    normal = np.random.default_rng(seed).standard_normal((count, len(clusters)))
    return normal @ sums / np.sqrt(len(texts))


@dataclass(frozen=True)
class Reached:
    """What directions do on one target, by direction, float64 (n,).

    Attributes:
        predicted: Φ(mean / standard deviation of the score's differences), as if those were normal.
        accuracy: share of pairs ranked right; ties count half.
    """

    predicted: np.ndarray
    accuracy: np.ndarray


@dataclass
class Agreement:
    """Adds up, target by target, how alike the directions of n sources score.

    Attributes:
        whole: direction of each source, float64 (n, dim).
        halves: of the halves of each, float64 (n, halvings, 2, dim); None where no ceiling is asked for.
        random: directions drawn for each, float64 (n, draws, dim); None where none are.
    """

    whole: np.ndarray
    halves: np.ndarray | None = None
    random: np.ndarray | None = None
    _sums: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, differences: np.ndarray) -> Reached:
        """Count a target in, by its pair differences (best − worse), float64 (m, dim)."""
        scores = differences @ self.whole.T
        self._count("whole", scores, "mi,mj->ij")
        if self.halves is not None:
            self._count("halves", _scores(differences, self.halves), "mihs,miht->ihst")
        if self.random is not None:
            self._count("random", _scores(differences, self.random), "mir,mjr->rij")
        return reached(scores)

    def _count(self, name: str, scores: np.ndarray, products: str) -> None:
        centred = scores - scores.mean(axis=0)
        found = np.einsum(products, centred, centred, optimize=True) / len(scores)
        self._sums[name] = self._sums.get(name, 0) + found

    def matrix(self) -> np.ndarray:
        """Agreement of every two sources, (n, n); 0 with a direction that scores all pairs alike."""
        return _correlations(self._sums["whole"])

    def reliability(self) -> np.ndarray:
        """What two sources of each one's size agree by where they share its direction, (n,); 0 where halves do not."""
        halves = _correlations(self._sums["halves"])[..., 0, 1].mean(axis=1)
        return np.maximum(2 * halves / (1 + np.maximum(halves, 0)), 0)

    def ceiling(self) -> np.ndarray:
        """The same of every two sources, (n, n), with 1 for each with itself."""
        own = np.sqrt(self.reliability())
        found = np.outer(own, own)
        np.fill_diagonal(found, 1)
        return found

    def unrelated(self) -> np.ndarray:
        """Effective number of random directions, one of each source, (draws,)."""
        return np.array([effective(matrix) for matrix in _correlations(self._sums["random"])])


def reached(scores: np.ndarray) -> Reached:
    """What scores of pair differences (m, n) predict, and reach, of n directions."""
    from scipy.stats import norm

    mean, spread = scores.mean(axis=0), scores.std(axis=0)
    at = np.divide(mean, spread, out=np.where(mean == 0, 0.0, np.copysign(np.inf, mean)), where=spread > 0)
    return Reached(norm.cdf(at), 0.5 * (1 + np.sign(scores)).mean(axis=0))


def effective(matrix: np.ndarray) -> float:
    """Participation ratio n² / ‖A‖² of a matrix of correlations: between 1 and n."""
    return len(matrix) ** 2 / float((matrix**2).sum())


def _scores(differences: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Scores (m, …) of (m, dim) along directions (…, dim)."""
    flat = differences @ directions.reshape(-1, directions.shape[-1]).T
    return flat.reshape(len(differences), *directions.shape[:-1])


def _correlations(covariance: np.ndarray) -> np.ndarray:
    """Correlations of covariances (…, n, n); the diagonal is 1, and what does not vary correlates with nothing."""
    spread = np.sqrt(np.einsum("...ii->...i", covariance))
    product = spread[..., :, None] * spread[..., None, :]
    found = np.divide(covariance, product, out=np.zeros_like(covariance), where=product > 0)
    places = range(covariance.shape[-1])
    found[..., places, places] = 1
    return found
