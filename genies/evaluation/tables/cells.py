"""Cells: how an intervention that was fitted on a source does on a target."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from genies.errors import StoreError
from genies.evaluation import metrics as metric
from genies.evaluation.clean import clean_figures, fresh_figures
from genies.evaluation.evaluations import PLACE, Fits, evaluated
from genies.evaluation.scored import scored
from genies.evaluation.table import Rows, Table

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

NEWER_MEASURES = {"calibration_error_by_chance": pl.Float64}
"""Measures of pairs that came after the first version; columns of ``cells.csv`` and of metrics
without which results of earlier versions can be shown."""
TABLE = Table(
    "cells.csv",
    {
        "model": pl.String,
        "intervention": pl.String,
        "source": pl.String,
        "target": pl.String,
        "accuracy": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "RMS_calibration_error": pl.Float64,
        "calibration_error": pl.Float64,
        "brier": pl.Float64,
        "test_pairs": pl.Int64,
        **dict.fromkeys(("clean_accuracy", "clean_low", "clean_high"), pl.Float64),
        **dict.fromkeys(("clean_pairs", "clean_clusters"), pl.Int64),
        **dict.fromkeys(("seen_difference", "seen_difference_low", "seen_difference_high"), pl.Float64),
        **NEWER_MEASURES,
        **dict.fromkeys(("fresh_accuracy", "fresh_low", "fresh_high"), pl.Float64),
        **dict.fromkeys(("fresh_pairs", "fresh_clusters"), pl.Int64),
        **dict.fromkeys(("near_difference", "near_difference_low", "near_difference_high"), pl.Float64),
    },
    rows=Rows(PLACE, ("accuracy",)),
)
"""Columns of ``cells.csv``. From ``clean_accuracy`` to ``seen_difference_high``, and from ``fresh_accuracy`` on, they
are those of ``genies.evaluation.clean``; null where nothing is known of single pairs or of their texts. A calibration
error up to ``calibration_error_by_chance`` is what 95 of 100 calibrated methods have on so many pairs. Cells of
published results are made in ``genies.published.recomputed``."""

Seen = Mapping[tuple[str, str], Collection[int]]
"""By (source, target), the target's examples of which the source's training split shows something."""


def rows(run: Measurements) -> pl.DataFrame:
    return run.cells


def measured_cells(fits: Fits, seen: Seen | None = None, near: Seen | None = None) -> pl.DataFrame:
    """Metrics of every (model, intervention, source, target) that was evaluated; columns as in ``TABLE``.

    Args:
        fits: the evaluations to read.
        seen: see ``Seen``; without it nothing is known of clean pairs.
        near: the same with near duplicates; without it nothing is known of fresh pairs.

    Raises:
        StoreError: a file is damaged, has other columns or a value that is no probability; what is asked for is
            not there; the overlap of a target is not known; or a model's interventions were tested on different
            pairs of one target.
    """
    known = {"clean": seen, "fresh": near}
    frame = TABLE.frame(
        {**place, **_checked_cell(fits.folder, place, pairs, known)} for place, pairs in evaluated(fits)
    )
    counts = frame.group_by("model", "target", maintain_order=True).agg(pl.col("test_pairs").unique().sort())
    for model, target, sizes in counts.filter(pl.col("test_pairs").list.len() > 1).iter_rows():
        raise StoreError(
            f"{fits.folder / model}: {target} was evaluated on {sizes[0]} pairs by one intervention and on {sizes[-1]} "
            "by another; delete the folder and run snakemake again"
        )
    return frame


def _checked_cell(
    evaluations: Path, place: Mapping[str, str], pairs: pl.DataFrame, known: Mapping[str, Seen | None]
) -> dict[str, Any]:
    source, target = place["source"], place["target"]
    path = evaluations / place["model"] / place["intervention"] / f"{source}.parquet"
    examples: dict[str, Collection[int]] = {}
    for kind, seen in known.items():
        if seen is not None and (source, target) not in seen:
            raise StoreError(
                f"{path}: nothing is known of the overlap of {target} with {source}; delete overlap.parquet in the "
                "run's folder and run snakemake again"
            )
        if seen is not None:
            examples[kind] = seen[source, target]
    try:
        return _cell(pairs, examples)
    except ValueError as error:
        raise StoreError(f"{path}: {target}: {error}; delete the file and run snakemake again") from None


def _cell(pairs: pl.DataFrame, known: Mapping[str, Collection[int]]) -> dict[str, Any]:
    stated = {
        "accuracy": pairs["stated_accuracy"][0],
        "RMS_calibration_error": pairs["stated_RMS_calibration_error"][0],
    }
    if stated["accuracy"] is not None:
        metric.checked_probability([stated["accuracy"]])
        unknown = dict.fromkeys(("low", "high", "calibration_error", "brier"))
        if pairs["probability"].null_count():
            return {**unknown, **stated, "test_pairs": len(pairs)}
    cell = _judged_cell(pairs, known if stated["accuracy"] is None else {})
    # No interval belongs to an accuracy that follows another rule than the pairs.
    return cell if stated["accuracy"] is None else {**cell, "accuracy": stated["accuracy"], "low": None, "high": None}


def _judged_cell(pairs: pl.DataFrame, known: Mapping[str, Collection[int]]) -> dict[str, Any]:
    judged = scored(pairs)
    low, high = judged.interval
    of = {kind: np.isin(pairs["example"], list(examples)) for kind, examples in known.items()}
    return {
        "accuracy": float(judged.correct.mean()),
        "low": low,
        "high": high,
        **measures(judged.probability, judged.draws),
        **(vars(clean_figures(judged, of["clean"])) if "clean" in of else {}),
        **(fresh_figures(judged, of["fresh"]) if "fresh" in of else {}),
    }


def measures(probability: np.ndarray, draws: np.ndarray | None = None) -> dict[str, Any]:
    """What is measured on the pairs of a cell other than accuracy, by column.

    Args:
        probability: of the best response (pairs,).
        draws: the same under each draw of what judged them (draws, pairs), where there are several; means over them
            are taken.
    """
    published = metric.published_rms_calibration_error(probability)
    drawn = probability[None] if draws is None else draws
    return {
        "RMS_calibration_error": None if np.isnan(published) else published,
        "calibration_error": float(np.mean([metric.calibration_error(one) for one in drawn])),
        "brier": float(np.mean([metric.brier(one) for one in drawn])),
        "calibration_error_by_chance": metric.calibration_error_by_chance(probability),
        "test_pairs": len(probability),
    }
