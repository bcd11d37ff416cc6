"""Reliability diagrams: how often an intervention is right where it is so and so sure (DeGroot and Fienberg, 1983)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from genies.evaluation.scored import Key, Scored
from genies.evaluation.table import Rows, Table
from genies.evaluation.uncertainty import accuracy_interval

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

BINS = 10
TABLE = Table(
    "reliability.csv",
    {
        **dict.fromkeys(("model", "intervention"), pl.String),
        "bin": pl.Int64,
        **dict.fromkeys(("confidence", "accuracy", "low", "high"), pl.Float64),
        "pairs": pl.Int64,
    },
    rows=Rows(("model", "intervention", "bin"), ("confidence", "accuracy", "pairs")),
)
"""Columns of ``reliability.csv``: a row per intervention and bin of confidence max(p, 1 − p) that holds a pair: mean
confidence and accuracy of its pairs, over all shifts, with a 95 % interval over examples, each of which is one in all
shifts onto its distribution. Where there are several seeds, a pair counts with its means over them."""


def rows(run: Measurements) -> pl.DataFrame:
    return reliability(run.metrics, run.scores)


def reliability(metrics: pl.DataFrame, scores: Mapping[Key, Scored]) -> pl.DataFrame:
    """Accuracy by confidence, over the test pairs of all shifts; columns as in ``TABLE``.

    Args:
        metrics: a row per model, intervention and shift, as in ``tables.generalization_metrics.TABLE``.
        scores: what every intervention says of every pair; those of which it is not known have no rows.
    """
    rows: list[dict[str, Any]] = []
    for (model, intervention), own in metrics.group_by("model", "intervention", maintain_order=True):
        keys = [(str(model), str(intervention), *place) for place in own.select("source", "target").iter_rows()]
        known = [(number, scores[key]) for number, key in enumerate(keys) if key in scores]
        if not known:
            continue
        probability = np.concatenate([scored.probability for _, scored in known])
        correct = np.concatenate([scored.correct for _, scored in known])
        # Shifts onto one target share its clusters.
        targets = sorted({target for *_, target in keys})
        cluster = np.concatenate([
            scored.cluster * len(targets) + targets.index(keys[number][3]) for number, scored in known
        ])  # fmt: skip
        confidence = np.maximum(probability, 1 - probability)
        bin_of = np.minimum(((confidence - 0.5) * 2 * BINS).astype(np.int64), BINS - 1)
        for number in np.unique(bin_of):
            inside = bin_of == number
            low, high = accuracy_interval(correct[inside], cluster[inside])
            rows.append(
                {
                    "model": model,
                    "intervention": intervention,
                    "bin": int(number),
                    "confidence": float(confidence[inside].mean()),
                    "accuracy": float(correct[inside].mean()),
                    "low": low,
                    "high": high,
                    "pairs": int(inside.sum()),
                }
            )
    return TABLE.frame(rows)
