"""How well scores of single texts separate good responses from worse ones, also at a threshold of the source's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from genies.evaluation.draws import drawn_clusters
from genies.evaluation.evaluations import PLACE, by_fit
from genies.evaluation.table import Rows, Table
from genies.evaluation.texts import Texts, auroc, auroc_interval, once, share_above, thresholds

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

RESAMPLES = 1_000
ACROSS = "across prompts"
RATES = {5: 0.05, 1: 0.01}
"""Rates of false positives by their percentage."""
FEWEST_NEGATIVES = {1: 500}
"""Worse responses that a target needs for a percentage: five of them would be false positives. Of a source, as many are
needed as have a threshold: 19, or 99."""
OFFSET = "the score has a free offset for each prompt"


def _with_ends(name: str) -> dict[str, Any]:
    return dict.fromkeys((name, f"{name}_low", f"{name}_high"), pl.Float64)


TABLE = Table(
    "text_scores.csv",
    {
        **dict.fromkeys(PLACE, pl.String),
        "comparable_across_prompts": pl.Boolean,
        "remark": pl.String,
        **dict.fromkeys(("good_texts", "worse_texts"), pl.Int64),
        **_with_ends("auroc"),
        **_with_ends("pair_accuracy"),
        "pair_accuracy_of_texts": pl.Float64,
        "source_worse_texts": pl.Int64,
        **{
            name: kind
            for percent in RATES
            for name, kind in {
                f"threshold_{percent}": pl.Float64,
                **_with_ends(f"recall_{percent}"),
                **_with_ends(f"false_positives_{percent}"),
            }.items()
        },
    },
    optional=True,
    rows=Rows(PLACE),
)
"""Columns of ``text_scores.csv``: a row per cell of a shift, or of a source on itself, see ``genies.evaluation.texts``.

Each text counts once. ``auroc`` is over all texts of the target, ``pair_accuracy`` the accuracy of the intervention's
own decisions on pairs, ``pair_accuracy_of_texts`` that of comparing the two texts' scores. ``threshold_5`` is the score
that at most 5 % of worse responses exceed, by the source's test texts; on the target ``recall_5`` of the good responses
exceed it, and ``false_positives_5`` of the worse ones, a share that may be far from 5 %. Intervals of 95 % are over
prompt clusters, those of the source included. Of several seeds (``ccs``) the score is the mean over them: all but
``pair_accuracy``, a mean over seeds with their variance, is about that one score, whatever other seeds would give.
Scores are not comparable across prompts where ``remark`` says why; where there are none, it says why, and all else is
null but ``pair_accuracy``."""


class _Threshold(NamedTuple):
    """A threshold, and what it is in each draw of the source's clusters, float64 (draws,)."""

    value: float
    drawn: np.ndarray


def rows(run: Measurements) -> pl.DataFrame:
    return TABLE.frame(_rows(run) if run.fits is not None else ())


def wanted(run: Measurements) -> set[tuple[str, str]]:
    """(source, target) of the shifts, and of their sources on themselves."""
    frames = [frame.select("source", "target") for frame in (run.metrics, run.surface) if len(frame)]
    shifts = set(pl.concat(frames).iter_rows()) if frames else set()
    return shifts | {(source, source) for source, _ in shifts}


def _rows(run: Measurements) -> Iterator[dict[str, Any]]:
    places, drawn = wanted(run), lru_cache(maxsize=8)(drawn_clusters)
    known = {tuple(row[name] for name in PLACE): row for row in run.cells.iter_rows(named=True)}
    assert run.fits is not None
    for fit, targets in by_fit(run.fits):
        chosen = {target: pairs for target, pairs in targets.items() if (fit[2], target) in places}
        own = Texts.of(targets[fit[2]]) if chosen and fit[2] in targets else None
        found = {} if own is None else _thresholds(own, drawn(fit[2], own.clusters, run.seed, RESAMPLES))
        for target, pairs in chosen.items():
            cell = known.get((*fit, target), {})
            row = {
                **dict(zip(PLACE, (*fit, target), strict=True)),
                **_remark(pairs),
                "pair_accuracy": cell.get("accuracy"),
                "pair_accuracy_low": cell.get("low"),
                "pair_accuracy_high": cell.get("high"),
            }
            if (texts := Texts.of(pairs)) is not None:
                of_target = drawn(target, texts.clusters, run.seed, RESAMPLES)
                row |= _measured(texts, of_target) | _at_thresholds(texts, found, of_target)
                lead = (pairs["best_text_score"] - pairs["worse_text_score"]).to_numpy()
                row["pair_accuracy_of_texts"] = float(np.mean(0.5 * (1 + np.sign(lead))))
                if target == fit[2]:  # the threshold was set by the very texts, so that their rate is no estimate
                    row |= {f"false_positives_{percent}_{end}": None for percent in RATES for end in ("low", "high")}
                row["source_worse_texts"] = None if own is None else int(np.sum(~own.good))
            yield row


def _remark(pairs: pl.DataFrame) -> dict[str, Any]:
    compare, missing = pairs["text_scores_compare"][0], pairs["no_text_scores"][0]
    if compare is None:
        return {"remark": f"no scores of texts: {missing or 'an earlier version evaluated it'}"}
    across = compare == ACROSS
    return {"comparable_across_prompts": across, "remark": None if across else OFFSET}


def _measured(texts: Texts, drawn: np.ndarray) -> dict[str, Any]:
    low, high = auroc_interval(texts, drawn)
    return {
        "good_texts": int(np.sum(texts.good)),
        "worse_texts": int(np.sum(~texts.good)),
        "auroc": float(auroc(texts, once(texts.clusters))[0]),
        "auroc_low": low,
        "auroc_high": high,
    }


def _thresholds(source: Texts, drawn: np.ndarray) -> dict[int, _Threshold]:
    """Thresholds by percentage, those for which the source has enough worse responses."""
    values = {percent: float(thresholds(source, once(source.clusters), rate)[0]) for percent, rate in RATES.items()}
    return {
        percent: _Threshold(value, thresholds(source, drawn, RATES[percent]))
        for percent, value in values.items()
        if np.isfinite(value)
    }


def _at_thresholds(texts: Texts, found: Mapping[int, _Threshold], drawn: np.ndarray) -> dict[str, float]:
    columns: dict[str, float] = {}
    for percent, threshold in found.items():
        if np.sum(~texts.good) < FEWEST_NEGATIVES.get(percent, 0):
            continue
        columns[f"threshold_{percent}"] = threshold.value
        for name, good in (("recall", True), ("false_positives", False)):
            share, (low, high) = share_above(texts, good, *threshold, drawn)
            columns |= {f"{name}_{percent}": share, f"{name}_{percent}_low": low, f"{name}_{percent}_high": high}
    return columns
