"""The accuracy of every cell, predicted without the target's labels from shifts that have nothing in common with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from genies.evaluation.evaluations import PLACE
from genies.evaluation.prediction import PREDICTORS, Predictions
from genies.evaluation.table import Rows, Table
from genies.evaluation.unlabelled import QUANTITIES

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

TABLE = Table(
    "predictions.csv",
    {
        **dict.fromkeys(("model", "intervention", "source", "target", "target_reference", "predictor"), pl.String),
        **dict.fromkeys(("accuracy", "predicted", "predicted_low", "predicted_high", "mean_elsewhere"), pl.Float64),
        "unrelated_shifts": pl.Int64,
        **dict.fromkeys(QUANTITIES, pl.Float64),
    },
    optional=True,
    rows=Rows((*PLACE, "predictor"), ("target_reference", "accuracy", "unrelated_shifts")),
)
"""Columns of ``predictions.csv``: a row per method and shift of which single pairs are known, and per predictor, one of
``genies.evaluation.prediction.PREDICTORS``. ``predicted`` is the accuracy foreseen without labels of the target, with
its 90 % interval; null where fewer than nine of the other shifts are unrelated, or too few of those can be predicted
from one another. Where these have k sources, fewer than nine, the interval is sure of k / (k + 1) at best.
``mean_elsewhere``, the method's mean over the unrelated shifts, and ``source_accuracy`` are the trivial predictors. The
last columns are the quantities that the prediction rests on (``genies.evaluation.unlabelled``)."""


def rows(run: Measurements) -> pl.DataFrame:
    return TABLE.frame(
        row for model, own in run.predictions.items() for name in PREDICTORS for row in _rows(model, name, own)
    )


def _rows(model: str, predictor: str, predictions: Predictions) -> list[dict[str, Any]]:
    cells, found = predictions.cells, predictions.on_all_pairs(predictor)
    rows = []
    for place, (shift, method) in enumerate(zip(found.shift.astype(int), found.method.astype(int), strict=True)):
        source, target, reference = cells.shifts[shift]
        numbers = {
            "accuracy": found.reached[place],
            "predicted": found.predicted[place],
            "predicted_low": found.low[place],
            "predicted_high": found.high[place],
            "mean_elsewhere": found.mean[place],
            **dict(zip(QUANTITIES, cells.observed.quantities[shift, method], strict=True)),
        }
        rows.append(
            {
                "model": model,
                "intervention": cells.methods[method],
                "source": source,
                "target": target,
                "target_reference": reference,
                "predictor": predictor,
                "unrelated_shifts": int((~cells.observed.related[shift]).sum()),
                **{name: None if np.isnan(value) else float(value) for name, value in numbers.items()},
            }
        )
    return rows
