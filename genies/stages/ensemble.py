"""The stage ``ensemble``: evaluations of the same sources by several interventions, combined pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from genies.digests import code_digest
from genies.errors import DataError, StoreError
from genies.evaluation.ensembles import Combine, combined, scale_of, source_calibrator, source_probability
from genies.evaluation.evaluations import PAIR_COLUMNS, read_evaluation, write_evaluation
from genies.making import MADE_OF, made_of, member_roles
from genies.stages.targets import targets_of

PLACE = ("target", "example", "pair", "cluster", "answer", "best_text", "worse_text")
"""Columns that say which pair a row is about."""
NOT_OF_ENSEMBLES = (
    "repeated_over", "repeats", "drawn_set", "stated_accuracy", "stated_RMS_calibration_error",
    "best_text_score", "worse_text_score", "text_scores_compare",
)  # fmt: skip
"""Columns of an evaluation that are null: what a single fit draws, has a rule of its own for, or scores alone."""
WITHOUT_TEXTS = "an ensemble combines differences of scores"


def combine_sources(
    *pairs: str,
    members: Sequence[Path],
    combine: Combine = "mean",
    penalty: float = 0.5,
    seed: int = 0,
    output: Path,
) -> None:
    """Combine what several interventions say of the same pairs, source by source; see ``combine_evaluations``.

    Args:
        *pairs: ``SOURCE:TARGET`` of what the ensemble is evaluated on, each source on itself, too.
        members: the members' evaluations of every source, each ``<member>/<source>.parquet``.
        combine: how the scaled differences of scores are combined, as ``genies.evaluation.ensembles.combined`` says.
        penalty: λ of ``variance_penalised``.
        seed: of the folds in which a source's own pairs are calibrated.
        output: folder of the evaluations, a parquet file for each source.

    Raises:
        StoreError: as of ``combine_evaluations``, or a member lacks a source.
    """
    every = {file.parent.name for file in members}
    for source, targets in targets_of(pairs).items():
        of_source = [file for file in members if file.stem == source]
        if absent := sorted(every - {file.parent.name for file in of_source}):
            raise StoreError(f"members: no {absent[0]}/{source}.parquet is given; give each member's, or leave it out")
        file = output / f"{source}.parquet"
        combine_evaluations(*targets, members=of_source, combine=combine, penalty=penalty, seed=seed, output=file)


def combine_evaluations(
    *targets: str,
    members: Sequence[Path],
    combine: Combine = "mean",
    penalty: float = 0.5,
    seed: int = 0,
    output: Path,
) -> None:
    """Combine what several interventions say of the same pairs, after fitting on one source.

    No model is loaded and no text is read: the members' evaluations hold the scores of every pair.

    Args:
        *targets: those that the ensemble is evaluated on, the source among them.
        members: the members' evaluations of the source, each ``<member>/<source>.parquet``.
        combine: how the scaled differences of scores are combined, as ``genies.evaluation.ensembles.combined`` says.
        penalty: λ of ``variance_penalised``.
        seed: of the folds in which the source's own pairs are calibrated.
        output: evaluation to write, ``<source>.parquet``; beside how it was made, it states the ``scales`` of the
            members and the ``calibrator``.

    Raises:
        StoreError: an evaluation is missing or damaged, was made of other pairs than the first one, lacks scores, or
            has no scale; two are of one member, or there are not two; or the source is not among the targets.
    """
    source = output.stem
    _check_members(members)
    if source not in targets:
        raise StoreError(f"{output}: {source} is not among its targets, so that nothing has a scale; add it to them")
    read = {file.parent.name: _scored(file, targets) for file in members}
    first = next(iter(read.values()))
    for file in members[1:]:
        if not read[file.parent.name].select(PLACE).equals(first.select(PLACE)):
            raise StoreError(
                f"{file}: does not have the pairs of {members[0]}, so that they cannot be combined; delete both and "
                "run snakemake again, and leave a member out that judges other pairs"
            )
    at_home = (first["target"] == source).to_numpy()
    differences = {file.parent.name: _differences(read[file.parent.name], file) for file in members}
    scales = {file.parent.name: _scale(differences[file.parent.name][at_home], file) for file in members}
    advantage = combined(np.stack([differences[name] / scales[name] for name in read]), combine, penalty)
    calibrator = source_calibrator(advantage[at_home])
    probability = calibrator.probability(advantage)
    probability[at_home] = source_probability(advantage[at_home], first["cluster"].to_numpy()[at_home], seed)
    frames = [_frame(first, advantage, probability, target) for target in targets]
    stated: dict[str, Any] = {
        MADE_OF: made_of(code_digest(__name__), member_roles(members)),
        "members": list(read),
        "combine": combine,
        "penalty": penalty,
        "seed": seed,
        "targets": list(targets),
        "scales": scales,
        "calibrator": calibrator.to_json(),
    }
    write_evaluation(output, frames, stated)


def _check_members(members: Sequence[Path]) -> None:
    names = [file.parent.name for file in members]
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise StoreError(f"members: {name} is given twice; give each member once, in a folder with its own name")
    if len(names) < 2:
        raise StoreError(f"members: {', '.join(map(str, members)) or 'none'} given; an ensemble has two at least")


def _scored(file: Path, targets: Sequence[str]) -> pl.DataFrame:
    """A member's evaluation on the targets."""
    frame = read_evaluation(file).filter(pl.col("target").is_in(list(targets)))
    if absent := sorted(set(targets) - set(frame["target"].unique())):
        raise StoreError(f"{file}: says nothing of {absent[0]}; delete it and run snakemake again")
    if frame["score_best"].null_count() or frame["score_worse"].null_count():
        raise StoreError(f"{file}: states no scores, which an ensemble combines; leave {file.parent.name} out of it")
    return frame


def _differences(frame: pl.DataFrame, file: Path) -> np.ndarray:
    """Score of the best response minus that of the worse one, float64 (n,)."""
    differences = (frame["score_best"] - frame["score_worse"]).to_numpy()
    if not np.isfinite(differences).all():
        target, example = frame.row(int(np.argmin(np.isfinite(differences))))[:2]
        raise StoreError(
            f"{file}: {target}, example {example}: a score is no finite number; leave {file.parent.name} out of it"
        )
    return differences


def _scale(differences: np.ndarray, file: Path) -> float:
    try:
        return scale_of(differences)
    except DataError as error:
        raise StoreError(
            f"{file}: {file.parent.name} {error}, so that an ensemble cannot scale it; leave it out"
        ) from None


def _frame(pairs: pl.DataFrame, advantage: np.ndarray, probability: np.ndarray, target: str) -> pl.DataFrame:
    """Rows of one target. Half the advantage is the best response's score, and its negative the other's."""
    rows = (pairs["target"] == target).to_numpy()
    judged = {
        "probability": probability[rows],
        "score_best": advantage[rows] / 2,
        "score_worse": -advantage[rows] / 2,
        **dict.fromkeys(NOT_OF_ENSEMBLES, [None] * int(rows.sum())),
        "no_text_scores": [WITHOUT_TEXTS] * int(rows.sum()),
    }
    columns = pairs.filter(rows).select(PLACE).to_dict(as_series=False)
    return pl.DataFrame({**columns, **judged}, schema=PAIR_COLUMNS)
