"""How far results of a probe move with the order of sites that are equally accurate."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from genies.evaluation.evaluations import PLACE
from genies.evaluation.metrics import accuracy
from genies.evaluation.table import Rows, Table

TABLE = Table(
    "ties.csv",
    {
        **dict.fromkeys(("model", "intervention", "source", "target"), pl.String),
        "orders": pl.Int64,
        **dict.fromkeys(("accuracy", "accuracy_mean", "accuracy_sd", "accuracy_least", "accuracy_most"), pl.Float64),
    },
    optional=True,
    rows=Rows(PLACE),
)
"""Columns of ``ties.csv``: a row per cell of a probe that kept some of several equally accurate sites, not all of them.
``accuracy`` is that of the documented order; the rest are mean, standard deviation (n − 1) and range over other ones.
The protocol ``corrected`` predicts under no other orders; ``sites.csv`` says how many sites tie."""


def row(pairs: pl.DataFrame) -> dict[str, Any] | None:
    """The spread of one cell over orders of tied sites, as ``TABLE`` has it; None where there are no orders."""
    if pairs["repeated_over"][0] != "tie orders":
        return None
    accuracies = np.array([accuracy(drawn) for drawn in np.array(pairs["repeats"].to_list(), np.float64).T])
    return {
        "orders": len(accuracies),
        "accuracy": accuracy(pairs["probability"].to_numpy()),
        "accuracy_mean": float(accuracies.mean()),
        "accuracy_sd": float(accuracies.std(ddof=1)),
        "accuracy_least": float(accuracies.min()),
        "accuracy_most": float(accuracies.max()),
    }
