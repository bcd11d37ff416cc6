"""What other test examples would change: the bootstrap over examples (Efron and Tibshirani, 1993, chapter 13).

It gives intervals of ratios in a single shift, and of means over shifts that are taken as fixed. Whole clusters of
pairs are drawn, since the pairs of one example or prompt are not independent. What is measured on one distribution is
drawn together, so that an accuracy and the baseline's, or the capability's on the same examples, vary together, and so
do all shifts that use the distribution. Where an accuracy is a mean over the seeds of a fit, each draw also takes as
many of its seeds with replacement, the same ones for all targets of the fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np
import polars as pl

from genies.data.pairs import text_seed
from genies.evaluation.metrics import correctness
from genies.evaluation.scored import Key, Scored
from genies.evaluation.tables import DIFFERENCE

RESAMPLES = 10_000
MEAN_RESAMPLES = 2_000
"""Draws for means over shifts; those of every cell of a run are kept, of 500 cells 8 MB."""
BLOCK = 2**22
"""Counts that are drawn, or multiplied, at a time: as NumPy draws them, each has eight bytes."""
FILE = "intervals.csv"
ESTIMATED = ("elicitation", "differential_elicitation")
ENDS = [0.025, 0.975]
SAME = 1e-9
"""Accuracies that are nearer than this are equal: what is between is rounding."""
OVER_SHIFTS = ("generalization_accuracy", *ESTIMATED, DIFFERENCE)
"""Metrics whose means over shifts have an interval over examples."""
COLUMNS = {
    **dict.fromkeys(("model", "intervention", "source", "target"), pl.String),
    **{f"{name}{end}": pl.Float64 for name in ESTIMATED for end in ("_low", "_high")},
}
"""Columns of ``intervals.csv``: 95 % intervals over test examples of each row of the metrics; null where unknown."""


def intervals(
    metrics: pl.DataFrame,
    scores: Mapping[Key, Scored],
    seed: int = 0,
    baseline: str = "zero_shot",
    resamples: int = RESAMPLES,
) -> pl.DataFrame:
    """Percentile intervals of elicitation and differential elicitation, columns as in ``COLUMNS``.

    A capability counts as given where its examples are not known or have another accuracy. So does the choice of the
    best intervention. Where two interventions were tested on different examples of a target, their draws are
    independent.

    Args:
        metrics: a row per model, intervention and shift, as in ``genies.evaluation.tables.METRIC_COLUMNS``.
        scores: how right every pair was ranked.
        seed: of the draws; a distribution's depend on its name and the seed alone.
        baseline: the intervention that differential elicitation is measured from.
        resamples: number of draws.
    """
    draws = _Draws(scores, seed, resamples)
    rows = []
    for (target,), of_target in metrics.group_by("target", maintain_order=True):
        for row in of_target.iter_rows(named=True):
            place = {name: row[name] for name in ("model", "intervention", "source")}
            rows.append({**place, "target": target, **_row(draws, row, baseline)})
    return pl.DataFrame(rows, schema=COLUMNS)


def _row(draws: _Draws, row: dict, baseline: str) -> dict[str, float]:
    result = {}
    for name in ESTIMATED:
        values = _drawn_metric(draws, row, name, baseline)
        if values is not None:
            low, high = np.quantile(values, ENDS)
            result |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    return result


def _drawn_metric(draws: _Draws, row: Mapping, name: str, baseline: str) -> np.ndarray | None:
    """A metric of ``OVER_SHIFTS`` on one shift in each draw, float64 (resamples,); None where it is not known.

    Args:
        draws: of the accuracies.
        row: of the metrics; for the difference, with ``best_intervention``.
        name: of the metric.
        baseline: the intervention that differential elicitation is measured from.
    """
    model, source, target = (row[key] for key in ("model", "source", "target"))
    accuracy = draws.accuracy((model, row["intervention"], source, target))
    if accuracy is None or name == "generalization_accuracy":
        return accuracy
    other = {"differential_elicitation": baseline, DIFFERENCE: row.get("best_intervention")}.get(name)
    base = draws.accuracy((model, other, source, target)) if other else np.float64(0)
    if base is None or name == DIFFERENCE:
        return None if base is None else accuracy - base
    if not row["target_tuned_capability"]:
        return None
    capability = _drawn_capability(draws, row)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = (accuracy - base) / capability
    return values if np.isfinite(values).all() else None


def _drawn_capability(draws: _Draws, row: Mapping) -> np.ndarray | np.float64:
    """The capability of a shift in each draw, float64 (resamples,); as given where it is not that of known pairs."""
    reference, given = row["target_reference"], np.float64(row["target_tuned_capability"])
    key = (row["model"], row["target_tuned_capability_intervention"], reference, reference)
    known = draws.scores.get(key)
    # Published capabilities may follow another evaluation than the one that is there.
    if known is None or abs(known.correct.mean() - given) > SAME:
        return given
    return draws.accuracy(key)


class DrawnMeans:
    """Means over fixed shifts in each draw of examples: 95 % percentile intervals.

    A capability counts as given where ``intervals`` takes it as given, and so do the choices of the best intervention
    on a reference and of the best one of all.

    Args:
        metrics: a row per model, intervention and shift, as in ``genies.evaluation.tables.METRIC_COLUMNS``.
        scores: how right every pair was ranked.
        seed: of the draws; see ``intervals``, whose first draws these are.
        baseline: the intervention that differential elicitation is measured from.
        resamples: number of draws.
    """

    def __init__(
        self,
        metrics: pl.DataFrame,
        scores: Mapping[Key, Scored],
        seed: int = 0,
        baseline: str = "zero_shot",
        resamples: int = MEAN_RESAMPLES,
    ) -> None:
        self._baseline = baseline
        keys = sorted(set(_keys(metrics, baseline)) & scores.keys(), key=lambda key: (key[3], key))
        self._draws = _Draws(scores, seed, resamples, kept=None)
        for key in keys:  # by target, so that each distribution is drawn once
            self._draws.accuracy(key)

    def interval(self, shifts: pl.DataFrame, name: str) -> tuple[float, float] | None:
        """Interval of the mean of a metric over rows of the metrics; None where what a shift is made of is not known.

        Args:
            shifts: rows of the metrics; one that stands twice counts twice. For the difference to the best
                intervention, with its name in ``best_intervention``.
            name: of the metric; those of ``OVER_SHIFTS`` have an interval.
        """
        if name not in OVER_SHIFTS or not len(shifts):
            return None
        total = np.float64(0)
        for row in shifts.iter_rows(named=True):
            values = _drawn_metric(self._draws, row, name, self._baseline)
            if values is None:
                return None
            total = total + values
        low, high = np.quantile(total / len(shifts), ENDS)
        return float(low), float(high)


def _keys(metrics: pl.DataFrame, baseline: str) -> Iterator[Key]:
    """The cells that the metrics are made of."""
    for row in metrics.iter_rows(named=True):
        model, reference = row["model"], row["target_reference"]
        yield model, row["intervention"], row["source"], row["target"]
        yield model, baseline, row["source"], row["target"]
        yield model, row["target_tuned_capability_intervention"], reference, reference


class _Draws:
    """Accuracies over draws of examples; those of a target and a reference are kept, of 20,000 examples 0.2 GB each.

    Args:
        scores: how right every pair was ranked.
        seed: of the draws.
        resamples: number of draws.
        kept: how many cells' accuracies are remembered; None for all.
    """

    def __init__(self, scores: Mapping[Key, Scored], seed: int, resamples: int, kept: int | None = 256) -> None:
        self.scores = scores
        self._seed = seed
        self._resamples = resamples
        self._weights = lru_cache(maxsize=2)(self._drawn)
        self.accuracy = lru_cache(maxsize=kept)(self._accuracy)

    def _drawn(self, distribution: str, examples: int) -> np.ndarray:
        """How often each example is drawn, uint8 (resamples, examples); even 20 times is one in 10¹⁸."""
        generator = np.random.default_rng(text_seed(self._seed, distribution))
        share = np.full(examples, 1 / examples)
        drawn = np.empty((self._resamples, examples), np.uint8)
        for rows in self._blocks(examples):
            drawn[rows] = generator.multinomial(examples, share, len(drawn[rows]))
        return drawn

    def _blocks(self, examples: int) -> list[slice]:
        rows = max(1, BLOCK // examples)
        return [slice(begin, begin + rows) for begin in range(0, self._resamples, rows)]

    def _accuracy(self, key: Key) -> np.ndarray | None:
        """Accuracy in each draw, float64 (resamples,); None where the pairs are not known."""
        scored = self.scores.get(key)
        if scored is None:
            return None
        cluster = np.unique(scored.cluster, return_inverse=True)[1]
        weights = self._weights(key[3], int(cluster.max()) + 1)
        correct = [scored.correct] if scored.by_seed is None else [correctness(drawn) for drawn in scored.by_seed]
        sums = np.stack([*(np.bincount(cluster, one) for one in correct), np.bincount(cluster)], 1).astype(np.float32)
        drawn = [weights[rows].astype(np.float32) @ sums for rows in self._blocks(weights.shape[1])]
        totals = np.concatenate(drawn).astype(np.float64)
        accuracies = totals[:, :-1] / totals[:, -1:]
        if len(correct) == 1:
            return accuracies[:, 0]
        return (accuracies * self._seeds(key, len(correct))).mean(1)

    def _seeds(self, key: Key, seeds: int) -> np.ndarray:
        """How often each seed is drawn, int64 (resamples, seeds); the same for every target of a fit."""
        generator = np.random.default_rng(text_seed(self._seed, "seeds", *key[:3]))
        return generator.multinomial(seeds, np.full(seeds, 1 / seeds), self._resamples)
