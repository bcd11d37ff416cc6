"""The leaderboard: averages over shifts of every intervention."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import polars as pl

from genies.evaluation.averages import (
    AVERAGED,
    BLOCK,
    DIFFERENCE,
    EXAMPLES,
    Benchmarks,
    averaged,
    blocks,
    interval_columns,
    new_shifts,
    ranking,
    within_range,
)
from genies.evaluation.classes import UNKNOWN, Classes
from genies.evaluation.metrics import CHANCE
from genies.evaluation.table import Rows, Table
from genies.evaluation.tables.comparisons import HIGHER, LOWER, NOT_TESTED

if TYPE_CHECKING:
    from genies.evaluation.bootstrap import DrawnMeans
    from genies.evaluation.measurements import Measurements

OVER_EXAMPLES = ("generalization_accuracy", DIFFERENCE)
"""Means whose intervals over examples the leaderboard has, too."""

TABLE = Table(
    "leaderboard.csv",
    {
        **dict.fromkeys(("model", "label", "averaged_over", "intervention"), pl.String),
        **dict.fromkeys(("shifts", "entries", "shifts_at_chance"), pl.Int64),
        "may_be_best": pl.Boolean,
        "degrees_of_freedom": pl.Float64,
        **{f"{name}{end}": pl.Float64 for name in (*AVERAGED, DIFFERENCE) for end in ("", "_low", "_high")},
        **{f"{name}_examples{end}": pl.Float64 for name in OVER_EXAMPLES for end in ("_low", "_high")},
        "saw": pl.String,
        "rank": pl.Int64,
    },
    rows=Rows((*BLOCK, "intervention"), ("shifts", "entries", "generalization_accuracy")),
)
"""Columns of ``leaderboard.csv``. The interval ``X_low`` to ``X_high`` is for new shifts, that of accuracy with these
degrees of freedom; ``X_examples_low`` to ``X_examples_high`` is for the same shifts with new examples.
``shifts_at_chance`` counts shifts whose accuracy's interval contains 0.5; null where one has no interval. The interval
of the difference to the best is that of ``comparisons.csv``, simultaneous for all comparisons of the block: for new
shifts, or where these cannot support a claim about new ones, for new examples; where the two were not tested, there is
none. ``saw`` is the class of the intervention (``genies.evaluation.classes``), and what is said of the best holds
within it: ``rank``, differences, and ``may_be_best``, which is false where any other intervention of the class is shown
to be better there, and null where it has no other."""
ROUNDING = 1e-12
"""Means that differ by less have one rank."""


def rows(run: Measurements) -> pl.DataFrame:
    return leaderboard(run.metrics, run.benchmarks, run.examples, run["comparisons"], run.classes)


def leaderboard(
    metrics: pl.DataFrame,
    benchmarks: Benchmarks | None = None,
    examples: DrawnMeans | None = None,
    comparisons: pl.DataFrame | None = None,
    classes: Classes = MappingProxyType({}),
) -> pl.DataFrame:
    """Averages over shifts of every (model, intervention), best accuracy first, columns as in ``TABLE``.

    ``difference_to_best`` is the mean difference of accuracy to the best intervention of the block and class, paired
    by shift (null for the best one itself). A metric that is null for one shift has no average, and an average over the
    shifts of one source has no interval for new shifts.

    Args:
        metrics: columns as in ``tables.generalization_metrics.TABLE``.
        benchmarks: sets of shifts that have a block of their own; see ``blocks``.
        examples: knows what other examples would change; without it, intervals over examples are null.
        comparisons: of these interventions, columns as in ``genies.evaluation.tables.comparisons.TABLE``; without it,
            differences to the best have no intervals, and nothing is said of ``may_be_best``.
        classes: of the interventions.
    """
    compared = _Compared(comparisons, classes)
    rows = []
    for names, weighted, shifts in blocks(metrics, benchmarks):
        ranked = ranking(shifts, weighted, classes)
        means = {name: float(own.select(pl.mean("generalization_accuracy")).item()) for name, own in ranked}
        for intervention, own in ranked:
            row: dict[str, Any] = {**names, "intervention": intervention, **_counts(own)}
            row["may_be_best"] = compared.may_be_best(tuple(names.values()), intervention)
            for name, used in averaged(own):
                mean = new_shifts(used, name)
                row |= {name: mean.mean, **interval_columns(name, within_range(name, mean.interval()))}
                if name == "generalization_accuracy":
                    row["degrees_of_freedom"] = mean.degrees_of_freedom
                if name in OVER_EXAMPLES and examples:
                    row |= interval_columns(f"{name}_examples", examples.interval(used, name))
            best, saw = own["best_intervention"][0], classes.get(intervention, UNKNOWN)
            if intervention != best:
                row |= compared.intervals(tuple(names.values()), intervention, best)
            others = [mean for name, mean in means.items() if classes.get(name, UNKNOWN) == saw]
            row |= {"saw": saw, "rank": 1 + sum(mean > means[intervention] + ROUNDING for mean in others)}
            rows.append(row)
    return TABLE.frame(rows)


class _Compared:
    """Comparisons within classes by what is averaged over."""

    def __init__(self, comparisons: pl.DataFrame | None, classes: Classes) -> None:
        self._ends: dict[tuple[str, ...], tuple[str | None, tuple[float, float] | None]] = {}
        self._untested: set[tuple[str, ...]] = set()
        self._worse: dict[tuple[str, ...], bool] = {}
        if comparisons is None:
            return
        for row in comparisons.filter(pl.col("averaged_over").is_not_null()).iter_rows(named=True):
            block = tuple(row[name] for name in BLOCK)
            low, high, verdict = row["low"], row["high"], row["verdict"]
            both = row["intervention"], row["other"]
            if classes.get(both[0], UNKNOWN) != classes.get(both[1], UNKNOWN):
                continue
            over = row["interval_over"]
            if verdict == NOT_TESTED:
                self._untested |= {(*block, *both), (*block, *reversed(both))}
            self._ends[*block, *both] = over, None if low is None else (low, high)
            self._ends[*block, *reversed(both)] = over, None if low is None else (-high, -low)
            for name, worse in zip(both, (LOWER, HIGHER), strict=True):
                self._worse[*block, name] = self._worse.get((*block, name), False) or verdict == worse

    def intervals(self, block: tuple[str, ...], intervention: str, best: str) -> dict[str, float | None]:
        """Columns of the simultaneous interval of the difference to the best intervention of a block.

        Where it is for new examples, there is none for new shifts, and where the two were not tested, there is none.
        """
        neither = interval_columns(DIFFERENCE, None) | interval_columns(f"{DIFFERENCE}_examples", None)
        if (*block, intervention, best) in self._untested:
            return neither
        over, ends = self._ends.get((*block, intervention, best), (None, None))
        if over != EXAMPLES:
            return interval_columns(DIFFERENCE, ends)
        return neither | interval_columns(f"{DIFFERENCE}_examples", ends)

    def may_be_best(self, block: tuple[str, ...], intervention: str) -> bool | None:
        """Whether no other of the block and class is shown to be better; None where nothing was compared."""
        worse = self._worse.get((*block, intervention))
        return None if worse is None else not worse


def _counts(own: pl.DataFrame) -> dict[str, int | None]:
    """How many shifts and entries there are, and how many shifts have an accuracy that chance could give."""
    distinct = own.unique(["source", "target"])
    low, high = (distinct[f"generalization_accuracy{end}"] for end in ("_low", "_high"))
    at_chance = None if low.null_count() else int(((low <= CHANCE) & (high >= CHANCE)).sum())
    return {"shifts": len(distinct), "entries": len(own), "shifts_at_chance": at_chance}
