"""How accurate an intervention is where it is sure: accuracy by coverage, and the area under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from genies.data.pairs import text_seed
from genies.evaluation.draws import Interval, difference_interval, drawn_clusters, share_interval, spanned
from genies.evaluation.evaluations import PLACE
from genies.evaluation.metrics import correctness
from genies.evaluation.ratios import Estimate
from genies.evaluation.scored import Key, Scored
from genies.evaluation.selective import COVERAGES, accuracy_at, areas, influences
from genies.evaluation.table import Rows, Table
from genies.evaluation.tables.text_scores import wanted
from genies.evaluation.texts import once
from genies.evaluation.uncertainty import clustered_margin, log_odds_interval, margin_of_draws

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

RESAMPLES = 1_000
PERCENT = {coverage: round(100 * coverage) for coverage in COVERAGES}
TABLE = Table(
    "risk_coverage.csv",
    {
        **dict.fromkeys(PLACE, pl.String),
        "pairs": pl.Int64,
        **{f"accuracy_at_{percent}": pl.Float64 for percent in PERCENT.values()},
        **dict.fromkeys(("area", "area_low", "area_high", "area_at_best"), pl.Float64),
        **dict.fromkeys(("gain", "gain_low", "gain_high"), pl.Float64),
    },
    optional=True,
    rows=Rows(PLACE, ("pairs", "accuracy_at_100", "area")),
)
"""Columns of ``risk_coverage.csv``: a row per cell of a shift, or of a source on itself.

``accuracy_at_30`` is the accuracy on the surest 30 % of the target's pairs, those whose probabilities are furthest from
½; ``accuracy_at_100`` is that on all. ``area`` is the mean accuracy over all coverages, 1 minus the area under the
risk–coverage curve (``genies.evaluation.selective``). ``area_at_best`` is what it would be if all pairs that are ranked
right were surer than all others. ``gain`` is the area less the accuracy on all pairs: 0 in the mean where confidence
says nothing, and below 0 where pairs are wrong of which the intervention is sure. Of several seeds all are means.
Intervals of 95 % are over prompt clusters, and over seeds: percentiles, and at least as wide as Student's t makes them,
which allows for few prompts, and where hardly any pair is wrong, or right, as that of the accuracy makes them."""


def rows(run: Measurements) -> pl.DataFrame:
    places, drawn = wanted(run), lru_cache(maxsize=8)(drawn_clusters)
    found: dict[Key, dict[str, Any]] = {key: {} for key in run.scores if key[2:] in places}
    for key in sorted(found, key=lambda key: key[3]):  # by target, so that each is drawn once
        scored = run.scores[key]
        clusters = len(np.unique(scored.cluster))
        weights = drawn(key[3], clusters, run.seed, RESAMPLES)
        measured = _measured(scored, weights, _seeds(key, scored, run.seed))
        found[key] = {**dict(zip(PLACE, key, strict=True)), **measured}
    return TABLE.frame(found.values())


@dataclass(frozen=True, eq=False)
class _Area:
    """The area of a cell, of several seeds the mean, and its intervals.

    Attributes:
        scored: what is said of the cell's pairs.
        cluster: number of each pair's cluster, from 0, int64 (n,).
        sure: how right each pair is ranked and how sure it is, float64 (n,) each, by seed.
        by_seed: the area under each seed.
    """

    scored: Scored
    cluster: np.ndarray
    sure: Sequence[tuple[np.ndarray, np.ndarray]]
    by_seed: Sequence[float]

    @property
    def value(self) -> float:
        return float(np.mean(self.by_seed))

    @cached_property
    def _errors(self) -> np.ndarray:
        return np.mean([influences(*one) for one in self.sure], axis=0)

    def interval(self, drawn: np.ndarray) -> Interval:
        """95 % interval: percentiles of the draws, which are too narrow for few prompts, and Student's t."""
        by_clusters = log_odds_interval(self.value, self._errors, self.cluster, _of_seeds(self.by_seed))
        return spanned(share_interval(drawn, lambda: self.scored.interval), by_clusters)

    def gain_interval(self, area: Estimate, accuracy: Estimate) -> Interval:
        """95 % interval of the area less the accuracy, likewise."""
        of_gain = [area - correct.mean() for area, (correct, _) in zip(self.by_seed, self.sure, strict=True)]
        errors = self._errors - np.mean([correct for correct, _ in self.sure], axis=0)
        margin, gain = clustered_margin(errors, self.cluster, _of_seeds(of_gain)), area.value - accuracy.value
        found = difference_interval(area, accuracy)
        return found if margin is None else spanned(found, (gain - margin, gain + margin))


def _of_seeds(by_seed: Sequence[float]) -> float:
    """Half the width of the interval of a mean over seeds if nothing else varied."""
    count = len(by_seed)
    return margin_of_draws(float(np.var(by_seed, ddof=1)) / count, count) if count > 1 else 0.0


def _measured(scored: Scored, drawn: np.ndarray, seeds: np.ndarray) -> dict[str, Any]:
    """The columns of a cell.

    Args:
        scored: what is said of its pairs.
        drawn: how often each cluster is drawn, (draws, clusters).
        seeds: how often each seed is drawn, (draws, seeds).
    """
    cluster = np.unique(scored.cluster, return_inverse=True)[1]
    by_seed = [(scored.correct, scored.probability)]
    if scored.by_seed is not None:
        by_seed = [(correctness(probability), probability) for probability in scored.by_seed]
    sure = [(correct, np.abs(probability - 0.5)) for correct, probability in by_seed]
    accuracies = np.mean([accuracy_at(*one) for one in sure], axis=0)
    whole = once(int(cluster.max()) + 1)
    area_by_seed, best_by_seed = (
        [float(areas(correct, confidence, cluster, whole)[0]) for correct, confidence in found]
        for found in (sure, [(correct, correct) for correct, _ in sure])
    )
    spread = np.stack([areas(*one, cluster, drawn) for one in sure], axis=1)
    counts = np.stack([np.bincount(cluster, correct) for correct, _ in sure], axis=1)
    by_draw = drawn @ counts / (drawn @ np.bincount(cluster))[:, None]
    shares = seeds / seeds.sum(axis=1, keepdims=True)
    area = _Area(scored, cluster, sure, area_by_seed)
    of_area, of_accuracy = ((each * shares).sum(axis=1) for each in (spread, by_draw))
    low, high = area.interval(of_area)
    accuracy = Estimate(float(accuracies[-1]), *scored.interval, of_accuracy)
    gain_low, gain_high = area.gain_interval(Estimate(area.value, low, high, of_area), accuracy)
    return {
        "pairs": len(cluster),
        **{f"accuracy_at_{PERCENT[coverage]}": float(a) for coverage, a in zip(COVERAGES, accuracies, strict=True)},
        "area": area.value,
        "area_low": low,
        "area_high": high,
        "area_at_best": float(np.mean(best_by_seed)),
        "gain": area.value - float(accuracies[-1]),
        "gain_low": gain_low,
        "gain_high": gain_high,
    }


def _seeds(key: Key, scored: Scored, seed: int) -> np.ndarray:
    """How often each seed is drawn, (draws, seeds): the same for every target of a fit, as in ``bootstrap``."""
    count = len(scored.draws)
    generator = np.random.default_rng(text_seed(seed, "seeds", *key[:3]))
    return generator.multinomial(count, np.full(count, 1 / count), RESAMPLES)
