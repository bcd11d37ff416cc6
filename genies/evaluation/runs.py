"""Two runs side by side: which cells moved beyond noise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from genies.errors import StoreError, harmless
from genies.evaluation.paired import holm, paired_p
from genies.evaluation.scored import Key, Scored
from genies.evaluation.table import read_csv
from genies.evaluation.tables.cells import TABLE as CELLS
from genies.evaluation.tables.comparisons import read_scores

COLUMNS = {
    **dict.fromkeys(("model", "intervention", "source", "target", "test"), pl.String),
    **dict.fromkeys(("accuracy_a", "accuracy_b", "difference", "p", "p_corrected"), pl.Float64),
}
"""Columns of a comparison: a row per cell that both runs have; ``test`` is ``paired`` where both ranked the same pairs,
``apart`` where only their intervals are known, null where not even those, or where they have no width."""
LEVEL = 0.05


def compare_runs(a: Path, b: Path) -> pl.DataFrame:
    """Compare the accuracy of every cell that two runs have, columns as in ``COLUMNS``, the surest first.

    Where both runs keep verdicts on the same pairs, the test is paired by example; else the intervals of the two
    accuracies are taken for independent. p-values are corrected by Holm's method over all cells.

    Args:
        a: folder of a run's results, or of recomputed published ones.
        b: likewise.

    Raises:
        StoreError: a folder holds no cells, or the two have none in common.
    """
    cells = [read_csv(folder / CELLS.file, CELLS.columns) for folder in (a, b)]
    keys = ["model", "intervention", "source", "target"]
    both = cells[0].join(cells[1], on=keys, suffix="_b")
    if not len(both):
        raise StoreError(f"{a} and {b}: have no cell of the same model, intervention, source and target")
    scores = [read_scores(folder / "evaluations", frame) for folder, frame in zip((a, b), cells, strict=True)]
    rows = [_row(cell, *scores) for cell in both.iter_rows(named=True)]
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_corrected"] = p
    return pl.DataFrame(rows, schema=COLUMNS).sort("p_corrected", "p", *keys, nulls_last=True)


def _row(cell: dict[str, Any], first: dict[Key, Scored], second: dict[Key, Scored]) -> dict[str, Any]:
    key = tuple(cell[name] for name in ("model", "intervention", "source", "target"))
    row = {
        **dict(zip(("model", "intervention", "source", "target"), key, strict=True)),
        "accuracy_a": cell["accuracy"],
        "accuracy_b": cell["accuracy_b"],
        "difference": cell["accuracy_b"] - cell["accuracy"],
        "test": None,
        "p": None,
    }
    one, other = first.get(key), second.get(key)
    seeds = sum(scored.seed_variance for scored in (one, other) if scored)
    if one is not None and other is not None and one.same_pairs(other):
        return {**row, "test": "paired", "p": paired_p(other.correct - one.correct, one.cluster, seeds)}
    ends = [cell[name] for name in ("low", "high", "low_b", "high_b")]
    if None in ends:
        return row
    error = np.hypot(ends[1] - ends[0], ends[3] - ends[2]) / (2 * stats.norm.ppf(0.975))
    if not error:
        return row  # as earlier versions wrote them for ties throughout
    return {**row, "test": "apart", "p": float(2 * stats.norm.sf(abs(row["difference"]) / error))}


def describe(compared: pl.DataFrame) -> Iterator[str]:
    """Lines for people: how many cells were compared, and those that moved."""
    moved = compared.filter(pl.col("p_corrected") < LEVEL)
    same = int((compared["difference"] == 0).sum())
    yield f"{len(compared)} cells in both runs, {same} of equal accuracy, {len(moved)} moved beyond noise"
    for row in moved.iter_rows(named=True):
        yield harmless(
            f"  {row['model']}, {row['intervention']}, {row['source']} → {row['target']}: "
            f"{row['accuracy_a']:.3f} to {row['accuracy_b']:.3f} (p {row['p_corrected']:.2g}, {row['test']})"
        )
