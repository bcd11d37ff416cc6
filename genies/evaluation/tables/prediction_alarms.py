"""How often an alarm that needs no target labels would have been right: "this probe does not carry over"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from genies.evaluation.prediction import BELOW, Predictions, alarm_rates, smallest_batch
from genies.evaluation.table import Table

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

TABLE = Table(
    "prediction_alarms.csv",
    {
        "model": pl.String,
        "pairs": pl.Int64,
        "below": pl.Float64,
        **dict.fromkeys(("cells", "others", "alarms"), pl.Int64),
        **dict.fromkeys(("false_alarm_rate", "miss_rate"), pl.Float64),
    },
    optional=True,
)
"""Columns of ``prediction_alarms.csv``: a row per model and accuracy x (``below``), on all pairs of each target
(``pairs`` is null) and on the smallest batch that predictions work on. The alarm is raised where the upper end of the
prediction's 90 % interval is below x. ``cells`` counts those with an accuracy below x, of which ``miss_rate`` is the
share without an alarm, and ``others`` the rest, of which ``false_alarm_rate`` is the share with one. A model whose
predictions do not beat both trivial predictors has no alarm, and no rows."""


def rows(run: Measurements) -> pl.DataFrame:
    errors = run["prediction_errors"]
    found = []
    for model, own in run.predictions.items():
        of_model = errors.filter(pl.col("model") == model, pl.col("intervention").is_null()).to_dicts()
        if (smallest := smallest_batch(of_model)) is not None:
            found += _rows(model, own, None)
            if any(row["pairs"] == smallest for row in of_model):
                found += _rows(model, own, smallest)
    return TABLE.frame(found)


def _rows(model: str, predictions: Predictions, pairs: int | None) -> list[dict[str, Any]]:
    predicted = predictions.on_all_pairs if pairs is None else predictions.on_batches(pairs)
    return [{"model": model, "pairs": pairs, "below": x, **alarm_rates(predicted, x)} for x in BELOW]
