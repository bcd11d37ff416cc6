"""How good predictions without target labels are, next to two trivial predictors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from genies.evaluation.prediction import BATCHES, PREDICTORS, Cells, Predicted, Predictions
from genies.evaluation.prediction_worth import BEATS_BOTH, errors
from genies.evaluation.table import Rows, Table

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

LEADS = ("lead_over_mean", "lead_over_source")
TABLE = Table(
    "prediction_errors.csv",
    {
        **dict.fromkeys(("model", "predictor", "intervention"), pl.String),
        **dict.fromkeys(("pairs", "median_pairs", "shifts", "cells"), pl.Int64),
        **dict.fromkeys(("error", "error_of_mean", "error_of_source"), pl.Float64),
        **{f"{lead}{end}": pl.Float64 for lead in LEADS for end in ("", "_low", "_high")},
        **dict.fromkeys(("degrees_of_freedom", "coverage", "width"), pl.Float64),
        "verdict": pl.String,
        "coverage_of_sources": pl.Float64,
        "fewest_sources": pl.Int64,
    },
    optional=True,
    rows=Rows(
        ("model", "predictor", "intervention", "pairs"), ("shifts", "cells", "verdict"), blank=("intervention", "pairs")
    ),
)
"""Columns of ``prediction_errors.csv``: of each model and predictor a row over all methods (``intervention`` is null),
one per method, and one per size of a batch of target pairs (``pairs``; null for all of them, ``median_pairs`` in the
median target). Over the ``cells`` that have an interval: mean absolute errors of the predictions, of the method's mean
on unrelated shifts, and of its accuracy on the source; by how much the errors of those two are larger, with intervals
for new shifts and targets that hold for all predictors together in 95 of 100 cases; the share of cells that lie within
their 90 % interval (``coverage``), the mean of that share over sources, since cells of one source go together
(``coverage_of_sources``), and the mean width. An interval that rests on k sources, fewer than nine, is sure of
k / (k + 1) at best; ``fewest_sources`` is the smallest such number. ``verdict`` is one of
``genies.evaluation.prediction_worth.VERDICTS``. Batches are tried where both trivial predictors are beaten on all
pairs."""


def rows(run: Measurements) -> pl.DataFrame:
    return TABLE.frame(
        {"model": model, "predictor": name, **row}
        for model, own in run.predictions.items()
        for name in PREDICTORS
        for row in _rows(name, own)
    )


def _rows(predictor: str, predictions: Predictions) -> list[dict[str, Any]]:
    cells, found = predictions.cells, predictions.on_all_pairs(predictor)
    if not len(found.reached):
        return []
    sources = predictions.sources(predictor)
    rows = [{"median_pairs": _median(predictions, found), **_row(cells, found, sources)}]
    for number, method in enumerate(cells.methods):
        own = found.where(found.method == number)
        if len(own.reached):
            named = {"intervention": method, "median_pairs": _median(predictions, own)}
            rows.append({**named, **_row(cells, own, sources)})
    if rows[0]["verdict"] == BEATS_BOTH:
        for pairs in BATCHES:
            if len((batch := predictions.on_batches(pairs, predictor)).reached):
                rows.append({"pairs": pairs, "median_pairs": pairs, **_row(cells, batch, sources)})
    return rows


def _row(cells: Cells, found: Predicted, sources: np.ndarray) -> dict[str, Any]:
    known = found.where(~np.isnan(found.low))
    rest_on = sources[known.shift.astype(int), known.method.astype(int)]
    return {**errors(found, cells.shifts, cells.names), "fewest_sources": int(rest_on.min()) if len(rest_on) else None}


def _median(predictions: Predictions, found: Predicted) -> int:
    """Pairs of the median target of the cells."""
    panels = predictions.cells.panels
    return int(np.median([panels[shift][1].pairs for shift in np.unique(found.shift.astype(int))]))
