"""What probes reach with a few labelled pairs of the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from genies.evaluation.evaluations import PLACE
from genies.evaluation.table import Rows, Table, gathered

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

NONE = "none"
RANDOM, UNCERTAIN = CHOICES = ("random", "uncertain")
"""How pairs of the target are chosen, in the order of ``genies.interventions.steps.target_labels.chosen_rows``."""
TABLE = Table(
    "few_labels.csv",
    {
        **dict.fromkeys((*PLACE, "chosen"), pl.String),
        **dict.fromkeys(("examples", "copies", "draws"), pl.Int64),
        **dict.fromkeys(("accuracy", "accuracy_sd", "low", "high"), pl.Float64),
    },
    optional=True,
    rows=Rows((*PLACE, "chosen", "examples"), ("copies", "draws", "accuracy", "low", "high")),
)
"""Columns of ``few_labels.csv``: a row per probe, shift, choice and number of ``examples`` of the target's training
split that are mixed into the source's training pairs, each ``copies`` times, where each of the source's is there once.
``chosen`` is ``none`` (without any), ``random``, or ``uncertain`` (those between which the fit on the source alone is
least sure). ``accuracy`` is on the target's test pairs, the mean over ``draws`` of pools to choose from, and
``accuracy_sd`` the standard deviation over them; ``low`` to ``high`` holds 95 % of what other test examples and other
draws give, and in the row ``none``, which has one draw, of what other test examples give."""


def rows(run: Measurements) -> pl.DataFrame:
    return gathered(TABLE, run.analyses)
