"""Which differences between interventions are more than noise, and which shift carries them.

Every two interventions of a model are compared on each shift and on each set of shifts that is averaged over. The
comparisons of one shift or set form a family that is judged together (``genies.evaluation.simultaneous``): each gets an
adjusted p-value and a simultaneous interval, which agree. Over shifts the source is the unit, since shifts that share
one are not independent (CR2, ``genies.evaluation.uncertainty.clustered_mean``). On a single shift, and over the shifts
of a single source, which say nothing of other sources, it is the prompt cluster: two interventions are compared on the
same pairs, and the pairs of one example, and examples with one prompt, are not independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from genies.evaluation.averages import BLOCK, EXAMPLES, NEW_SHIFTS, Benchmarks, blocks
from genies.evaluation.differences import Difference, Place, over_examples
from genies.evaluation.evaluations import read_evaluation
from genies.evaluation.scored import Key, Scored, scored
from genies.evaluation.simultaneous import LEVEL, Estimate, judged
from genies.evaluation.table import Rows, Table
from genies.evaluation.uncertainty import cluster_influences, clustered_mean, supports_new_shifts

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

TABLE = Table(
    "comparisons.csv",
    {
        **dict.fromkeys(("model", "label", "averaged_over", "source", "target"), pl.String),
        **dict.fromkeys(("intervention", "other"), pl.String),
        "shifts": pl.Int64,
        **dict.fromkeys(
            ("difference", "standard_error", "low", "high", "p_adjusted", "degrees_of_freedom"), pl.Float64
        ),
        **dict.fromkeys(("interval_over", "verdict", "remark", "carried_by"), pl.String),
        "difference_without": pl.Float64,
    },
    rows=Rows(
        (*BLOCK, "source", "target", "intervention", "other"),
        ("shifts", "difference", "verdict"),
        blank=("label", "averaged_over", "source", "target"),
        where="target",
        own=("label", "averaged_over"),
    ),
)
"""Columns of ``comparisons.csv``: the difference of accuracy of ``intervention`` and ``other``, a row per pair of them
and shift (``source`` and ``target``), and per pair and set of shifts (``label`` and ``averaged_over``, as in the
leaderboard). ``low`` to ``high`` is the simultaneous 95 % interval for ``interval_over``: "new shifts", or "examples".
``verdict`` is one of ``VERDICTS``, and ``remark`` says why a difference is not tested. ``carried_by`` names the shift
without which a mean would change most, and ``difference_without`` is the mean then."""
HIGHER, LOWER, NOT_DISTINGUISHABLE, NOT_TESTED = "higher", "lower", "not distinguishable", "not tested"
VERDICTS = (HIGHER, LOWER, NOT_DISTINGUISHABLE, NOT_TESTED)
"""What a comparison says of ``intervention``: its adjusted p-value is below 0.05, or not, or it has none."""


def read_scores(evaluations: Path, cells: pl.DataFrame) -> dict[Key, Scored]:
    """How right every pair was ranked, in the evaluations behind the cells; in those of them that are still there.

    Args:
        evaluations: folder with ``<model>/<intervention>/<source>.parquet``.
        cells: columns as in ``genies.evaluation.tables.cells.TABLE``.
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


def influence(values: ArrayLike, weights: ArrayLike | None = None) -> tuple[int, float]:
    """The value without which the (weighted) mean would change most: its position, and the mean of the others."""
    x = np.asarray(values, np.float64)
    w = np.ones_like(x) if weights is None else np.asarray(weights, np.float64)
    without = (np.sum(w * x) - w * x) / (np.sum(w) - w)
    place = int(np.argmax(np.abs(without - np.average(x, weights=w))))
    return place, float(without[place])


def rows(run: Measurements) -> pl.DataFrame:
    return compare(run.metrics, run.scores, run.benchmarks)


def compare(metrics: pl.DataFrame, scores: Mapping[Key, Scored], benchmarks: Benchmarks | None = None) -> pl.DataFrame:
    """Compare every two interventions of every model, columns as in ``TABLE``.

    Args:
        metrics: a row per model, intervention and shift, as in ``tables.generalization_metrics.TABLE``.
        scores: how right every pair was ranked. Where this is not known, single shifts are not compared.
        benchmarks: sets of shifts to compare over as well.
    """
    return pl.concat([compare_shifts(metrics, scores), compare_means(metrics, scores, benchmarks)])


