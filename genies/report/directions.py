"""Whether the sources of a run share one direction, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from genies.evaluation.qap import FEWEST
from genies.evaluation.simultaneous import LEVEL
from genies.report.words import counted, number, p_value

MEAN_DIFFERENCE = "mean_difference"
"""The intervention that sentences and figures are about, since every run that compares directions has it."""
LEAST = 0.5
"""By how much the number of unrelated directions has to exceed that of a shared one for there to be an answer."""


def main_layer(layers: pl.DataFrame) -> Mapping[str, Any] | None:
    """The row about the layer in which sources' own accuracy is highest; None without rows.

    Args:
        layers: of a model, columns as in ``genies.evaluation.tables.direction_layers.TABLE``.
    """
    known = layers.filter(pl.col("intervention") == MEAN_DIFFERENCE, pl.col("sources") > 1)
    known = known.sort("own_accuracy", "layer", descending=[True, False])
    return known.row(0, named=True) if len(known) else None


def verdict(row: Mapping[str, Any]) -> str:
    """What the effective number of directions in a layer says.

    It lies between that of one shared direction and that of unrelated ones; a third of the way from either counts as
    that, unless chance gives as few directions.
    """
    one, unrelated = row["effective_if_shared"], row["effective_if_unrelated"]
    if unrelated - one < LEAST:
        return "sources are too few, or their directions too uncertain, to say whether they share one"
    if row["p_related"] > LEVEL:
        return "they are not shown to be more alike than unrelated directions"
    share = (unrelated - row["effective"]) / (unrelated - one)
    if share < 1 / 3:
        return "nearly every source has a direction of its own"
    if share < 2 / 3:
        return "sources share part of their directions"
    if row["agreement"] < row["ceiling"] / 2:
        return "there is nearly one axis, along which some sources point the other way"
    return "there is nearly one direction"


def one_or_several(layers: pl.DataFrame, erased: pl.DataFrame) -> str | None:
    """Whether the sources of a model share one direction, and what erasing it takes; None if not known.

    Args:
        layers: as ``main_layer`` takes them.
        erased: rows of the model, columns as in ``genies.evaluation.tables.erasure.TABLE``.
    """
    row = main_layer(layers)
    if row is None:
        return None
    text = (
        f"Differences of means of {counted(row['sources'], 'source')} agree by {number(row['agreement'])} on average "
        f"(correlation of their scores in layer {row['layer']}, where they are most accurate on their own source), and "
        f"would by {number(row['ceiling'])} if all shared one direction: in effect {number(row['effective'], 1)} "
        f"directions, between {number(row['effective_if_shared'], 1)} for one that is shared and "
        f"{number(row['effective_if_unrelated'], 1)} for unrelated ones; {verdict(row)}."
    )
    return text + _explained(row) + _erasure(erased)


def _explained(row: Mapping[str, Any]) -> str:
    """Whether agreement goes with accuracy on other sources."""
    if row["transfer_p"] is None:
        return f" With fewer than {FEWEST} sources, whether agreement goes with transfer cannot be tested."
    shown = "goes" if row["transfer_p"] < LEVEL else "is not shown to go"
    return (
        f" Agreement {shown} with how well one source's direction ranks the other's pairs (r = "
        f"{number(row['transfer_r'], 2)}, p {_compared(p_value(row['transfer_p']))})."
    )


def _compared(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"


def _erasure(erased: pl.DataFrame) -> str:
    """What probes lose by erasure on shifts, next to random directions and to their own source."""
    known = erased.filter(intervention=MEAN_DIFFERENCE)
    shifts = known.filter(pl.col("source") != pl.col("target"))
    if not len(shifts):
        return ""
    own = known.filter(pl.col("source") == pl.col("target")).select("target", own_loss="loss")
    of_targets = shifts.join(own, on="target", how="left")  # as often as the shifts count each target
    loss, by_chance = shifts.select(pl.mean("loss", "random_loss")).row(0)
    return (
        f" Erasing a source's direction takes {number(loss)} of accuracy from the target's own probe, over "
        f"{counted(len(shifts), 'shift')} ({number(by_chance)} for random directions); erasing the target's own takes "
        f"{number(of_targets.select(pl.mean('own_loss')).item())}."
    )
