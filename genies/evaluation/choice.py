"""Which intervention to choose, by shifts that have nothing in common with those that are reported on.

The best of several interventions on the very shifts that it is reported on is partly lucky: its mean there is too high,
the more so the more there are to choose from (Cawley and Talbot, Journal of Machine Learning Research 11, 2010). Chosen
on other shifts, its mean is what it says.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from genies.errors import DataError
from genies.evaluation.averages import interval_columns
from genies.evaluation.classes import UNKNOWN, Classes
from genies.evaluation.metrics import NULL
from genies.evaluation.related import APART, Names
from genies.evaluation.uncertainty import clustered_mean

Place = tuple[str, str]
"""(source, target) of a shift."""
Accuracies = Mapping[str, Mapping[Place, float]]
"""Of each candidate, its accuracy by shift."""
CHOICES = {
    **dict.fromkeys(("model", "saw", "chosen"), pl.String),
    **dict.fromkeys(("candidates", "chosen_on", "dropped", "reported_on"), pl.Int64),
    **dict.fromkeys(("accuracy_there", "accuracy", "accuracy_low", "accuracy_high", "degrees_of_freedom"), pl.Float64),
    "naive": pl.String,
    **dict.fromkeys(("naive_accuracy", "naive_accuracy_low", "naive_accuracy_high"), pl.Float64),
    **dict.fromkeys(("optimism", "optimism_low", "optimism_high"), pl.Float64),
    "incomplete": pl.String,
}
"""Columns of a choice, a row per model and class of interventions by what they ``saw``. Of so many ``candidates``,
``chosen`` has the highest mean accuracy (``accuracy_there``) over ``chosen_on`` shifts; ``dropped`` others share a
distribution with the ``reported_on`` ones, on which its mean is ``accuracy``. ``naive`` has the highest mean on these
themselves, and ``optimism`` is how much higher that is: by luck, all of it where the candidates are equally good, or
because it suits these shifts better than those chosen on. Intervals are for new shifts, clustered by source, with these
``degrees_of_freedom``; those of ``naive`` and of the optimism do not allow for the choice. ``incomplete`` names
interventions that lack one of the shifts, and are no candidates."""


def apart(shifts: Collection[Place], reported: Collection[Place], names: Names = APART) -> list[Place]:
    """Those of some shifts that have no distribution in common with others, as source or as target, sorted.

    Args:
        shifts: some shifts.
        reported: the others.
        names: one for all distributions that have the same texts.
    """
    used = {names.get(name, name) for place in reported for name in place}
    return sorted(place for place in shifts if not used & {names.get(name, name) for name in place})


def choices(metrics: pl.DataFrame, classes: Classes, benchmark: str, names: Names = APART) -> pl.DataFrame:
    """Choose an intervention of each class for each model; columns as in ``CHOICES``.

    Args:
        metrics: columns as in ``genies.evaluation.tables.generalization_metrics.TABLE``.
        classes: of the interventions.
        benchmark: name of the set of shifts that is reported on.
        names: as ``apart`` takes them.

    Raises:
        DataError: there is no such benchmark, or no shift apart from it.
    """
    rows: list[dict[str, Any]] = []
    known = metrics.filter(pl.col("intervention") != NULL)
    for (model,), own in known.group_by("model", maintain_order=True):
        of_benchmark = own.filter(benchmark=benchmark)
        reported = sorted(set(of_benchmark.select("source", "target").iter_rows()))
        if not reported:
            raise DataError(f"{model}: no shift of its results is of the benchmark {benchmark}; name another one")
        others = {*own.select("source", "target").iter_rows()} - {*reported}
        there = apart(others, reported, names)
        if not there:
            beyond = f"none of the {len(others)} shifts beyond {benchmark} has distributions of its own"
            raise DataError(
                f"{model}: {beyond if others else f'all of its shifts are of {benchmark}'}, so there is nothing to "
                "choose by; run config/published69.yaml"
            )
        accuracy: dict[str, dict[Place, float]] = {}
        for name, source, target, value in own.select(
            "intervention", "source", "target", "generalization_accuracy"
        ).iter_rows():
            accuracy.setdefault(name, {})[source, target] = value
        for saw, members in _by_class(accuracy, classes).items():
            whole = {name: accuracy[name] for name in members if {*there, *reported} <= accuracy[name].keys()}
            row = {"model": model, "saw": saw, "candidates": len(whole), "dropped": len(others) - len(there)}
            row["incomplete"] = ", ".join(name for name in members if name not in whole) or None
            rows.append({**row, **(choice(whole, there, reported, names) if whole else {})})
    return pl.DataFrame(rows, schema=CHOICES)


def choice(
    accuracy: Accuracies, there: Sequence[Place], reported: Sequence[Place], names: Names = APART
) -> dict[str, Any]:
    """Choose one of several candidates; columns of ``CHOICES``. Of equals the first one is chosen.

    Args:
        accuracy: of one candidate or more, on all of the shifts.
        there: shifts to choose by.
        reported: shifts to report on.
        names: as ``apart`` takes them; sources of one name are one cluster.
    """
    means = [{name: _mean(own, shifts) for name, own in accuracy.items()} for shifts in (there, reported)]
    chosen, naive = (max(of, key=of.__getitem__) for of in means)
    sources = [names.get(source, source) for source, _ in reported]
    on_reported = {name: np.array([accuracy[name][place] for place in reported]) for name in (chosen, naive)}
    honest, lucky = (clustered_mean(on_reported[name], sources) for name in (chosen, naive))
    optimism = clustered_mean(on_reported[naive] - on_reported[chosen], sources)
    return {
        "chosen": chosen,
        "chosen_on": len(there),
        "reported_on": len(reported),
        "accuracy_there": means[0][chosen],
        "accuracy": honest.mean,
        **interval_columns("accuracy", honest.interval()),
        "degrees_of_freedom": honest.degrees_of_freedom,
        "naive": naive,
        "naive_accuracy": lucky.mean,
        **interval_columns("naive_accuracy", lucky.interval()),
        "optimism": optimism.mean,
        **interval_columns("optimism", optimism.interval()),
    }


def _mean(own: Mapping[Place, float], shifts: Sequence[Place]) -> float:
    return float(np.mean([own[place] for place in shifts]))


def _by_class(names: Collection[str], classes: Classes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(classes.get(name, UNKNOWN), []).append(name)
    return found
