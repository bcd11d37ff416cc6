"""What other test examples would change: the bootstrap over examples (Efron and Tibshirani, 1993, chapter 13).

It gives intervals of ratios in a single shift, and of means over shifts that are taken as fixed. Whole clusters of
pairs are drawn, since the pairs of one example or prompt are not independent. What is measured on one distribution is
drawn together, so that an accuracy and the baseline's, or the capability's on the same examples, vary together, and so
do all shifts that use the distribution. Where an accuracy is a mean over the seeds of a fit, each draw also takes as
many of its seeds with replacement, the same ones for all targets of the fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
import polars as pl

from genies.data.pairs import text_seed
from genies.evaluation.averages import CAPABILITY, DIFFERENCE
from genies.evaluation.capability import CleanCapabilities, Measured
from genies.evaluation.draws import ENDS, Interval, blocks, drawn_clusters, percentiles, spanned, too_even
from genies.evaluation.metrics import BASELINE, correctness
from genies.evaluation.ratios import Estimate, difference, fieller, mean_interval, ratio_interval
from genies.evaluation.scored import Key, Scored

RESAMPLES = 10_000
MEAN_RESAMPLES = 2_000
"""Draws for means over shifts; those of every cell of a run are kept, of 500 cells 8 MB."""
ESTIMATED = ("elicitation", "differential_elicitation")
ADJUSTED = "chance_adjusted_elicitation"
SAME = 1e-9
"""Accuracies that are nearer than this are equal: what is between is rounding."""
OVER_SHIFTS = ("generalization_accuracy", *ESTIMATED, DIFFERENCE)
"""Metrics whose means over shifts have an interval over examples."""
COLUMNS = {
    **dict.fromkeys(("model", "intervention", "source", "target"), pl.String),
    **{f"{name}{end}": pl.Float64 for name in (*ESTIMATED, ADJUSTED) for end in ("_low", "_high")},
}
"""Columns of the intervals of single shifts."""


def intervals(
    metrics: pl.DataFrame,
    scores: Mapping[Key, Scored],
    seed: int = 0,
    baseline: str = BASELINE,
    resamples: int = RESAMPLES,
    clean: CleanCapabilities | None = None,
) -> pl.DataFrame:
    """Intervals of elicitation and differential elicitation (percentiles), and of chance-adjusted elicitation.

    Where hardly any pair is wrong, percentiles are too narrow; see ``_from_intervals``. A capability counts as given
    where its examples are not known or have another accuracy. So does the choice of the best intervention. Where two
    interventions were tested on different examples of a target, their draws are independent.

    Args:
        metrics: a row per model, intervention and shift, as in ``tables.generalization_metrics.TABLE``.
        scores: how right every pair was ranked.
        seed: of the draws; a distribution's depend on its name and the seed alone.
        baseline: the intervention that differential elicitation is measured from.
        resamples: number of draws.
        clean: chose and measured the capabilities, where the protocol is ``corrected``.

    Returns:
        Columns as in ``COLUMNS``.
    """
    draws = _Draws(scores, seed, resamples, clean=clean)
    rows = []
    for (target,), of_target in metrics.group_by("target", maintain_order=True):
        for row in of_target.iter_rows(named=True):
            place = {name: row[name] for name in ("model", "intervention", "source")}
            rows.append({**place, "target": target, **_row(draws, row, baseline)})
    return pl.DataFrame(rows, schema=COLUMNS)


def _row(draws: _Draws, row: dict, baseline: str) -> dict[str, float]:
    result: dict[str, float] = {}
    for name in ESTIMATED:
        values = _drawn_metric(draws, row, name, baseline)
        if values is not None:
            low, high = np.quantile(values, ENDS)
            wider = _from_intervals(draws, row, name, baseline)
            if wider is not None:
                low, high = min(low, wider[0]), max(high, wider[1])
            result |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    if row[ADJUSTED] is not None and (interval := _chance_adjusted(draws, row)):
        result |= {f"{ADJUSTED}_low": interval[0], f"{ADJUSTED}_high": interval[1]}
    return result


def _from_intervals(draws: _Draws, row: Mapping, name: str, baseline: str) -> tuple[float, float] | None:
    """Interval of an elicitation from those of its accuracies; None where percentiles do, or it would have no end.

    They do not where an accuracy has too few wrong pairs, or right ones, for draws to say how it varies. They do where
    the elicitation is 1, or 0, by definition, as of a method that is compared with itself.
    """
    capability_of = (row["target_tuned_capability_intervention"], row["target_reference"], row["target_reference"])
    used = [row["intervention"]] if name == "elicitation" else [row["intervention"], baseline]
    if used == [baseline, baseline] or (*used, row["source"], row["target"]) == capability_of:
        return None
    drawn = [draws.elicited(row, intervention) for intervention in used]
    capability = _drawn_capability(draws, row)
    varied = [values for values in (*drawn, capability) if isinstance(values, np.ndarray)]
    if not any(too_even(percentiles(values)) for values in varied):
        return None
    pairs = [draws.compared(row, intervention) for intervention in used]
    parts = [Estimate(m.accuracy, *m.interval(), d) for m, d in zip(pairs, drawn, strict=True) if m and d is not None]
    measured = draws.capable(row) if isinstance(capability, np.ndarray) else None
    given = float(row[CAPABILITY])
    ends = measured.interval() if measured else (given, given)
    elicited = difference(*parts) if len(parts) > 1 else parts[0]
    return ratio_interval(elicited, Estimate(given, *ends, np.broadcast_to(capability, elicited.drawn.shape)))


def _chance_adjusted(draws: _Draws, row: Mapping) -> tuple[float, float] | None:
    """Interval of (accuracy − ½) / (capability − ½); None where it is not known, or has no end."""
    accuracy, capability = draws.elicited(row, row["intervention"]), _drawn_capability(draws, row)
    if accuracy is None or np.ndim(capability) == 0:
        return None
    return fieller(accuracy - 0.5, np.asarray(capability) - 0.5)


def _drawn_metric(draws: _Draws, row: Mapping, name: str, baseline: str) -> np.ndarray | None:
    """A metric on one shift in each draw, float64 (resamples,); None where it is not known.

    Args:
        draws: of the accuracies.
        row: of the metrics; for the difference, with ``best_intervention``.
        name: of the metric, one of ``OVER_SHIFTS`` or the capability, which is not known where it counts as given.
        baseline: the intervention that differential elicitation is measured from.
    """
    model, source, target = (row[key] for key in ("model", "source", "target"))
    if name in ("generalization_accuracy", DIFFERENCE):
        accuracy = draws.accuracy((model, row["intervention"], source, target))
        if accuracy is None or name == "generalization_accuracy":
            return accuracy
        best = draws.accuracy((model, row["best_intervention"], source, target))
        return None if best is None else accuracy - best
    if name == CAPABILITY:
        capability = _drawn_capability(draws, row) if row[CAPABILITY] else np.float64(0)
        return capability if isinstance(capability, np.ndarray) else None
    accuracy = draws.elicited(row, row["intervention"])
    base = draws.elicited(row, baseline) if name == "differential_elicitation" else np.float64(0)
    if accuracy is None or base is None or not row["target_tuned_capability"]:
        return None
    capability = _drawn_capability(draws, row)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = (accuracy - base) / capability
    return values if np.isfinite(values).all() else None


def _drawn_capability(draws: _Draws, row: Mapping) -> np.ndarray | np.float64:
    """The capability of a shift in each draw, float64 (resamples,); as given where it is not that of known pairs."""
    if draws.clean is not None:
        return draws.capability(row)
    reference, given = row["target_reference"], np.float64(row["target_tuned_capability"])
    key = (row["model"], row["target_tuned_capability_intervention"], reference, reference)
    known = draws.scores.get(key)
    # Published capabilities may follow another evaluation than the one that is there.
    if known is None or abs(known.correct.mean() - given) > SAME:
        return given
    drawn = draws.accuracy(key)
    return given if drawn is None else drawn


class DrawnMeans:
    """Means over fixed shifts in each draw of examples: 95 % percentile intervals.

    That of a mean accuracy is wider where an accuracy has hardly any wrong pair, or right one (``mean_interval``).
    A capability counts as given where ``intervals`` takes it as given, and so do the choices of the best intervention
    on a reference and of the best one of all.

    Args:
        metrics: a row per model, intervention and shift, as in ``tables.generalization_metrics.TABLE``.
        scores: how right every pair was ranked.
        seed: of the draws; see ``intervals``, whose first draws these are.
        baseline: the intervention that differential elicitation is measured from.
        resamples: number of draws.
        clean: chose and measured the capabilities, where the protocol is ``corrected``.
    """

    def __init__(
        self,
        metrics: pl.DataFrame,
        scores: Mapping[Key, Scored],
        seed: int = 0,
        baseline: str = BASELINE,
        resamples: int = MEAN_RESAMPLES,
        clean: CleanCapabilities | None = None,
    ) -> None:
        self._baseline = baseline
        keys = sorted(set(_keys(metrics, baseline)) & scores.keys(), key=lambda key: (key[3], key))
        self._draws = _Draws(scores, seed, resamples, kept=None, clean=clean)
        for key in keys:  # by target, so that each distribution is drawn once
            self._draws.accuracy(key)

    def interval(self, shifts: pl.DataFrame, name: str) -> tuple[float, float] | None:
        """Interval of the mean of a metric over rows of the metrics; None where what a shift is made of is not known.

        Args:
            shifts: rows of the metrics; one that stands twice counts twice. For the difference to the best
                intervention, with its name in ``best_intervention``.
            name: of the metric; those of ``OVER_SHIFTS`` and the capability have an interval.
        """
        if name not in (*OVER_SHIFTS, CAPABILITY) or not len(shifts):
            return None
        drawn: list[np.ndarray] = []
        for row in shifts.iter_rows(named=True):
            values = _drawn_metric(self._draws, row, name, self._baseline)
            if values is None:
                return None
            drawn.append(values)
        ends = percentiles(np.sum(drawn, axis=0) / len(shifts))
        return self._widened(ends, shifts, drawn) if name == "generalization_accuracy" else ends

    def _widened(self, ends: Interval, shifts: pl.DataFrame, drawn: Sequence[np.ndarray]) -> Interval:
        """Of a mean accuracy: where one hardly varies in the draws, the shifts' own intervals give it a width.

        Of one shift it is the shift's own.
        """
        keys = shifts.select("model", "intervention", "source", "target").rows()
        cells = [self._draws.scores[key] for key in keys]
        if len({*keys}) == 1:
            return cells[0].interval
        if not any(too_even(percentiles(values)) for values in drawn):
            return ends
        estimates = [Estimate(float(s.correct.mean()), *s.interval, d) for s, d in zip(cells, drawn, strict=True)]
        return spanned(ends, mean_interval(estimates))


def _keys(metrics: pl.DataFrame, baseline: str) -> Iterator[Key]:
    """The cells that the metrics are made of."""
    for row in metrics.iter_rows(named=True):
        model, reference = row["model"], row["target_reference"]
        yield model, row["intervention"], row["source"], row["target"]
        yield model, baseline, row["source"], row["target"]
        yield model, row["target_tuned_capability_intervention"], reference, reference


def _of_all(scored: Scored | None) -> Measured | None:
    return None if scored is None else Measured(scored, np.ones(len(scored.correct), bool))


class _Draws:
    """Accuracies over draws of examples; those of a target and a reference are kept, of 20,000 examples 0.2 GB each.

    Args:
        scores: how right every pair was ranked.
        seed: of the draws.
        resamples: number of draws.
        kept: how many cells' accuracies are remembered; None for all.
        clean: knows on which pairs elicitations and capabilities are measured; without it, on all.
    """

    def __init__(
        self,
        scores: Mapping[Key, Scored],
        seed: int,
        resamples: int,
        kept: int | None = 256,
        clean: CleanCapabilities | None = None,
    ) -> None:
        self.scores = scores
        self.clean = clean
        self._seed = seed
        self._resamples = resamples
        self._weights = lru_cache(maxsize=2)(self._drawn)
        self.accuracy = lru_cache(maxsize=kept)(self._accuracy)
        self._elicited = lru_cache(maxsize=kept)(self._of_clean_pairs)
        self._capability = lru_cache(maxsize=kept)(self._of_capability)

    def _drawn(self, distribution: str, examples: int) -> np.ndarray:
        """How often each example is drawn, uint8 (resamples, examples)."""
        return drawn_clusters(distribution, examples, self._seed, self._resamples)

    def elicited(self, row: Mapping, intervention: str) -> np.ndarray | None:
        """Accuracy on a shift's target, as it is compared with the capability, in each draw, float64 (resamples,)."""
        model, *places = (row[name] for name in ("model", "source", "target", "target_reference"))
        if self.clean is None:
            return self.accuracy((model, intervention, *places[:2]))
        return self._elicited(model, intervention, *places)

    def capability(self, row: Mapping) -> np.ndarray | np.float64:
        """The capability on a shift's reference in each draw, float64 (resamples,); as given for unknown pairs."""
        model, source, target, reference = (row[name] for name in ("model", "source", "target", "target_reference"))
        found = self._capability(model, source if target == reference else reference, reference)
        return np.float64(row["target_tuned_capability"]) if found is None else found

    def compared(self, row: Mapping, intervention: str) -> Measured | None:
        """On which pairs a shift's target is compared with the capability."""
        model, source, target, reference = (row[name] for name in ("model", "source", "target", "target_reference"))
        if self.clean is not None:
            return self.clean.measured(model, intervention, source, target, reference)
        return _of_all(self.scores.get((model, intervention, source, target)))

    def capable(self, row: Mapping) -> Measured | None:
        """On which pairs the capability on a shift's reference is measured."""
        model, source, target, reference = (row[name] for name in ("model", "source", "target", "target_reference"))
        if self.clean is not None:
            return self.clean.capability(model, source, target, reference).measured
        return _of_all(self.scores.get((model, row["target_tuned_capability_intervention"], reference, reference)))

    def _of_clean_pairs(
        self, model: str, intervention: str, source: str, target: str, reference: str
    ) -> np.ndarray | None:
        if self.clean is None:
            return None
        measured = self.clean.measured(model, intervention, source, target, reference)
        return None if measured is None else self._drawn_accuracy((model, intervention, source, target), measured)

    def _of_capability(self, model: str, source: str, reference: str) -> np.ndarray | None:
        if self.clean is None:
            return None
        found = self.clean.capability(model, source, reference, reference)
        if found.measured is None or found.intervention is None:
            return None
        return self._drawn_accuracy((model, found.intervention, reference, reference), found.measured)

    def _accuracy(self, key: Key) -> np.ndarray | None:
        """Accuracy in each draw, float64 (resamples,); None where the pairs are not known."""
        measured = _of_all(self.scores.get(key))
        return None if measured is None else self._drawn_accuracy(key, measured)

    def _drawn_accuracy(self, key: Key, measured: Measured) -> np.ndarray:
        """Accuracy on the pairs that count in each draw of the target's clusters, float64 (resamples,)."""
        scored, kept = measured.judged, measured.kept
        cluster = np.unique(scored.cluster, return_inverse=True)[1]
        weights = self._weights(key[3], int(cluster.max()) + 1)
        correct = [scored.correct] if scored.by_seed is None else [correctness(drawn) for drawn in scored.by_seed]
        counted = [*(np.bincount(cluster, one * kept) for one in correct), np.bincount(cluster, kept)]
        sums = np.stack(counted, 1).astype(np.float32)
        drawn = [weights[rows].astype(np.float32) @ sums for rows in blocks(*weights.shape)]
        totals = np.concatenate(drawn).astype(np.float64)
        accuracies = totals[:, :-1] / totals[:, -1:]
        if len(correct) == 1:
            return accuracies[:, 0]
        return (accuracies * self._seeds(key, len(correct))).mean(1)

    def _seeds(self, key: Key, seeds: int) -> np.ndarray:
        """How often each seed is drawn, int64 (resamples, seeds); the same for every target of a fit."""
        generator = np.random.default_rng(text_seed(self._seed, "seeds", *key[:3]))
        return generator.multinomial(seeds, np.full(seeds, 1 / seeds), self._resamples)
