"""Which differences between interventions are more than noise, and which shift carries them.

Within a shift two interventions are compared on the same pairs; the pairs of one example, and examples with one prompt,
are not independent, so their cluster is the unit. Across shifts the source is the unit, since shifts that share one are
not independent either. Both tests are Student's t on paired differences: within a shift with the linearised variance of
a ratio of sums over clusters (Cochran, Sampling Techniques, 1977, section 6), across shifts with the CR2 standard error
and its degrees of freedom (``genies.evaluation.uncertainty.clustered_mean``). The p-values are corrected by Holm's
method (Scandinavian Journal of Statistics 6, 1979) over all pairs of interventions of one model, for each shift and
each mean over shifts. Where the differences are all the same, t has no variance to divide by: p is then that of the
exact test that flips signs (Fisher, The design of experiments, 1935, section 21), 2^(1 − n) for n units that all go one
way, and there is no interval. Over the shifts of one source there is neither interval nor p.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from scipy import stats

from genies.evaluation.evaluations import read_evaluation
from genies.evaluation.leaderboard import Benchmarks, within
from genies.evaluation.scored import Key, Scored, scored
from genies.evaluation.table import Table
from genies.evaluation.uncertainty import clustered_mean, clustered_variance

COMPARISONS = Table(
    "comparisons.csv",
    {
        **dict.fromkeys(("model", "intervention", "other", "over", "source", "target"), pl.String),
        "shifts": pl.Int64,
        **dict.fromkeys(("difference", "low", "high", "p", "p_corrected"), pl.Float64),
        "carried_by": pl.String,
        "difference_without": pl.Float64,
        "degrees_of_freedom": pl.Float64,
    },
)
"""Columns of ``comparisons.csv``: the difference of accuracy of ``intervention`` and ``other``, a row per pair of them
and shift (``over`` is "shift"), and per pair and mean over shifts (``over`` is "all", "published", weighted as the
published list has them, a label, or a benchmark). ``carried_by`` names the shift without which a mean would change
most, and ``difference_without`` is the mean then. ``degrees_of_freedom`` are those of the t test."""
ROUNDING = 1e-12
"""Differences of accuracies that vary by less than this are all the same."""


def read_scores(evaluations: Path, cells: pl.DataFrame) -> dict[Key, Scored]:
    """How right every pair was ranked, in the evaluations behind the cells; in those of them that are still there.

    Args:
        evaluations: folder with ``<model>/<intervention>/<source>.parquet``.
        cells: columns as in ``genies.evaluation.cells.CELLS``.
    """
    found: dict[Key, Scored] = {}
    for model, intervention, source in (
        cells.select("model", "intervention", "source").unique(maintain_order=True).iter_rows()
    ):
        path = evaluations / model / intervention / f"{source}.parquet"
        if not path.is_file():
            continue
        for (target,), rows in read_evaluation(path).group_by("target", maintain_order=True):
            if rows["probability"].null_count() or rows["stated_accuracy"][0] is not None:
                continue  # an accuracy by a rule of its own says nothing of single pairs
            found[model, intervention, source, str(target)] = scored(rows)
    return found


@dataclass(frozen=True)
class Paired:
    """A mean difference with its 95 % interval and two-sided p-value.

    Interval, p-value and degrees of freedom are None for one unit. Where all of n units have the same difference, the
    interval is None and the p-value 2^(1 − n), or 1 where that difference is 0.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None
    degrees_of_freedom: float | None = None


def within_shift(difference: ArrayLike, clusters: ArrayLike, seed_variance: float = 0.0) -> Paired:
    """Compare two interventions on the pairs of one target.

    Args:
        difference: of how right each pair is ranked, float (n,).
        clusters: the cluster that each pair belongs to, int (n,).
        seed_variance: what the seeds of both add to the variance of the mean difference.
    """
    values = np.asarray(difference, np.float64)
    cluster = np.unique(np.asarray(clusters), return_inverse=True)[1]
    k, mean = cluster.max() + 1, float(values.mean())
    if k < 2:
        return Paired(mean, None, None, None)
    variance = clustered_variance(values, cluster) + seed_variance
    return _student(mean, float(np.sqrt(variance)), float(k - 1), int(k))


def across_shifts(differences: ArrayLike, sources: ArrayLike) -> Paired:
    """Compare two interventions by their mean difference over shifts.

    Args:
        differences: of the two accuracies on each shift, float (n,); a shift that counts twice is there twice.
        sources: of the shifts, (n,).
    """
    found = clustered_mean(differences, sources)
    if found.standard_error is None or found.degrees_of_freedom is None:
        return Paired(found.mean, None, None, None)
    return _student(found.mean, found.standard_error, found.degrees_of_freedom, found.clusters)


