"""How alike two methods or two models generalize: correlation of accuracies over shifts."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy import stats

from genies.evaluation.metrics import BASELINE
from genies.evaluation.table import Table

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

FEWEST = 4
"""Shifts that an interval of a correlation needs."""
TABLE = Table(
    "correlations.csv",
    {
        **dict.fromkeys(("of", "intervention", "with"), pl.String),
        "shifts": pl.Int64,
        **dict.fromkeys(("r", "low", "high"), pl.Float64),
    },
)
"""Columns of ``correlations.csv``: Pearson's r with its 95 % interval (Fisher's z), ``of`` a model and one of its
interventions ``with`` the baseline; or of one intervention between two models."""


def rows(run: Measurements) -> pl.DataFrame:
    return correlations(run.metrics)


def correlations(metrics: pl.DataFrame, baseline: str = BASELINE) -> pl.DataFrame:
    """Correlations over shifts, columns as in ``TABLE``: with the baseline in each model, then between models.

    What does not vary, and what fewer than four shifts show, has none and is left out.

    Args:
        metrics: a row per model, intervention and shift, as in ``tables.generalization_metrics.TABLE``.
        baseline: intervention that each is compared with.
    """
    rows: list[dict[str, Any]] = []
    accuracy = {
        (str(model), str(intervention)): own.select("source", "target", "generalization_accuracy")
        for (model, intervention), own in metrics.group_by("model", "intervention", maintain_order=True)
    }
    for (model, intervention), own in accuracy.items():
        base = accuracy.get((model, baseline))
        if base is not None and intervention != baseline:
            rows += _row(own, base, {"of": model, "intervention": intervention, "with": baseline})
    models = metrics["model"].unique(maintain_order=True).to_list()
    for intervention in metrics["intervention"].unique(maintain_order=True):
        for a, b in combinations(models, 2):
            if (a, intervention) in accuracy and (b, intervention) in accuracy:
                names = {"of": a, "intervention": intervention, "with": b}
                rows += _row(accuracy[a, intervention], accuracy[b, intervention], names)
    return TABLE.frame(rows)


def _row(one: pl.DataFrame, other: pl.DataFrame, names: dict[str, str]) -> list[dict[str, Any]]:
    both = one.join(other, on=["source", "target"])
    x, y = (both[name].to_numpy() for name in ("generalization_accuracy", "generalization_accuracy_right"))
    if len(both) < FEWEST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return []
    found = stats.pearsonr(x, y)
    low, high = found.confidence_interval(0.95)
    return [{**names, "shifts": len(both), "r": float(found.statistic), "low": float(low), "high": float(high)}]
