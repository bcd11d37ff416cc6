"""Predictions for shifts that a regression has not seen, nor anything that shares a distribution with them.

The regression is linear within methods: accuracy minus the method's mean, on quantities minus their means for the
method, with one set of coefficients for all methods. Shrunken to nothing, it predicts the method's mean. Intervals are
those of the jackknife+ (Barber, Candès, Ramdas and Tibshirani 2021, arXiv 1905.02928), with whole shifts left out, and
with each of them all that are related to it. Shifts of one source go together, so a source counts once, however many
shifts it has (hierarchical jackknife+: Lee, Barber and Willett 2023, arXiv 2306.06342), where there are enough sources;
of fewer, intervals reach as far as the largest error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

LEVEL = 0.9
"""Of the intervals, from ``FEWEST_SHIFTS`` sources on. 95 % would need 19 unrelated shifts for every one."""
FEWEST_SHIFTS = 9
"""Unrelated shifts from which on the jackknife+ has a finite interval of 90 %, n / (n + 1) ≥ 0.9, and likewise sources
from which on each of them can count once. With k sources, fewer than these, the interval reaches as far as the largest
error: it misses a new shift only where the error there beats those on all shifts of all k, which happens to one at most
of k + 1 sources that are alike. So k / (k + 1) is what is sure."""
PENALTY = 2.0
"""Ridge penalty per quantity, of standardized quantities and rows whose weights sum to 1 in each shift. Where p
unrelated quantities explain a share R² of the variance, the best penalty is p (1 − R²) / R²; here R² = 1/3. It was set
before any result was seen."""


@dataclass(frozen=True, eq=False)
class Observed:
    """Cells to learn from: g shifts, m methods, q quantities.

    Attributes:
        quantities: float64 (g, m, q); NaN where one is not known.
        accuracy: float64 (g, m); NaN where there is no such cell.
        related: whether two shifts have a distribution in common, bool (g, g).
        source: number of each shift's source, int (g,).
    """

    quantities: np.ndarray
    accuracy: np.ndarray
    related: np.ndarray
    source: np.ndarray


@dataclass(frozen=True, eq=False)
class Regression:
    """A fit on some shifts.

    Attributes:
        accuracy: means of each method, float64 (m,); NaN where it has no cell.
        quantities: likewise, float64 (m, q).
        coefficients: float64 (q,).
    """

    accuracy: np.ndarray
    quantities: np.ndarray
    coefficients: np.ndarray

    @classmethod
    def fit(cls, observed: Observed, chosen: np.ndarray) -> Regression:
        """Fit on the chosen shifts, bool (g,). A quantity that is not known of a cell counts as the method's mean."""
        from sklearn.linear_model import Ridge  # takes longer to import than most jobs take to do their work

        y, x = observed.accuracy[chosen], observed.quantities[chosen]
        known = ~np.isnan(y)
        mean_y = _means(y)
        mean_x = _means(np.where(known[..., None], x, np.nan))
        centred = x - mean_x
        scale = np.sqrt(_means(centred[known] ** 2))
        used = np.nan_to_num(scale) > 1e-9
        coefficients = np.zeros(x.shape[-1])
        if used.any():
            rows = np.nan_to_num(centred[known][:, used] / scale[used])
            weights = np.broadcast_to(1 / np.maximum(known.sum(axis=1, keepdims=True), 1), known.shape)[known]
            ridge = Ridge(alpha=PENALTY * used.sum(), fit_intercept=False, solver="cholesky")
            ridge.fit(rows, (y - mean_y)[known], sample_weight=weights)
            coefficients[used] = ridge.coef_ / scale[used]
        return cls(mean_y, mean_x, coefficients)

    def predict(self, quantities: np.ndarray) -> np.ndarray:
        """Accuracies, float64 (m,), of quantities (m, q); NaN for methods that the fit has no cell of."""
        return self.accuracy + np.nan_to_num(quantities - self.quantities) @ self.coefficients


def _means(values: np.ndarray) -> np.ndarray:
    """Means over axis 0 of what is not NaN; NaN where there is nothing."""
    known = ~np.isnan(values)
    counts = known.sum(axis=0)
    return np.where(counts > 0, np.where(known, values, 0).sum(axis=0) / np.maximum(counts, 1), np.nan)


