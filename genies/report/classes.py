"""What is said of the best, by what methods saw: only those that saw the same are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genies.evaluation.classes import OF_SOURCES, UNKNOWN
from genies.evaluation.metrics import BASELINE

Row = Mapping[str, Any]


def by_class(block: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of the leaderboard by their class, the class of most methods first, their order kept.

    Of classes with as many methods, that of source labels comes first. The untouched model is no class of its own where
    there are others: methods are compared with it in any case.
    """
    found: dict[str, list[Row]] = {}
    for row in block:
        found.setdefault(row["saw"] or UNKNOWN, []).append(row)
    others = {saw: rows for saw, rows in found.items() if [row["intervention"] for row in rows] != [BASELINE]}
    return dict(sorted((others or found).items(), key=lambda item: (-len(item[1]), item[0] != OF_SOURCES)))


def several(block: Sequence[Row]) -> bool:
    """Whether rows of the leaderboard are of more than one class, so that each best one is that of its class."""
    return len({row["saw"] or UNKNOWN for row in block}) > 1


def among(saw: str) -> str:
    """Which methods these are: ``methods that saw source labels``."""
    return "methods of which it is not known what they saw" if saw == UNKNOWN else f"methods that saw {saw}"
