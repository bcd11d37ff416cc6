"""Whether a model itself uses the directions of sources, in words."""

from __future__ import annotations

import polars as pl

from genies.evaluation.simultaneous import LEVEL
from genies.evaluation.tables.causal import ADDED, ERASED
from genies.report.words import counted, number


def used(rows: pl.DataFrame) -> str | None:
    """What erasing and adding directions changes in a model's own preference; None if it was not tried.

    Args:
        rows: of the model, columns as in ``genies.evaluation.tables.causal.TABLE``.
    """
    erased = rows.filter(change=ERASED)
    if not len(erased):
        return None
    lead = number(erased.select(pl.mean("lead")).item())
    text = (
        f"Erasing the direction of the source from every layer changes the model's own preference for best responses, "
        f"{lead} nats on average, {_by(erased)}."
    )
    of_strengths = rows.filter(change=ADDED).sort("strength").group_by("strength", maintain_order=True)
    added = [f"{strength:g} times its length, {_by(rows)}" for (strength,), rows in of_strengths]
    return text + (f" Adding it to one layer changes it, with {'; with '.join(added)}." if added else "")


def _by(rows: pl.DataFrame) -> str:
    """By how much a change moves the preference, and in how many cells random directions do not explain that.

    All changes of the model are judged together.
    """
    effect, by_chance = map(number, rows.select(pl.mean("effect", "random_effect")).row(0))
    shown = int((rows["p_adjusted"] <= LEVEL).sum())
    return (
        f"by {effect} (random directions by {by_chance}; more than chance in {shown} of {counted(len(rows), 'cell')})"
    )
