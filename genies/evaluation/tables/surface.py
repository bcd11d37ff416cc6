"""What surface baselines reach on every shift, and whether the best method does better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from genies.evaluation.classes import NOTHING, OF_SOURCES
from genies.evaluation.differences import Difference, Place, over_examples
from genies.evaluation.evaluations import PLACE
from genies.evaluation.metrics import NULL
from genies.evaluation.scored import Key, Scored
from genies.evaluation.simultaneous import Estimate, Judged, judged
from genies.evaluation.table import Rows, Table
from genies.evaluation.tables.comparisons import NOT_TESTED, verdict

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

ACCURACY = "generalization_accuracy"
TABLE = Table(
    "surface.csv",
    {
        **dict.fromkeys(("model", "source", "target", "intervention"), pl.String),
        **dict.fromkeys(("accuracy", "low", "high"), pl.Float64),
        "best": pl.Boolean,
        "other": pl.String,
        **dict.fromkeys(("lead", "lead_low", "lead_high", "p_adjusted"), pl.Float64),
        "verdict": pl.String,
    },
    optional=True,
    rows=Rows(PLACE, ("accuracy", "best")),
)
"""Columns of ``surface.csv``: a row per shift and surface baseline, with the accuracy of that baseline and its
interval. ``best`` marks the most accurate one on the shift. Its row says how far the most accurate method, ``other``,
is ahead of it on the same pairs. ``lead_low`` to ``lead_high`` is the simultaneous 95 % interval over the leads of all
methods over all baselines on all shifts of the model, so that it holds for those that happen to be the most accurate.
``verdict`` is one of ``comparisons.VERDICTS``, said of the method; where it is not "higher", the shift shows nothing
that counting could not."""


def rows(run: Measurements) -> pl.DataFrame:
    """Baselines saw labels of sources: methods that saw more, or it is not known what, are not compared with them."""
    unfair = [name for name, saw in run.classes.items() if saw not in (NOTHING, OF_SOURCES)]
    methods = run.metrics.filter(~pl.col("intervention").is_in(unfair))
    return surface(methods, run.surface, run.scores) if len(run.surface) else TABLE.frame()


def surface(metrics: pl.DataFrame, baselines: pl.DataFrame, scores: Mapping[Key, Scored]) -> pl.DataFrame:
    """Accuracies of surface baselines, and leads of the best methods over the best of them; columns as in ``TABLE``.

    Args:
        metrics: of methods, as in ``tables.generalization_metrics.TABLE``.
        baselines: likewise of surface baselines.
        scores: how right every pair was ranked; where this is not known, leads are not tested.
    """
    methods = metrics.filter(pl.col("intervention") != NULL)
    found: list[dict[str, Any]] = []
    for (model,), of_model in baselines.group_by("model", maintain_order=True):
        own = of_model.unique(["intervention", "source", "target"], maintain_order=True)
        best = {place: max(known, key=known.__getitem__) for place, known in _accuracies(own).items()}
        family = _family(_accuracies(methods.filter(model=model)), own)
        leads = _leads(_judged(str(model), family, scores), best)
        for row in own.iter_rows(named=True):
            place = row["source"], row["target"]
            is_best = row["intervention"] == best[place]
            ends = {end: row[f"{ACCURACY}_{end}"] for end in ("low", "high")}
            columns = {name: row[name] for name in ("model", "source", "target", "intervention")}
            columns |= {"accuracy": row[ACCURACY], **ends, "best": is_best}
            found.append(columns | (leads.get(place, {}) if is_best else {}))
    return TABLE.frame(found)


def _leads(
    family: Sequence[tuple[Difference, Judged | None]], best: Mapping[Place, str]
) -> dict[Place, dict[str, Any]]:
    """Columns about the largest lead over the best baseline on each shift."""
    leads: dict[Place, dict[str, Any]] = {}
    for difference, judgement in family:
        (place,) = difference.places
        if difference.names[1] != best[place] or (place in leads and difference.mean <= leads[place]["lead"]):
            continue
        leads[place] = {"other": difference.names[0], "lead": difference.mean, "verdict": NOT_TESTED}
        if judgement:
            p = judgement.p_adjusted
            leads[place] |= {"lead_low": judgement.low, "lead_high": judgement.high, "p_adjusted": p}
            leads[place]["verdict"] = verdict(difference.mean, p)
    return leads


def _accuracies(metrics: pl.DataFrame) -> dict[Place, dict[str, float]]:
    """Accuracy of each intervention by shift."""
    found: dict[Place, dict[str, float]] = {}
    for source, target, name, accuracy in metrics.select("source", "target", "intervention", ACCURACY).iter_rows():
        found.setdefault((source, target), {})[name] = accuracy
    return found


def _family(methods: Mapping[Place, Mapping[str, float]], baselines: pl.DataFrame) -> list[Difference]:
    """The lead of every method over every surface baseline on every shift.

    The best ones of both kinds are chosen on the very pairs that they are compared on; judged together with all others,
    their interval holds all the same.
    """
    return [
        Difference((method, name), [place], np.array([accuracy - counted]), np.ones(1, np.int64))
        for place, reached in _accuracies(baselines).items()
        for name, counted in reached.items()
        for method, accuracy in methods.get(place, {}).items()
    ]


def _judged(
    model: str, family: Sequence[Difference], scores: Mapping[Key, Scored]
) -> list[tuple[Difference, Judged | None]]:
    """The leads of all shifts, judged together; None where single pairs are not known.

    Leads on one target depend on each other through its pairs. Of these, factors with the same covariance are kept,
    which are as few as there are leads. What seeds add is taken as independent between targets.
    """
    targets = [target for difference in family for _, target in difference.places]
    estimates: dict[int, Estimate] = {}
    for target in dict.fromkeys(targets):
        places = [number for number, own in enumerate(targets) if own == target]
        for number, estimate in zip(places, over_examples(model, [family[n] for n in places], scores), strict=True):
            if estimate is not None:
                estimates[number] = estimate
    known = [*estimates]
    factors = {number: np.zeros(len(known)) for number in known}
    for target in dict.fromkeys(targets):
        own = [number for number in known if targets[number] == target]
        if own:
            factor = _factor(np.stack([estimates[number].influences for number in own], 1))
            for column, number in enumerate(own):
                begin = known.index(own[0])
                factors[number][begin : begin + len(factor)] = factor[:, column]
    judgements = judged([replace(estimates[number], influences=factors[number]) for number in known])
    found = dict(zip(known, judgements, strict=True))
    return [(difference, found.get(number)) for number, difference in enumerate(family)]


def _factor(influences: np.ndarray) -> np.ndarray:
    """The fewest rows (r, k) that have the products of columns of (u, k)."""
    return np.asarray(np.linalg.qr(influences, mode="r"))
