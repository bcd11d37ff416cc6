"""Evaluations of planted scores of texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from genies.evaluation.evaluations import PAIR_COLUMNS, Fits, write_evaluation
from genies.evaluation.measurements import Measurements
from genies.evaluation.tables.cells import measured_cells
from genies.evaluation.tables.comparisons import read_scores

EFFECT = 1.0
PLACE = {"model": "small", "intervention": "mms", "source": "easy", "target": "hard"}


def pairs_of(
    target: str, score: np.ndarray, compare: str | None = "across prompts", probability: np.ndarray | None = None
) -> pl.DataFrame:
    """Rows of an evaluation in which example e has the responses of row e, the first one of which is good."""
    examples, responses = score.shape
    example, worse = (part.ravel() for part in np.mgrid[:examples, 1:responses])
    lead = score[example, 0] - score[example, worse]
    known: dict[str, Any] = {
        "target": [target] * len(example), "example": example, "cluster": example, "pair": worse - 1,
        "probability": 1 / (1 + np.exp(-lead)) if probability is None else probability,
        "best_text": np.zeros(len(example), np.int64), "worse_text": worse,
    }  # fmt: skip
    if compare is not None:
        known |= {"best_text_score": score[example, 0], "worse_text_score": score[example, worse]}
        known["text_scores_compare"] = [compare] * len(example)
    nothing = dict.fromkeys(PAIR_COLUMNS, [None] * len(example))
    return pl.DataFrame({**nothing, **known}, schema=PAIR_COLUMNS)


def scores_of(seed: int, examples: int = 60, responses: int = 3, effect: float = EFFECT, offset: float = 0.0):
    """Standard normal scores, the good one higher by ``effect``, with an offset of each example's own."""
    rng = np.random.default_rng(seed)
    score = rng.standard_normal((examples, responses)) + offset * rng.standard_normal((examples, 1))
    score[:, 0] += effect
    return score


def run_of(folder: Path, **interventions: list[pl.DataFrame]) -> Measurements:
    """A run with a shift from easy to hard, whose interventions gave these rows."""
    for name, frames in interventions.items():
        write_evaluation(folder / "small" / name / "easy.parquet", frames, {})
    fits = Fits(folder, ["small"], {name: ["easy"] for name in interventions})
    cells = measured_cells(fits)
    rows = [{**PLACE, "intervention": name} for name in interventions]
    return Measurements(cells, pl.DataFrame(rows), read_scores(folder, cells), fits=fits)


def row_of(frame: pl.DataFrame, intervention: str, target: str = "hard") -> dict[str, Any]:
    [row] = frame.filter(intervention=intervention, target=target).iter_rows(named=True)
    return row
