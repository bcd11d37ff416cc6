"""How far results of an intervention differ between the sets that it has drawn; each pair is judged by one of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from genies.evaluation.evaluations import PLACE
from genies.evaluation.metrics import correctness
from genies.evaluation.scored import variance_over_sets
from genies.evaluation.table import Rows, Table

TABLE = Table(
    "sets.csv",
    {
        **dict.fromkeys(("model", "intervention", "source", "target"), pl.String),
        **dict.fromkeys(("sets", "fewest_pairs"), pl.Int64),
        **dict.fromkeys(("accuracy", "accuracy_sd", "accuracy_least", "accuracy_most", "added_error"), pl.Float64),
    },
    optional=True,
    rows=Rows(PLACE),
)
"""Columns of ``sets.csv``: a row per cell of an intervention that judges pairs by several drawn sets, such as few_shot.
``sets`` counts those that pairs of the target were dealt to, ``fewest_pairs`` is the size of the smallest; standard
deviation (n − 1) and range are those of the accuracies on the pairs of each set. These differ by the pairs, too:
``added_error`` is the standard error that the choice of sets adds to that of the accuracy, beyond the pairs."""


def row(pairs: pl.DataFrame) -> dict[str, Any] | None:
    """The spread of one cell over sets, as ``TABLE`` has it; None where all pairs are judged alike."""
    if pairs["drawn_set"].null_count():
        return None
    correct, sets = correctness(pairs["probability"].to_numpy()), pairs["drawn_set"].to_numpy()
    accuracies = np.array([correct[sets == number].mean() for number in np.unique(sets)])
    return {
        "sets": len(accuracies),
        "fewest_pairs": int(np.unique(sets, return_counts=True)[1].min()),
        "accuracy": float(correct.mean()),
        "accuracy_sd": float(accuracies.std(ddof=1)) if len(accuracies) > 1 else None,
        "accuracy_least": float(accuracies.min()),
        "accuracy_most": float(accuracies.max()),
        "added_error": float(np.sqrt(variance_over_sets(correct, pairs["cluster"].to_numpy(), sets))),
    }
