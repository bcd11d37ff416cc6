"""Where the variance of a probe's accuracy comes from: the wording of what its views ask, its seed, the examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from genies.evaluation.evaluations import PLACE
from genies.evaluation.table import Rows, Table, gathered

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

COMPONENTS = ("wording", "seed", "both", "example", "rest")
"""Fields of ``genies.evaluation.crossed.Components``, in the order of the columns."""
TABLE = Table(
    "wording_variance.csv",
    {
        **dict.fromkeys(PLACE, pl.String),
        **dict.fromkeys(("shifts", "wordings", "seeds"), pl.Int64),
        **dict.fromkeys(("accuracy", "lowest", "highest", *(f"{name}_sd" for name in COMPONENTS)), pl.Float64),
    },
    optional=True,
    rows=Rows(PLACE, ("shifts", "wordings", "seeds", "accuracy", "lowest", "highest"), blank=("source", "target")),
)
"""Columns of ``wording_variance.csv``: a row per probe, source and target (also the source itself), and one per probe,
without source and target, of the mean accuracy over all ``shifts``. ``accuracy`` is the mean over ``wordings`` (the
published one counts) and ``seeds``, ``lowest`` and ``highest`` are those of single wordings, means over seeds. The
others are standard deviations of the accuracy of one fit: between wordings, between seeds, of what a seed does under
one wording alone (``both``), between samples of as many test examples as far as they change all fits alike
(``example``), and as far as they do not (``rest``); see ``genies.evaluation.crossed``. One that is estimated below 0
is 0. With one seed, ``seed_sd`` and ``both_sd`` are empty; all are where half of a target's test pairs or more have one
prompt."""


def rows(run: Measurements) -> pl.DataFrame:
    return gathered(TABLE, run.analyses)
