"""How often an alarm that needs no target labels would have been right: "this probe does not carry over"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from genies.evaluation.prediction import Predictions
from genies.evaluation.prediction_worth import BELOW, alarm_rates, chosen, smallest_batch
from genies.evaluation.table import Rows, Table

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

TABLE = Table(
    "prediction_alarms.csv",
    {
        **dict.fromkeys(("model", "predictor"), pl.String),
        "pairs": pl.Int64,
        "below": pl.Float64,
        **dict.fromkeys(("cells", "others", "alarms"), pl.Int64),
        **dict.fromkeys(("false_alarm_rate", "miss_rate"), pl.Float64),
    },
    optional=True,
    rows=Rows(("model", "pairs", "below"), ("predictor", "cells", "others", "alarms"), blank=("pairs",)),
)
"""Columns of ``prediction_alarms.csv``: a row per model and accuracy x (``below``), of the chosen predictor, on all
pairs of each target (``pairs`` is null) and on the smallest batch that predictions work on. The alarm is raised where
the upper end of the prediction's 90 % interval is below x. ``cells`` counts those with an accuracy below x, of which
``miss_rate`` is the share without an alarm, and ``others`` the rest, of which ``false_alarm_rate`` is the share with
one. A model whose predictions do not beat both trivial predictors has no alarm, and no rows."""


def rows(run: Measurements) -> pl.DataFrame:
    errors = run["prediction_errors"]
    found = []
    for model, own in run.predictions.items():
        of_model = errors.filter(pl.col("model") == model, pl.col("intervention").is_null()).to_dicts()
        predictor = chosen(of_model)
        of_predictor = [row for row in of_model if row["predictor"] == predictor]
        if predictor and (smallest := smallest_batch(of_predictor)) is not None:
            batches = [None, *(row["pairs"] for row in of_predictor if row["pairs"] == smallest)]
            found += [row for pairs in batches for row in _rows(model, predictor, own, pairs)]
    return TABLE.frame(found)


def _rows(model: str, predictor: str, predictions: Predictions, pairs: int | None) -> list[dict[str, Any]]:
    predicted = predictions.on_all_pairs(predictor) if pairs is None else predictions.on_batches(pairs, predictor)
    named = {"model": model, "predictor": predictor, "pairs": pairs}
    return [{**named, "below": x, **alarm_rates(predicted, x)} for x in BELOW]
