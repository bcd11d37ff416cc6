"""Evaluations: what an intervention says of every test pair, a parquet file per fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from genies.errors import StoreError, first_line
from genies.files import whole_file

TEXT_COLUMNS: dict[str, Any] = {
    **dict.fromkeys(("best_text", "worse_text"), pl.Int64),
    **dict.fromkeys(("best_text_score", "worse_text_score"), pl.Float64),
    **dict.fromkeys(("text_scores_compare", "no_text_scores"), pl.String),
}
"""Columns of an evaluation that earlier versions lack.

``best_text`` and ``worse_text`` number the pair's texts: equal numbers within an example are one text, which several
pairs may share. Their scores depend on no other text. ``text_scores_compare`` says whether these compare "across
prompts" or "within a prompt"; where there are none, it is null, and ``no_text_scores`` says why.
"""
PAIR_COLUMNS: dict[str, Any] = {
    "target": pl.String,
    "example": pl.Int64,
    "pair": pl.Int64,
    "cluster": pl.Int64,
    "answer": pl.String,
    "probability": pl.Float64,
    "score_best": pl.Float64,
    "score_worse": pl.Float64,
    "repeated_over": pl.String,
    "repeats": pl.List(pl.Float64),
    "drawn_set": pl.Int64,
    "stated_accuracy": pl.Float64,
    "stated_RMS_calibration_error": pl.Float64,
    **TEXT_COLUMNS,
}
"""Columns of an evaluation, a row per test pair.

Pairs of one ``cluster`` are not independent (``genies.data.clusters``). ``answer`` is the right one, Yes or No, where
the pair is a question. ``repeats`` holds the probabilities that a fit gives when what it drew is drawn again
(``Intervention.repeated_over``); null where it draws nothing. ``drawn_set`` numbers the set of shots that a pair was
judged after (``Intervention.drawn_sets``); null where all pairs are judged alike. ``stated_accuracy`` and
``stated_RMS_calibration_error`` repeat, for every pair of a target, what the intervention itself states of it where it
has a rule of its own (plug-ins, and ccs as published); null elsewhere. Probabilities and scores may be null where that
is stated.
"""
PLACE = ("model", "intervention", "source", "target")
"""Columns that name a cell, and an intervention on a shift."""
METADATA = "genies"
"""Key of the parquet metadata of an evaluation."""


def read_evaluation(path: Path) -> pl.DataFrame:
    """One evaluation, a row per test pair sorted by target, example and pair; columns as in ``PAIR_COLUMNS``.

    Those of ``TEXT_COLUMNS`` are null where an earlier version made the file.

    Raises:
        StoreError: the file is not there or no parquet, its columns are others, or a pair occurs twice.
    """
    if not path.is_file():
        raise StoreError(f"{path}: file not found; run snakemake again to make it")
    remedy = "delete the file and run snakemake again"
    try:
        frame = pl.read_parquet(path, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(f"{path}: cannot be read ({first_line(error)}); {remedy}") from None
    if not TEXT_COLUMNS.keys() & frame.schema.keys():
        frame = frame.with_columns(pl.lit(None, kind).alias(name) for name, kind in TEXT_COLUMNS.items())
    if dict(frame.schema) != PAIR_COLUMNS:
        raise StoreError(f"{path}: has the columns {dict(frame.schema)}, not {PAIR_COLUMNS}; {remedy}")
    keys = ["target", "example", "pair"]
    twice = frame.filter(frame.select(keys).is_duplicated())
    if len(twice):
        target, example, pair = twice.select(keys).row(0)
        raise StoreError(f"{path}: {target}, example {example}, pair {pair} occurs twice; {remedy}")
    return frame.sort(keys)


@dataclass(frozen=True)
class Fits:
    """Which evaluations are a run's; what else lies in their folder is left over from an earlier configuration.

    Attributes:
        folder: of ``<model>/<intervention>/<source>.parquet``.
        models: in the order wanted.
        sources: by intervention, these in the order wanted.
        absent: ``model/intervention`` of those that do not read a model.
    """

    folder: Path
    models: Sequence[str]
    sources: Mapping[str, Collection[str]]
    absent: Collection[str] = ()


def by_fit(fits: Fits) -> Iterator[tuple[tuple[str, str, str], dict[str, pl.DataFrame]]]:
    """The rows of every target that a fit was evaluated on, by target, behind (model, intervention, source).

    Raises:
        StoreError: a file is missing or damaged.
    """
    for model in fits.models:
        for intervention, sources in fits.sources.items():
            if f"{model}/{intervention}" in fits.absent:
                continue
            for source in sorted(sources):
                pairs = read_evaluation(fits.folder / model / intervention / f"{source}.parquet")
                targets = pairs.group_by("target", maintain_order=True)
                yield (model, intervention, source), {str(target): rows for (target,), rows in targets}


def evaluated(fits: Fits) -> Iterator[tuple[dict[str, str], pl.DataFrame]]:
    """The rows of every target that was evaluated, behind what names its cell.

    Raises:
        StoreError: a file is missing or damaged.
    """
    for fit, targets in by_fit(fits):
        for target, rows in targets.items():
            yield dict(zip(PLACE, (*fit, target), strict=True)), rows


def tabulate(
    fits: Fits, kinds: Mapping[str, Callable[[pl.DataFrame], Mapping[str, Any] | None]]
) -> dict[str, list[dict[str, Any]]]:
    """Rows of several tables, each with one per cell, from one reading of every evaluation.

    Args:
        fits: the evaluations.
        kinds: by name of the table what makes a row of a cell's pairs; None where the cell has none.

    Raises:
        StoreError: a file is missing or damaged.
    """
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in kinds}
    for place, pairs in evaluated(fits):
        for name, row in kinds.items():
            if (made := row(pairs)) is not None:
                rows[name].append({**place, **made})
    return rows


def write_evaluation(path: Path, frames: Sequence[pl.DataFrame], stated: Mapping[str, Any]) -> None:
    """Write an evaluation, and into the file's metadata what it states of its making.

    Args:
        path: parquet file.
        frames: one of each target, columns as in ``PAIR_COLUMNS``.
        stated: ``made_of``, and what else is compared with the configuration; JSON values.
    """
    with whole_file(path) as partial:
        pl.concat(frames).write_parquet(partial, metadata={METADATA: json.dumps(stated, sort_keys=True)})


def read_making(path: Path) -> dict[str, Any]:
    """What an evaluation states of its making, as ``write_evaluation`` was given it; empty where it states nothing.

    Raises:
        StoreError: the file is no parquet.
    """
    try:
        return json.loads(pl.read_parquet_metadata(path).get(METADATA, "{}"))
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise StoreError(
            f"{path}: cannot be read ({first_line(error)}); delete the file and run snakemake again"
        ) from None