def compare_shifts(metrics: pl.DataFrame, scores: Mapping[Key, Scored]) -> pl.DataFrame:
    """The rows of ``compare`` about single shifts."""
    rows: list[dict[str, Any]] = []
    for (model, source, target), own in metrics.group_by("model", "source", "target", maintain_order=True):
        names = {"model": str(model), "source": source, "target": target}
        rows += _family(names, own, weighted=False, scores=scores)
    return TABLE.frame(rows)


def compare_means(
    metrics: pl.DataFrame, scores: Mapping[Key, Scored], benchmarks: Benchmarks | None = None
) -> pl.DataFrame:
    """The rows of ``compare`` about sets of shifts."""
    rows: list[dict[str, Any]] = []
    for names, weighted, own in blocks(metrics, benchmarks):
        rows += _family(names, own, weighted, scores)
    return TABLE.frame(rows)


def _family(
    names: Mapping[str, Any], metrics: pl.DataFrame, weighted: bool, scores: Mapping[Key, Scored]
) -> list[dict[str, Any]]:
    """A row for every two interventions on these shifts, judged together."""
    pairs = _pairs(metrics, weighted)
    over, estimates = NEW_SHIFTS, _over_sources(pairs)
    if all(estimate is None for estimate in estimates):
        over, estimates = EXAMPLES, over_examples(names["model"], pairs, scores)
    known = iter(judged([one for one in estimates if one is not None]))
    rows = []
    for pair, estimate in zip(pairs, estimates, strict=True):
        row = {**names, "intervention": pair.names[0], "other": pair.names[1], "shifts": len(pair.places)}
        row |= {"difference": pair.mean, "verdict": NOT_TESTED, "remark": _why_untested(pair, over)}
        if estimate is not None:
            found = next(known)
            row |= vars(found) | {"interval_over": over, "verdict": verdict(pair.mean, found.p_adjusted)}
            row |= {"degrees_of_freedom": estimate.degrees_of_freedom, "remark": None}
        if len(pair.places) > 1:
            place, without = influence(pair.of_shifts, pair.entries)
            row |= {"carried_by": " → ".join(pair.places[place]), "difference_without": without}
        rows.append(row)
    return rows


def _pairs(metrics: pl.DataFrame, weighted: bool) -> list[Difference]:
    columns = metrics.select("intervention", "source", "target", "generalization_accuracy", "published_entries")
    accuracy: dict[str, dict[Place, tuple[float, int]]] = {}
    for name, source, target, value, entries in columns.iter_rows():
        accuracy.setdefault(name, {})[source, target] = (value, entries if weighted else 1)
    pairs = []
    for a, b in combinations(accuracy, 2):
        places = [place for place in accuracy[a] if place in accuracy[b]]
        if places:
            differences = [accuracy[a][place][0] - accuracy[b][place][0] for place in places]
            entries = [accuracy[a][place][1] for place in places]
            pairs.append(Difference((a, b), places, np.array(differences), np.array(entries)))
    return pairs


def verdict(difference: float, p: float) -> str:
    """What an adjusted p-value says of a difference."""
    if p >= LEVEL:
        return NOT_DISTINGUISHABLE
    return HIGHER if difference > 0 else LOWER


def _why_untested(pair: Difference, over: str) -> str:
    sources = len({source for source, _ in pair.places})
    few = f"the shifts of {'one source' if sources == 1 else f'{sources} sources'} support no claim about new shifts"
    if over == NEW_SHIFTS:
        return few
    unknown = "how single pairs were ranked is not known"
    return f"{few}, and {unknown}" if len(pair.places) > 1 else unknown


def _over_sources(pairs: Sequence[Difference]) -> list[Estimate | None]:
    """Means over shifts that other sources would change; None where there are too few to tell."""
    sources = sorted({source for pair in pairs for source, _ in pair.places})
    estimates: list[Estimate | None] = []
    for pair in pairs:
        values = np.repeat(pair.of_shifts, pair.entries)
        of_source = np.repeat([source for source, _ in pair.places], pair.entries)
        found = clustered_mean(values, of_source)
        if found.degrees_of_freedom is None or not supports_new_shifts(found.degrees_of_freedom):
            estimates.append(None)
            continue
        influences = np.zeros(len(sources))
        names, moved = cluster_influences(values, of_source)
        influences[np.searchsorted(sources, names)] = moved
        estimates.append(Estimate(found.mean, influences, found.degrees_of_freedom, found.clusters))
    return estimates
