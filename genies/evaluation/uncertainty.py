"""Intervals of an accuracy over pairs, and of a mean over shifts.

Neither draws random numbers. Coverage at level 0.95 was measured by simulation; ``docs/methods.md`` has the figures:

- ``accuracy_interval`` covers at least its level, from many examples of one to three pairs to few of very unequal size,
  and with ties, where the pairs of an example are alike throughout. With few examples, and near 0 and 1, it errs on the
  wide side. It covers less where a few prompts are wrong as a whole, and none of them may be among those drawn.
- ``clustered_mean`` by source, on the shifts of the packaged lists, with effects of sources and targets:
  see ``tests/evaluation/test_uncertainty.py``, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

FEWEST_DEGREES = 4.0
"""Degrees of freedom below which the small-sample correction is not reliable (Pustejovsky and Tipton 2018), and an
interval over shifts supports no claim about new shifts."""
ROUNDING = 1e-9


def accuracy_interval(
    correct: ArrayLike, clusters: ArrayLike, level: float = 0.95, seed_variance: float = 0.0, seeds: int = 2
) -> tuple[float, float]:
    """Interval of an accuracy whose pairs come in clusters: those of one example, or of one prompt.

    Korn and Graubard's interval (Survey Methodology 24, 1998): Clopper–Pearson's with the number n of pairs replaced by
    an effective one; see ``_effective_sizes``.

    Where some pairs are neither right nor wrong (ties, or means over seeds), the accuracy is a weighted sum of shares:
    with ties, half the share of right pairs plus half the share of pairs that are not wrong. Each share has such an
    interval, and their distances to the shares add like standard errors, with the correlations that the clusters show
    (Zou, Huang and Zhang, Computational Statistics & Data Analysis 53, 2009). A variance alone would not know that
    pairs can be wrong where none of them is.

    Args:
        correct: 1 for a pair ranked right, 0 for wrong, 0.5 for a tie; or a mean of these over seeds; float (n,).
        clusters: the cluster that each pair belongs to, int (n,).
        level: probability that the interval holds the accuracy.
        seed_variance: what the choice of seeds adds to the variance of the accuracy, a mean over them.
        seeds: from how many that variance is estimated; see ``margin_of_draws``.

    Returns:
        (low, high) within [0, 1].

    Raises:
        ValueError: shapes differ, there is no pair, or a value lies outside [0, 1].
    """
    values, cluster = np.asarray(correct, dtype=np.float64), np.asarray(clusters)
    if values.ndim != 1 or values.shape != cluster.shape or not len(values):
        raise ValueError(f"correct and clusters must be lists of one length, not {values.shape} and {cluster.shape}")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("correct must lie within [0, 1]")
    levels = np.unique([0.0, *values, 1.0])
    position = np.unique(cluster, return_inverse=True)[1]
    reached = np.stack([np.bincount(position, values >= least) for least in levels[1:]])
    below, above = _margins(reached, np.bincount(position), np.diff(levels), level)
    mean, of_seeds = float(values.mean()), margin_of_draws(seed_variance, seeds, level)
    return max(mean - math.hypot(below, of_seeds), 0.0), min(mean + math.hypot(above, of_seeds), 1.0)


def margin_of_draws(variance: float, drawn: int, level: float = 0.95) -> float:
    """Half the width of an interval if nothing but what was drawn at random varied: seeds, or sets of shots.

    Args:
        variance: of the mean over them.
        drawn: how many there are, so that Student's t has one degree of freedom less.
        level: that of the interval.
    """
    from scipy import special  # takes longer to import than most jobs take to do their work

    return float(special.stdtrit(drawn - 1, (1 + level) / 2)) * math.sqrt(variance) if variance else 0.0


def _margins(reached: np.ndarray, sizes: np.ndarray, weights: np.ndarray, level: float) -> tuple[float, float]:
    """How far the ends of the interval of a weighted sum of m shares lie below and above it.

    Args:
        reached: how many pairs of each cluster count, for each share; float (m, k).
        sizes: number of pairs of each cluster, int (k,).
        weights: of the shares, float (m,).
        level: that of the interval.
    """
    from scipy import special  # takes longer to import than most jobs take to do their work

    share, tail = reached.sum(axis=1) / sizes.sum(), (1 - level) / 2
    size = _effective_sizes(reached, sizes, level)
    right, wrong = share * size, (1 - share) * size
    low = np.where(share > 0, special.betaincinv(right, wrong + 1, tail), 0.0)
    high = np.where(share < 1, special.betaincinv(right + 1, wrong, 1 - tail), 1.0)
    correlation = _correlation(reached - np.outer(share, sizes))
    below, above = weights * (share - low), weights * (high - share)
    squares = [float(margin @ correlation @ margin) for margin in (below, above)]
    return math.sqrt(max(squares[0], 0.0)), math.sqrt(max(squares[1], 0.0))


def _effective_sizes(reached: np.ndarray, sizes: np.ndarray, level: float) -> np.ndarray:
    """How many independent pairs tell as much of each share as those of k clusters: n / deff × (t[n−1] / t[f])².

    The design effect deff is the variance of the share that the clusters show over that of n independent pairs, at
    least 1. Clusters may be few, or a few of them large: the variance is the CR2 one, and f are Satterthwaite's degrees
    of freedom, as for ``clustered_mean``. With clusters of equal size these are Korn and Graubard's linearised variance
    and their k − 1.

    Few pairs that go against the majority say little about how the pairs of a cluster go together, and deff is then
    often too low. So half a cluster is added whose pairs all agree: deff is averaged with its value under full
    agreement, Σ size² / n, with weights (effective number of pairs against the majority) and 1/2. A pair counts there
    as much as its cluster is large, since one on its own says nothing about agreement.

    Args:
        reached: how many pairs of each cluster count, for each of m shares; float (m, k).
        sizes: number of pairs of each cluster, int (k,).
        level: that of the interval.

    Returns:
        float64 (m,). A single cluster says nothing about how clusters differ, and counts as one pair.
    """
    from scipy import special  # takes longer to import than most jobs take to do their work

    n, share = sizes.sum(), reached.sum(axis=1) / sizes.sum()
    if len(sizes) == 1:
        return np.ones(len(reached))
    quantile = (1 + level) / 2
    t_ratio = (special.stdtrit(n - 1, quantile) / special.stdtrit(_degrees_of_freedom(sizes), quantile)) ** 2
    between = np.sum((reached - np.outer(share, sizes)) ** 2 / (1 - sizes / n), axis=1) / n**2
    independent = share * (1 - share) / (n - 1)
    deff = np.maximum(np.divide(between, independent, out=np.ones(len(share)), where=independent > 0), 1.0)
    full_agreement = np.sum(sizes**2) / n
    against = np.minimum(reached @ sizes, (sizes - reached) @ sizes) / full_agreement / deff
    averaged = (against * deff + 0.5 * full_agreement) / (against + 0.5)
    return n / np.maximum(deff, averaged) * t_ratio


def _correlation(residual: np.ndarray) -> np.ndarray:
    """Correlations of m shares from their residuals in k clusters, float (m, k); 0 where one of them does not vary."""
    if residual.shape[1] == 1:
        return np.ones((len(residual), len(residual)))
    length = np.linalg.norm(residual, axis=1)
    unit = residual / np.where(length > ROUNDING, length, np.inf)[:, None]
    correlation = unit @ unit.T
    np.fill_diagonal(correlation, 1.0)
    return correlation


def clustered_variance(values: np.ndarray, cluster: np.ndarray) -> float:
    """Variance of a mean over n values in k clusters: k / (k − 1) · Σ (sum of a cluster's residuals)² / n².

    The linearised variance of a ratio of sums (Cochran, Sampling Techniques, 1977, section 6).

    Args:
        values: float (n,).
        cluster: number of each value's cluster, from 0 to k − 1, int (n,), k ≥ 2.
    """
    residual = np.bincount(cluster, values - values.mean())
    k = len(residual)
    return float(k / (k - 1) * np.sum(residual**2) / len(values) ** 2)


@dataclass(frozen=True)
class ClusteredMean:
    """A mean of values that come in clusters.

    Attributes:
        mean: of all values, each counted once.
        standard_error: of the mean; None where there is one cluster.
        degrees_of_freedom: of the t distribution that the mean is compared with; likewise.
        clusters: how many there are.
    """

    mean: float
    standard_error: float | None
    degrees_of_freedom: float | None
    clusters: int

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """The t interval that holds the expected value with this probability; None where there is one cluster."""
        from scipy import stats  # takes longer to import than most jobs take to do their work

        if self.standard_error is None or self.degrees_of_freedom is None:
            return None
        margin = float(stats.t.ppf((1 + level) / 2, self.degrees_of_freedom)) * self.standard_error
        return self.mean - margin, self.mean + margin


def supports_new_shifts(degrees_of_freedom: float | None) -> bool:
    """Whether a mean over shifts can support a claim about new ones; None stands for a mean over one source."""
    # Five sources of one shift each have exactly as many, up to rounding.
    return degrees_of_freedom is not None and degrees_of_freedom > FEWEST_DEGREES - ROUNDING


def clustered_mean(values: ArrayLike, clusters: ArrayLike) -> ClusteredMean:
    """A mean with the CR2 standard error and Satterthwaite's degrees of freedom, values of a cluster being dependent.

    Bias-reduced linearization (Bell and McCaffrey, Survey Methodology 28, 2002; degrees of freedom as in Pustejovsky
    and Tipton, Journal of Business & Economic Statistics 36, 2018) for a regression on an intercept alone. With n_g of
    the n values in cluster g and a_g² = 1 / (1 − n_g / n), the variance is Σ a_g² (sum of the residuals in g)² / n².
    Let Ω_gh = a_g a_h (δ_gh n_g − n_g n_h / n) / n². If errors were independent and of equal variance, the estimate
    would follow a scaled chi-square distribution of about tr(Ω)² / ‖Ω‖² degrees of freedom. With a single value in each
    cluster, the interval is Student's with n − 1.

    Args:
        values: one number per shift, float (n,), n ≥ 1. A shift that counts twice is there twice.
        clusters: the cluster that each value belongs to, such as the name of its source, (n,).

    Raises:
        ValueError: shapes differ, there is no value, or one is not finite.
    """
    x, labels = np.asarray(values, dtype=np.float64), np.asarray(clusters)
    if x.ndim != 1 or x.shape != labels.shape or not len(x):
        raise ValueError(f"values and clusters must be lists of one length, not of shapes {x.shape} and {labels.shape}")
    if not np.isfinite(x).all():
        raise ValueError("values must be finite")
    n, mean = len(x), float(x.mean())
    _, cluster, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if len(sizes) == 1:
        return ClusteredMean(mean, None, None, 1)
    adjustment = 1 / np.sqrt(1 - sizes / n)
    error = float(np.linalg.norm(adjustment * np.bincount(cluster, x - mean))) / n
    return ClusteredMean(mean, error, _degrees_of_freedom(sizes), len(sizes))


def _degrees_of_freedom(sizes: np.ndarray) -> float:
    """tr(Ω)² / ‖Ω‖² of ``clustered_mean``, for two or more clusters, int (k,); the matrix is never built.

    Its diagonal is n_g, and what is beyond the diagonal −b_g b_h / n, with b_g = a_g n_g.
    """
    n = int(sizes.sum())
    squares = sizes**2 / (1 - sizes / n)
    beyond = np.sum(squares) ** 2 - np.sum(squares**2)
    return max(float(n**2 / (np.sum(sizes.astype(np.float64) ** 2) + beyond / n**2)), 1.0)


def cluster_influences(values: ArrayLike, clusters: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """What each cluster contributes to the error of ``clustered_mean``, for one mean or a table of means.

    Means of several quantities over the same clusters vary together as their influences do: the CR2 covariance of two
    means is the sum of the products of their influences.

    Args:
        values: as ``clustered_mean`` takes them, or a table of such lists, float (..., n).
        clusters: the cluster that each of the n belongs to. Of a single one nothing is known: its influence is 0.

    Returns:
        Names of the g clusters, sorted, and their influences, float64 (..., g), whose sum of squares is the square of
        the standard error.
    """
    x, labels = np.asarray(values, dtype=np.float64), np.asarray(clusters)
    order = np.argsort(labels, kind="stable")
    names, begin, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    n = x.shape[-1]
    residuals = np.add.reduceat((x - x.mean(axis=-1, keepdims=True))[..., order], begin, axis=-1)
    if len(sizes) == 1:
        return names, np.zeros_like(residuals)
    return names, residuals / np.sqrt(1 - sizes / n) / n


def clustered_margin(errors: ArrayLike, clusters: ArrayLike, of_seeds: float = 0.0) -> float | None:
    """Half the width of the 95 % t interval of a figure, from what each pair or text adds to its error.

    Args:
        errors: derivatives of the figure by the weights of the n pairs, times n; float (n,). Of a mean they are the
            values themselves.
        clusters: the cluster that each belongs to, (n,).
        of_seeds: half the width if nothing but seeds varied, see ``margin_of_draws``.

    Returns:
        None for a single cluster.
    """
    ends = clustered_mean(errors, clusters).interval()
    return None if ends is None else math.hypot((ends[1] - ends[0]) / 2, of_seeds)


def log_odds_interval(
    value: float, errors: ArrayLike, clusters: ArrayLike, of_seeds: float = 0.0
) -> tuple[float, float]:
    """95 % interval of a figure within [0, 1] by Student's t on its log-odds, for few clusters, or a few large ones.

    Args:
        value: the figure; one of 0 or 1 has no log-odds, and its interval is a point.
        errors: as ``clustered_margin`` takes them.
        clusters: likewise; of a single one nothing is known.
        of_seeds: likewise.
    """
    if min(value, 1 - value) < ROUNDING:
        return value, value
    margin = clustered_margin(errors, clusters, of_seeds)
    if margin is None:
        return 0.0, 1.0
    middle, of_odds = math.log(value / (1 - value)), margin / (value * (1 - value))
    low, high = (0.5 * (1 + math.tanh(end / 2)) for end in (middle - of_odds, middle + of_odds))
    return low, high


def two_way_mean(values: ArrayLike, sources: ArrayLike, targets: ArrayLike) -> ClusteredMean:
    """A mean of values that depend on each other where they share a source or a target.

    The variance is V(source) + V(target) − V(source and target) (Cameron, Gelbach and Miller, Journal of Business &
    Economic Statistics 29, 2011), each by ``clustered_mean``, and at least the larger of the first two, since the sum
    can fall below it in small samples. Degrees of freedom and the number of clusters are the smaller ones of both ways.

    Args:
        values: as ``clustered_mean`` takes them.
        sources: of each value, (n,).
        targets: likewise.
    """
    both = np.unique(np.stack([_numbered(sources), _numbered(targets)], 1), axis=0, return_inverse=True)[1]
    by_source, by_target, by_both = (clustered_mean(values, way) for way in (sources, targets, both.reshape(-1)))
    clusters = min(by_source.clusters, by_target.clusters)
    if clusters == 1:
        return ClusteredMean(by_source.mean, None, None, 1)
    # From two clusters on, errors and degrees of freedom are known.
    errors = [found.standard_error for found in (by_source, by_target, by_both)]
    variances = [error**2 for error in errors if error is not None]
    variance = max(variances[0] + variances[1] - variances[2], *variances[:2])
    freedoms = [found.degrees_of_freedom for found in (by_source, by_target)]
    freedom = min(known for known in freedoms if known is not None)
    return ClusteredMean(by_source.mean, float(np.sqrt(variance)), freedom, clusters)


def _numbered(names: ArrayLike) -> np.ndarray:
    return np.unique(np.asarray(names), return_inverse=True)[1]