@dataclass(frozen=True, eq=False)
class Jackknife:
    """What predicts one shift: a fit on every shift that is not related to it, and n fits that leave out one more.

    Attributes:
        whole: the fit on all of them.
        without: fits without one of them and what is related to that one.
        residuals: absolute errors of each of these on the shift that it leaves out, float64 (n, m); NaN where there is
            no such cell.
        source: number of the source of each of these shifts, int (n,).
    """

    whole: Regression
    without: tuple[Regression, ...]
    residuals: np.ndarray
    source: np.ndarray

    def predict(self, quantities: np.ndarray) -> np.ndarray:
        """Accuracies within [0, 1], float64 (m,), of quantities (m, q)."""
        return np.clip(self.whole.predict(quantities), 0, 1)

    @property
    def sources(self) -> np.ndarray:
        """How many sources the interval of each method rests on, int64 (m,)."""
        return _sources(self.residuals, self.source)

    def interval(self, quantities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the intervals, float64 (m,) each, within [0, 1]; NaN for methods with too few shifts for one."""
        predicted = np.array([one.predict(quantities) for one in self.without]).reshape(-1, len(quantities))
        return _ends(predicted, self.residuals, self.source)


@dataclass(frozen=True, eq=False)
class Direct:
    """A quantity that is a prediction itself; nothing is fitted, so its jackknife+ is the plain conformal interval.

    Attributes:
        quantity: its number.
        residuals: absolute errors on n shifts that are not related to the predicted one, float64 (n, m); NaN where
            there is no such cell.
        source: number of the source of each of these shifts, int (n,).
    """

    quantity: int
    residuals: np.ndarray
    source: np.ndarray

    @classmethod
    def of(cls, observed: Observed, related: np.ndarray, quantity: int) -> Direct:
        """What predicts a shift, by whether each observed one is related to it, bool (g,)."""
        residuals = np.abs(observed.quantities[~related][..., quantity] - observed.accuracy[~related])
        return cls(quantity, residuals, observed.source[~related])

    def predict(self, quantities: np.ndarray) -> np.ndarray:
        """As of ``Jackknife``."""
        return np.clip(quantities[:, self.quantity], 0, 1)

    @property
    def sources(self) -> np.ndarray:
        """As of ``Jackknife``."""
        return _sources(self.residuals, self.source)

    def interval(self, quantities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As of ``Jackknife``."""
        centers = np.broadcast_to(quantities[:, self.quantity], self.residuals.shape)
        return _ends(centers, self.residuals, self.source)


def _sources(residuals: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Sources of the shifts that a residual is known of, for each method, int64 (m,)."""
    return np.array([len(np.unique(source[~np.isnan(own)])) for own in residuals.T], np.int64)


def _ends(centers: np.ndarray, margins: np.ndarray, source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the intervals of m methods from n centres and margins of each, float64 (n, m), and their sources (n,)."""
    low, high = (np.full(margins.shape[1], np.nan) for _ in range(2))
    for method in range(margins.shape[1]):
        known = ~np.isnan(margins[:, method] + centers[:, method])
        center, margin, group = centers[known, method], margins[known, method], source[known]
        low[method], high[method] = -_reached(margin - center, group), _reached(center + margin, group)
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


def _reached(values: np.ndarray, group: np.ndarray) -> float:
    """The least value that ``LEVEL`` of all are no larger than, each of k groups and infinity counting 1 / (k + 1).

    Of fewer than ``FEWEST_SHIFTS`` groups it is the largest value; NaN where there are fewer values, too.
    """
    _, place, sizes = np.unique(group, return_inverse=True, return_counts=True)
    if len(sizes) < FEWEST_SHIFTS:
        return float(values.max()) if len(values) >= FEWEST_SHIFTS else np.nan
    order = np.argsort(values)
    below = np.cumsum(1 / sizes[place[order]]) / (len(sizes) + 1)
    return float(values[order[np.searchsorted(below, LEVEL - 1e-9)]])


class Jackknives:
    """Makes what predicts single shifts; a fit that several of them need is made once."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._fits: dict[bytes, Regression] = {}

    def of(self, related: np.ndarray) -> Jackknife:
        """What predicts a shift, by whether each observed one is related to it, bool (g,)."""
        chosen = ~related
        left_out = [*self._left_out(chosen)]
        shifts = np.array([shift for shift, _, _ in left_out], np.int64)
        residuals = np.array([own for _, _, own in left_out]).reshape(-1, self._observed.accuracy.shape[1])
        return Jackknife(
            self._fit(chosen), tuple(fit for _, fit, _ in left_out), residuals, self._observed.source[shifts]
        )

    def _left_out(self, chosen: np.ndarray) -> Iterator[tuple[int, Regression, np.ndarray]]:
        for shift in np.flatnonzero(chosen):
            rest = chosen & ~self._observed.related[shift]
            if not rest.any():
                continue
            fit = self._fit(rest)
            yield (
                int(shift),
                fit,
                np.abs(fit.predict(self._observed.quantities[shift]) - self._observed.accuracy[shift]),
            )

    def _fit(self, chosen: np.ndarray) -> Regression:
        key = chosen.tobytes()
        if key not in self._fits:
            self._fits[key] = Regression.fit(self._observed, chosen)
        return self._fits[key]
