"""What a probe would score if labels said nothing: its fit repeated with labels flipped at random.

Each repeat flips the labels of every prompt cluster's training pairs with probability ½, chooses sites and directions
anew, and is tested on the true labels of the targets. A null of this kind is wide: any direction may score far from ½
on a shift whose pairs differ alike, and differences that are large in training pairs stay large when their labels are
flipped. Source: Ojala and Garriga, Journal of Machine Learning Research 11, 2010; p-values after Phipson and Smyth,
Statistical Applications in Genetics and Molecular Biology 9, 2010.

For cost, all repeats of all probes use one solver, in place of each probe's own: sites are compared by the accuracy of
differences of means in five folds, and the direction of a site is the difference of means. With signs s of the pairs'
differences D, that direction is Dᵀs / n, so every repeat is a product with D Dᵀ, or with T Dᵀ for a target's
differences T; no repeat reads features again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from genies.interventions.steps.split import folds

Layers = Iterable[tuple[int, np.ndarray]]
"""Number of a layer, and the differences of its sites, float (n, sites, dim): first minus second response."""


@dataclass(frozen=True)
class Nulls:
    """Accuracies of the solver's probe on one target.

    Attributes:
        accuracy: with the true labels of training pairs.
        repeats: with flipped labels, float64 (B,), sorted.
    """

    accuracy: float
    repeats: np.ndarray

    @property
    def p(self) -> float:
        """(1 + repeats at least as accurate) / (B + 1), one-sided."""
        reached = len(self.repeats) - int(np.searchsorted(self.repeats, self.accuracy - 1e-12, side="left"))
        return (1 + reached) / (len(self.repeats) + 1)

    def quantile(self, share: float) -> float:
        """The accuracy that this share of the repeats does not exceed."""
        return float(np.quantile(self.repeats, share, method="inverted_cdf"))


def signs(cluster: np.ndarray, count: int, seed: int) -> np.ndarray:
    """1 or −1 for each pair and repeat, alike within a cluster, float32 (n, 1 + count); the first column is all 1."""
    _, position = np.unique(cluster, return_inverse=True)
    drawn = np.random.default_rng(seed).integers(0, 2, (int(position.max()) + 1, count)) * 2 - 1
    return np.concatenate([np.ones((len(cluster), 1)), drawn[position]], axis=1).astype(np.float32)


def chosen_sites(layers: Layers, turned: np.ndarray, cluster: np.ndarray, kept: int, split_seed: int) -> np.ndarray:
    """Which sites each repeat keeps: those whose differences of means rank most held-out pairs right.

    Args:
        layers: of the training pairs, best response first.
        turned: what ``signs`` gives, (n, repeats).
        cluster: number of each pair's cluster, int64 (n,).
        kept: how many sites are kept, at most; ties go to the lower layer, then head.
        split_seed: of the folds.

    Returns:
        bool (sites, repeats), sites in the order of ``layers``.
    """
    same_fold = np.zeros((len(turned), len(turned)), bool)
    for rows in folds(cluster, split_seed):
        same_fold[np.ix_(rows, rows)] = True
    accuracies = [
        _accuracy(np.where(same_fold, 0, of_site @ of_site.T) @ turned * turned)
        for _, differences in layers
        for of_site in np.moveaxis(differences, 1, 0)
    ]
    best = np.argsort(-np.stack(accuracies), axis=0, kind="stable")[:kept]
    keeps = np.zeros((len(accuracies), turned.shape[1]), bool)
    np.put_along_axis(keeps, best, True, axis=0)
    return keeps


def _accuracy(scores: np.ndarray) -> np.ndarray:
    """Share of positive scores in each column of (n, repeats); zeros count half."""
    return 0.5 * (1 + np.sign(scores)).mean(axis=0)


def nulls(
    training: Callable[[], Layers],
    targets: Iterable[tuple[str, Callable[[int], np.ndarray], np.ndarray]],
    turned: np.ndarray,
    keeps: np.ndarray,
) -> dict[str, Nulls]:
    """Accuracies on targets of every repeat: mean cosines with the directions of its sites, as direction probes score.

    Args:
        training: gives the layers of the training pairs, best response first; called once.
        targets: of each its name, its differences by layer, float (m, sites, dim), and whether the first response is
            the best one, bool (m,).
        turned: what ``signs`` gives.
        keeps: what ``chosen_sites`` gives.
    """
    known = list(targets)
    scores = {name: np.zeros((len(label), turned.shape[1])) for name, _, label in known}
    site = 0
    for layer, differences in training():
        of_sites = np.moveaxis(differences, 1, 0)
        used = [number for number in range(len(of_sites)) if keeps[site + number].any()]
        for name, read, _ in known if used else ():
            tested = np.moveaxis(read(layer), 1, 0)
            for number in used:
                scores[name] += keeps[site + number] * _cosines(tested[number], of_sites[number], turned)
        site += len(of_sites)
    found = {}
    for name, _, label in known:
        accuracies = _accuracy(np.where(label[:, None], scores[name], -scores[name]))
        found[name] = Nulls(float(accuracies[0]), np.sort(accuracies[1:]))
    return found


def _cosines(tested: np.ndarray, differences: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """Cosine of each of (m, dim) with the direction of each repeat, (m, repeats); 0 where one has no length."""
    directions = differences.T @ turned
    length = np.linalg.norm(tested, axis=1)[:, None] * np.linalg.norm(directions, axis=0)
    dot = tested @ directions
    return np.divide(dot, length, out=np.zeros_like(dot), where=length > 0)
