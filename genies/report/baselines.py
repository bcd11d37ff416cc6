"""What surface baselines and permutation nulls say about a run, and which interventions are baselines."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from genies.evaluation.metrics import CHANCE
from genies.evaluation.simultaneous import LEVEL
from genies.evaluation.tables.comparisons import HIGHER, LOWER, NOT_TESTED
from genies.report.words import counted, listed, number, percent, span

RANKED = (
    "generalization_metrics", "cells", "answers", "ties", "seeds", "sets", "text_scores", "risk_coverage", "best_of_n",
)  # fmt: skip
"""Tables with rows of all interventions, of which the page shows methods; baselines have a section of their own."""


def without_baselines(frames: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Tables by name, those that rank methods without the rows of surface baselines."""
    names = frames["surface"]["intervention"].unique().to_list()
    of_method = ~pl.col("intervention").is_in(names)
    return {name: frame.filter(of_method) if name in RANKED and names else frame for name, frame in frames.items()}


def beyond_counting(surface: pl.DataFrame) -> str | None:
    """On how many shifts of a model the best method does better than the best surface baseline; None if not known.

    Args:
        surface: rows of the model, columns as in ``genies.evaluation.tables.surface.TABLE``.
    """
    best = surface.filter("best").filter(pl.col("verdict").is_not_null() & (pl.col("verdict") != NOT_TESTED))
    if not len(best):
        return None
    shown, shifts = best.filter(verdict=HIGHER), counted(len(best), "shift")
    text = (
        f"On {len(shown)} of {shifts} the most accurate method is shown to be better than the best of "
        f"{counted(surface['intervention'].n_unique(), 'surface baseline')} (rules that count in the texts)."
    )
    if len(rest := best.filter(pl.col("verdict") != HIGHER)):
        text += f" Not shown on {listed(_places(rest))}."
    if len(worse := best.filter(verdict=LOWER)):
        row = worse.sort("lead").row(0, named=True)
        ends = "" if row["lead_low"] is None else f" ({span(-row['lead_high'], -row['lead_low'])})"
        text += (
            f" On {_places(worse.sort('lead'))[0]} {row['intervention']} is ahead of every method, by "
            f"{number(-row['lead'])}{ends} of {row['other']}, the best of them."
        )
    return text


def followed(cues: pl.DataFrame) -> str | None:
    """Which rival rules methods go with where the labels disagree with the rule; None if that is shown nowhere.

    Args:
        cues: rows of a model, columns as in ``genies.evaluation.tables.cues.TABLE``.
    """
    compared = cues.filter(pl.col("conflict_high").is_not_null())
    with_rule = compared.filter(pl.col("conflict_high") < CHANCE).sort("conflict_high", maintain_order=True)
    if not len(with_rule):
        return None
    counts = with_rule.group_by("rival", maintain_order=True).len().sort("len", descending=True, maintain_order=True)
    most = with_rule.row(0, named=True)
    return (
        f"On the pairs that a rival rule ranks wrong, methods are shown to go with the rule in "
        f"{len(with_rule)} of {counted(len(compared), 'cell')}, each judged alone: "
        f"{listed([f'with {rival} in {count}' for rival, count in counts.iter_rows()])}. Most clearly "
        f"{most['intervention']} with {most['rival']} on {_places(with_rule[:1])[0]}: it ranks "
        f"{percent(1 - most['conflict_accuracy'])} of {counted(most['conflict_pairs'], 'such pair')} as the rule does. "
        "A method that is wrong on most pairs of a shift goes with many rules there."
    )


def beyond_null(nulls: pl.DataFrame) -> str | None:
    """Which accuracies probes reach without labels, and in how many cells theirs are higher; None if not known.

    Args:
        nulls: rows of a model, columns as in ``genies.evaluation.tables.nulls.TABLE``.
    """
    if not len(nulls):
        return None
    widest = nulls.sort(pl.col("high") - pl.col("low"), descending=True).row(0, named=True)
    above = nulls.filter(pl.col("accuracy") > pl.col("high"))
    middle = span(*nulls.select(pl.median("low", "high")).row(0))
    place = f"{widest['source']} → {widest['target']} ({widest['intervention']})"
    times = nulls.select(pl.max("repeats")).item()
    of_solver = len(nulls.filter(pl.col("p") <= LEVEL / 2))
    return (
        f"Fitted on pairs whose labels were flipped at random ({times} times, by one solver for all probes), "
        f"directions still reach {middle} in the middle 95 % on a typical shift, and "
        f"{span(widest['low'], widest['high'])} on {place}: an accuracy within that range can be had without labels. "
        f"The probe's own accuracy is above it in {counted(len(above), 'cell')} of {len(nulls)}, each judged alone; a "
        f"probe with a solver of its own may range wider. That of the one solver, on the labels as they are, is above "
        f"it in {counted(of_solver, 'cell')}."
    )


def _places(rows: pl.DataFrame) -> list[str]:
    return [" → ".join(place) for place in rows.select("source", "target").iter_rows()]
