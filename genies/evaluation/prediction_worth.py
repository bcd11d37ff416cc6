"""How good predictions without target labels are, next to two trivial predictors, and the alarm that rests on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from genies.evaluation.prediction import PREDICTORS, Predicted
from genies.evaluation.related import APART, Names, Shift
from genies.evaluation.uncertainty import supports_new_shifts, two_way_mean

LEAD_LEVEL = 1 - 0.05 / len(PREDICTORS)
"""Of the intervals of leads over trivial predictors: those of all predictors hold together in 95 of 100 cases."""
COVERAGE_LOST = 0.02
"""By how much intervals may cover less on a batch that is large enough than on all pairs."""
BELOW = (0.5, 0.6, 0.7)
"""Accuracies below which the alarm is tried: "this probe does not carry over"."""
BEATS_BOTH = "beats both"
BEATS_MEAN, BEATS_SOURCE = "beats the mean alone", "beats the source accuracy alone"
BEATS_NEITHER, TOO_FEW = "beats neither", "too few shifts"
VERDICTS = (BEATS_BOTH, BEATS_MEAN, BEATS_SOURCE, BEATS_NEITHER, TOO_FEW)
"""What the errors of predictions are, compared with those of the trivial predictors."""


def errors(predicted: Predicted, shifts: Sequence[Shift], names: Names = APART) -> dict[str, Any]:
    """How far predictions are from the accuracies that were reached, next to trivial predictors.

    A trivial predictor counts as beaten where the interval of the difference of absolute errors, for new shifts and
    targets (``two_way_mean``), lies above 0. Its level is corrected for the number of predictors (``LEAD_LEVEL``). Both
    trivial ones are beaten only where either interval lies above 0, so that these two tests need no correction.

    Args:
        predicted: the cells; those without an interval play no part.
        shifts: of the model.
        names: one for all distributions that have the same texts; such sources, or targets, are one cluster.

    Returns:
        Columns of ``tables.prediction_errors.TABLE`` from ``shifts`` on.
    """
    known = predicted.where(~np.isnan(predicted.low))
    places = [shifts[number] for number in known.shift.astype(np.int64)]
    found: dict[str, Any] = {"shifts": len({*places}), "cells": len(known.reached), "verdict": TOO_FEW}
    if not places:
        return found
    error = np.abs(known.predicted - known.reached)
    inside = (known.low <= known.reached) & (known.reached <= known.high)
    found |= {"error": float(error.mean()), "coverage": float(inside.mean())}
    sources, targets = ([names.get(place[role], place[role]) for place in places] for role in (0, 1))
    of_source = np.unique(sources, return_inverse=True)[1]
    found["coverage_of_sources"] = float(np.mean(np.bincount(of_source, inside) / np.bincount(of_source)))
    found["width"] = float((known.high - known.low).mean())
    beaten = {}
    for name, trivial in (("mean", known.mean), ("source", known.on_source)):
        other = np.abs(trivial - known.reached)
        lead = two_way_mean(other - error, sources, targets)
        low, high = lead.interval(LEAD_LEVEL) or (None, None)
        found |= {f"error_of_{name}": float(other.mean()), f"lead_over_{name}": lead.mean}
        found |= {f"lead_over_{name}_low": low, f"lead_over_{name}_high": high}
        found["degrees_of_freedom"] = lead.degrees_of_freedom
        beaten[name] = low is not None and low > 0
    if supports_new_shifts(found["degrees_of_freedom"]):
        verdicts = {(True, True): BEATS_BOTH, (True, False): BEATS_MEAN, (False, True): BEATS_SOURCE}
        found["verdict"] = verdicts.get((beaten["mean"], beaten["source"]), BEATS_NEITHER)
    return found


def chosen(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The predictor to rely on: that of the largest lead over the method's mean, first among those that beat both.

    Not every predictor has an interval for every cell, so errors are compared with the mean's on the same cells, and
    not with one another's on others. One whose shifts are too few for a verdict comes last.

    Args:
        rows: of ``tables.prediction_errors.TABLE``, of a model and all of its methods; None where there is none.
    """
    on_all = [row for row in rows if row["pairs"] is None]
    order = {BEATS_BOTH: 0, TOO_FEW: 2}
    best = sorted(on_all, key=lambda row: (order.get(row["verdict"], 1), -lead_over_mean(row)))
    return best[0]["predictor"] if best else None


def lead_over_mean(row: Mapping[str, Any]) -> float:
    """By how much the method's mean is further off than the predictions, on the same cells; −inf where none has any."""
    return -np.inf if row["lead_over_mean"] is None else row["lead_over_mean"]


def smallest_batch(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """The smallest batch of target pairs on which predictions work; None where they do not work on all pairs either.

    On it, and on every larger one that was tried, both trivial predictors are beaten, and intervals cover hardly less
    (``COVERAGE_LOST``) than on all pairs. Only targets with more pairs than a batch are in its row, so one with too few
    shifts for a verdict says nothing, and one as large as the median target commends no size. Where no size is left, it
    is the number of pairs of the median target, or one more than the largest batch that does not work.

    Args:
        rows: of ``tables.prediction_errors.TABLE``, of a model, a predictor and all methods.
    """
    on_all = [row for row in rows if row["pairs"] is None]
    if not on_all or on_all[0]["verdict"] != BEATS_BOTH or on_all[0]["median_pairs"] is None:
        return None
    median, least = int(on_all[0]["median_pairs"]), (on_all[0]["coverage"] or 0) - COVERAGE_LOST
    works = {
        int(row["pairs"]): row["verdict"] == BEATS_BOTH and (row["coverage"] or 0) >= least
        for row in rows
        if row["pairs"] is not None and row["verdict"] != TOO_FEW
    }
    failed = max((pairs for pairs, does in works.items() if not does), default=0)
    return min((pairs for pairs in works if failed < pairs < median), default=max(median, failed + 1))


def alarm_rates(predicted: Predicted, below: float) -> dict[str, Any]:
    """How often the alarm "the accuracy is below x" is wrong, over cells that have an interval.

    The alarm is raised where the upper end of the interval is below x.

    Args:
        predicted: the cells.
        below: x.

    Returns:
        ``cells`` below x and ``others``, ``alarms``, ``false_alarm_rate`` (alarms among the others) and ``miss_rate``
        (cells below x without an alarm); a rate is None where there is no such cell.
    """
    known = predicted.where(~np.isnan(predicted.high))
    raised, truly = known.high < below, known.reached < below
    return {
        "cells": int(truly.sum()),
        "others": int((~truly).sum()),
        "alarms": int(raised.sum()),
        "false_alarm_rate": float(raised[~truly].mean()) if (~truly).any() else None,
        "miss_rate": float((~raised[truly]).mean()) if truly.any() else None,
    }
