"""Which interval a sentence shows, what it is for, and what it is worth: one rule for all sentences of the page.

From ``FEWEST_DEGREES`` degrees of freedom on, an interval for new shifts supports a claim about them. Below, the same
shifts with new examples are spoken of instead, or else the sentence says that its interval carries no information.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from genies.evaluation.metrics import CHANCE
from genies.evaluation.uncertainty import FEWEST_DEGREES, clustered_mean, supports_new_shifts
from genies.report.words import number, span

UNINFORMATIVE = 0.9
"""Width of an interval of an accuracy, or of a share, from which on it says nothing."""
NO_INFORMATION = ", which carries no information"
TOO_FEW_SOURCES = "These shifts have so few sources that they cannot support a claim about new ones."
INDEPENDENT = "as if shifts were independent"

Row = Mapping[str, Any]


def of_mean(row: Row, name: str, chance: bool = False) -> str:
    """A mean over shifts with its interval, and what that is for.

    Args:
        row: of the leaderboard, or with the same columns.
        name: of the mean; its intervals are ``<name>_low`` and ``_high``, and ``<name>_examples_low`` and ``_high``.
        chance: whether to say so where the interval contains the accuracy that guessing gives.
    """
    supported = supports_new_shifts(row["degrees_of_freedom"])
    kinds = [("", "95 % for new shifts"), ("_examples", "95 % for new examples")]
    for kind, what in kinds if supported else reversed(kinds):
        low, high = row.get(f"{name}{kind}_low"), row.get(f"{name}{kind}_high")
        if low is not None and high is not None:
            worth = empty(low, high) if supported or kind else _unsupported(row["degrees_of_freedom"])
            guess = f", an interval that contains {CHANCE:g}, which guessing gives"
            text = f"{number(row[name])} ({span(low, high)}, {what}{worth})"
            return text + (guess if chance and low <= CHANCE <= high else "")
    return number(row[name])


def empty(low: float, high: float) -> str:
    """Says of an interval that is too wide that it carries no information; nothing of others."""
    return NO_INFORMATION if high - low >= UNINFORMATIVE else ""


def _unsupported(freedom: float | None) -> str:
    few = "one source" if freedom is None else f"{number(freedom, 1)} degrees of freedom, fewer than {FEWEST_DEGREES:g}"
    return f"{NO_INFORMATION}: {few}"


def degrees_of_freedom(sources: Sequence[str]) -> float | None:
    """Those of a mean over shifts of these sources, a name per shift; None where they are one source, or none."""
    return clustered_mean(np.zeros(len(sources)), list(sources)).degrees_of_freedom if len(sources) else None