def _student(mean: float, error: float, freedom: float, units: int) -> Paired:
    if error < ROUNDING:
        return Paired(mean, None, None, 1.0 if abs(mean) < ROUNDING else 2.0 ** (1 - units), freedom)
    margin = float(stats.t.ppf(0.975, freedom)) * error
    return Paired(mean, mean - margin, mean + margin, float(2 * stats.t.sf(abs(mean) / error, freedom)), freedom)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Holm's corrected p-values; None stays None and does not count."""
    known = sorted((value, place) for place, value in enumerate(p) if value is not None)
    corrected: list[float | None] = [None] * len(p)
    highest = 0.0
    for rank, (value, place) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * value))
        corrected[place] = highest
    return corrected


def influence(values: ArrayLike, weights: ArrayLike | None = None) -> tuple[int, float]:
    """The value without which the (weighted) mean would change most: its position, and the mean of the others."""
    x = np.asarray(values, np.float64)
    w = np.ones_like(x) if weights is None else np.asarray(weights, np.float64)
    without = (np.sum(w * x) - w * x) / (np.sum(w) - w)
    place = int(np.argmax(np.abs(without - np.average(x, weights=w))))
    return place, float(without[place])


def compare(metrics: pl.DataFrame, scores: Mapping[Key, Scored], benchmarks: Benchmarks | None = None) -> pl.DataFrame:
    """Compare every two interventions of every model, columns as in ``COMPARISONS``.

    Args:
        metrics: a row per model, intervention and shift, as in ``genies.evaluation.generalization.METRICS``.
        scores: how right every pair was ranked; interventions of which this is not known are compared across shifts
            alone.
        benchmarks: sets of shifts to compare over as well.
    """
    rows: list[dict[str, Any]] = []
    for (model,), of_model in metrics.group_by("model", maintain_order=True):
        for (source, target), of_shift in of_model.group_by("source", "target", maintain_order=True):
            rows += _corrected(_of_shift(str(model), str(source), str(target), of_shift, scores))
        labels = of_model["label"].unique(maintain_order=True).to_list()
        published = of_model.filter(pl.col("published_entries").is_not_null())
        sets = {"all": of_model, "published": published}
        sets |= {str(label): of_model.filter(pl.col("label") == label) for label in labels}
        sets |= {name: within(of_model, shifts) for name, shifts in (benchmarks or {}).items()}
        for over, chosen in sets.items():
            rows += _corrected(_over_shifts(str(model), over, chosen))
    return COMPARISONS.frame(rows)


def _of_shift(
    model: str, source: str, target: str, metrics: pl.DataFrame, scores: Mapping[Key, Scored]
) -> Iterable[dict[str, Any]]:
    for a, b in combinations(metrics["intervention"], 2):
        first, second = scores.get((model, a, source, target)), scores.get((model, b, source, target))
        if first is None or second is None or not np.array_equal(first.cluster, second.cluster):
            continue
        seed_variance = first.seed_variance + second.seed_variance
        yield {
            **{"model": model, "intervention": a, "other": b, "over": "shift", "source": source, "target": target},
            **vars(within_shift(first.correct - second.correct, first.cluster, seed_variance)),
            "shifts": 1,
        }


def _over_shifts(model: str, over: str, metrics: pl.DataFrame) -> Iterable[dict[str, Any]]:
    for a, b in combinations(metrics["intervention"].unique(maintain_order=True), 2):
        both = metrics.filter(intervention=a).join(metrics.filter(intervention=b), on=["source", "target"])
        if not len(both):
            continue
        values = (both["generalization_accuracy"] - both["generalization_accuracy_right"]).to_numpy()
        entries = both["published_entries"].to_numpy() if over == "published" else np.ones(len(both), np.int64)
        row = {"model": model, "intervention": a, "other": b, "over": over, "shifts": len(both)}
        row |= vars(across_shifts(np.repeat(values, entries), np.repeat(both["source"].to_numpy(), entries)))
        if len(both) > 1:
            place, without = influence(values, entries)
            row |= {"carried_by": f"{both['source'][place]} → {both['target'][place]}", "difference_without": without}
        yield row


def _corrected(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    listed = list(rows)
    corrected = holm([row["p"] for row in listed])
    return [{**row, "p_corrected": value} for row, value in zip(listed, corrected, strict=True)]
