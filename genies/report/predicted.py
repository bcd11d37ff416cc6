"""What the page says about predictions without target labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from genies.evaluation.jackknife import FEWEST_SHIFTS
from genies.evaluation.metrics import CHANCE
from genies.evaluation.prediction import CONFIDENT, LINE, REGRESSION
from genies.evaluation.prediction_worth import (
    BEATS_BOTH,
    BEATS_MEAN,
    BEATS_SOURCE,
    TOO_FEW,
    chosen,
    lead_over_mean,
    smallest_batch,
)
from genies.report.tables import Tables
from genies.report.words import counted, number, percent

Row = Mapping[str, Any]
NAMES = {
    REGRESSION: "a regression on all unlabelled quantities",
    LINE: "agreement-on-the-line",
    CONFIDENT: "average thresholded confidence",
}
"""What the page calls the predictors."""
NOT_BEATEN = {
    BEATS_MEAN: "its accuracy on the source",
    BEATS_SOURCE: "the method's mean on other shifts",
}
"""Which trivial predictor is not beaten, by verdict; neither under any other one."""

BY_NAME = " Texts were not compared here, so what is alike under two names is not held out."
"""Of results without texts, such as published ones."""


def without_labels(errors: pl.DataFrame, alarms: pl.DataFrame) -> str | None:
    """Whether accuracy can be predicted without labels of the target, and how good the alarm is; None if not tried.

    Args:
        errors: rows of a model, columns as in ``genies.evaluation.tables.prediction_errors.TABLE``.
        alarms: likewise of ``prediction_alarms.TABLE``.
    """
    of_all = errors.filter(pl.col("intervention").is_null())
    best_of = _best_of(of_all.to_dicts())
    of_all = of_all.filter(pl.col("predictor") == pl.lit(chosen(of_all.to_dicts()), pl.String))
    found = of_all.filter(pl.col("pairs").is_null()).to_dicts()
    if not found:
        return None
    row = found[0]
    if row["verdict"] == TOO_FEW:
        return _too_few(row)
    text = (
        f"Predicted without labels of the target, accuracies of {counted(row['cells'], 'cell')} are off by "
        f"{number(row['error'])} in the mean, by {NAMES.get(row['predictor'], row['predictor'])}"
        f"{best_of}; the method's mean on other shifts is off by "
        f"{number(row['error_of_mean'])}, its accuracy on the source by {number(row['error_of_source'])}."
    )
    if row["coverage"] is not None:
        text += f" {_intervals(row)} hold {percent(row['coverage'])} of the accuracies{_by_source(row)}."
    if row["verdict"] != BEATS_BOTH:
        rivals = NOT_BEATEN.get(row["verdict"], "either of these trivial predictors")
        return f"{text} The predictions are not shown to be better than {rivals}, so there is no alarm."
    return f"{text} Both are worse by more than noise.{_alarm(of_all, alarms)}"


def _best_of(rows: Sequence[Row]) -> str:
    """Among which ways the chosen one is the best; nothing where there is one alone that predicts anything."""
    tried = {row["predictor"]: row for row in rows if row["pairs"] is None and row["error"] is not None}
    own = tried.get(chosen(rows))
    if own is None or len(tried) < 2:
        return ""
    ways = f"{len(tried)} ways"
    if lead_over_mean(own) == max(map(lead_over_mean, tried.values())):
        return f", the best of {ways}"
    if own["verdict"] == BEATS_BOTH:
        return f", of {ways} the best that is better than both trivial predictors"
    return f", the best of those of {ways} that have shifts enough for a verdict"


def worth_of_predictions(errors: pl.DataFrame, alarms: pl.DataFrame) -> str | None:
    """The same; also None where there are too few shifts to know, which changes no conclusion."""
    on_all = errors.filter(pl.col("intervention").is_null(), pl.col("pairs").is_null()).to_dicts()
    verdicts = {row["predictor"]: row["verdict"] for row in on_all}
    return None if verdicts.get(chosen(on_all), TOO_FEW) == TOO_FEW else without_labels(errors, alarms)


def _intervals(row: Row) -> str:
    """What the intervals claim, which is less than 90 % where few sources are unrelated to a cell's."""
    fewest = row["fewest_sources"]
    if fewest is None or fewest >= FEWEST_SHIFTS:
        return "The 90 % intervals"
    return (
        f"The intervals, of which some rest on {counted(fewest, 'source')} alone and are sure in {fewest} of "
        f"{fewest + 1} cases at best,"
    )


def _by_source(row: Row) -> str:
    """The mean over sources, whose shifts may be many and go together; nothing where it reads the same."""
    share = row["coverage_of_sources"]
    if share is None or percent(share) == percent(row["coverage"]):
        return ""
    return f", and {percent(share)} where each source counts the same, whatever the number of its shifts"


def _too_few(row: Row) -> str:
    if not row["cells"]:
        return (
            f"That is not known: a prediction needs {FEWEST_SHIFTS} other shifts that share no distribution with the "
            "predicted one, and can be predicted from one another, and no shift of this run has so many. There is no "
            "alarm."
        )
    return (
        f"That is not known: only {counted(row['shifts'], 'shift')} can be predicted from unrelated ones, with too few "
        "sources and targets to support a claim about new ones. There is no alarm."
    )


def _alarm(of_all: pl.DataFrame, alarms: pl.DataFrame) -> str:
    """The rates of the alarm for accuracies below chance, and the smallest batch that it works on."""
    rows = alarms.filter(pl.col("below") == CHANCE, pl.col("pairs").is_null()).to_dicts()
    smallest = smallest_batch(of_all.to_dicts())
    if not rows or smallest is None:
        return ""
    false, missed = (rows[0][f"{name}_rate"] for name in ("false_alarm", "miss"))
    of_others = "" if false is None else f" is raised for {percent(false)} of the cells at or above it"
    of_below = "" if missed is None else f" misses {percent(missed)} of {'those' if of_others else 'the cells'} below"
    return (
        f" The alarm “accuracy is below {CHANCE:g}”{' and'.join(filter(None, (of_others, of_below)))}, and works on "
        f"batches of {smallest} pairs or more."
    )


def prediction_boards(tables: Tables) -> list[dict[str, Any]]:
    """By model: the sentence, the rows of errors, and those of alarms."""
    boards = []
    for (model,), own in tables["prediction_errors"].group_by("model", maintain_order=True):
        alarms = tables["prediction_alarms"].filter(model=model)
        rows = [{**row, "name": NAMES.get(row["predictor"], row["predictor"])} for row in own.to_dicts()]
        says = without_labels(own, alarms)
        # Only where texts were compared is it known which pairs are clean.
        if says and not tables["cells"].filter(model=model)["clean_pairs"].count():
            says += BY_NAME
        boards.append({"model": model, "says": says, "rows": rows, "alarms": alarms.to_dicts()})
    return boards
