"""How good predictions without target labels are, next to two trivial predictors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from genies.evaluation.prediction import BATCHES, BEATS_BOTH, Predicted, Predictions, errors
from genies.evaluation.table import Table

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

LEADS = ("lead_over_mean", "lead_over_source")
TABLE = Table(
    "prediction_errors.csv",
    {
        **dict.fromkeys(("model", "intervention"), pl.String),
        **dict.fromkeys(("pairs", "median_pairs", "shifts", "cells"), pl.Int64),
        **dict.fromkeys(("error", "error_of_mean", "error_of_source"), pl.Float64),
        **{f"{lead}{end}": pl.Float64 for lead in LEADS for end in ("", "_low", "_high")},
        **dict.fromkeys(("degrees_of_freedom", "coverage", "width"), pl.Float64),
        "verdict": pl.String,
    },
    optional=True,
)
"""Columns of ``prediction_errors.csv``: a row per model over all methods (``intervention`` is null), one per method,
and one per size of a batch of target pairs (``pairs``; null for all of them, ``median_pairs`` in the median target).
Over the ``cells`` that have an interval: mean absolute errors of the predictions, of the method's mean on unrelated
shifts, and of its accuracy on the source; by how much the errors of those two are larger, with 95 % intervals for new
shifts and targets; the share of cells that lie within their 90 % interval, and its mean width. ``verdict`` is one of
``genies.evaluation.prediction.VERDICTS``. Batches are tried where both trivial predictors are beaten on all pairs."""


def rows(run: Measurements) -> pl.DataFrame:
    return TABLE.frame(row for model, own in run.predictions.items() for row in _rows(model, own))


def _rows(model: str, predictions: Predictions) -> list[dict[str, Any]]:
    cells, found = predictions.cells, predictions.on_all_pairs
    if not len(found.reached):
        return []
    rows = [{"model": model, "median_pairs": _median(predictions, found), **errors(found, cells.shifts)}]
    for number, method in enumerate(cells.methods):
        own = found.where(found.method == number)
        if len(own.reached):
            named = {"model": model, "intervention": method, "median_pairs": _median(predictions, own)}
            rows.append({**named, **errors(own, cells.shifts)})
    if rows[0]["verdict"] == BEATS_BOTH:
        for pairs in BATCHES:
            if len((batch := predictions.on_batches(pairs)).reached):
                rows.append({"model": model, "pairs": pairs, "median_pairs": pairs, **errors(batch, cells.shifts)})
    return rows


def _median(predictions: Predictions, found: Predicted) -> int:
    """Pairs of the median target of the cells."""
    panels = predictions.cells.panels
    return int(np.median([panels[shift][1].pairs for shift in np.unique(found.shift.astype(int))]))
