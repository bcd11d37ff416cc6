"""Which test examples also appear in the training split that a fit has seen: the tables of it, and their reading."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from genies.errors import StoreError
from genies.evaluation.evaluations import read_making
from genies.evaluation.table import Rows, Table

KINDS = ("same_prompt", "same_text", "other_label")
NEAR_KINDS = ("near_prompt", "near_text", "near_other_label")
FILE = "overlap.parquet"
COLUMNS = {
    **dict.fromkeys(("source", "target"), pl.String),
    "example": pl.Int64,
    **dict.fromkeys((*KINDS, *NEAR_KINDS), pl.Boolean),
}
"""Columns of ``overlap.parquet``: a row per source, target and test example of the target that the source's training
split shows something of, or a near duplicate; ``example`` is its index in the file, the kinds are those of
``genies.data.overlap`` and ``genies.data.near_overlap``."""
COUNTS = Table(
    "overlap.csv",
    {
        **dict.fromkeys(("source", "target"), pl.String),
        **dict.fromkeys(("examples", "seen", *KINDS, "complete", "near", *NEAR_KINDS), pl.Int64),
    },
    optional=True,
    rows=Rows(("source", "target"), ("examples", "seen", "same_prompt", "same_text", "other_label", "complete")),
)
"""Columns of ``overlap.csv``: a row per source and target; ``examples`` counts the test examples that are read, the
others those of them that are seen in any way, in each of the ways, and completely; ``near`` those that are not seen but
have near duplicates in the training split, and the last ones those with near duplicates of each kind."""
Place = tuple[str, str]
"""(source, target)."""


def read_seen(path: Path, near: bool = False) -> dict[Place, frozenset[int]]:
    """Examples of each target that the training split of each source shows something of, by index in the file.

    Args:
        path: ``overlap.parquet``. Sources and targets that were compared and share nothing have empty sets.
        near: whether near duplicates count, too.

    Raises:
        StoreError: the file is missing, damaged, or no such table.
    """
    exact = pl.lit(near) | pl.col("same_prompt") | pl.col("same_text")
    return {place: frozenset(rows.filter(exact)["example"]) for place, rows in _read_rows(path).items()}


def read_kinds(path: Path) -> dict[Place, dict[str, int]]:
    """How many examples of each target overlap with the training split of each source in each way of ``KINDS``.

    Args:
        path: as in ``read_seen``.

    Raises:
        StoreError: likewise.
    """
    return {place: {kind: int(rows[kind].sum()) for kind in KINDS} for place, rows in _read_rows(path).items()}


def _read_rows(path: Path) -> dict[Place, pl.DataFrame]:
    """Rows of ``overlap.parquet`` of everything that was compared."""
    if not path.is_file():
        raise StoreError(f"{path}: file not found; run snakemake again to make it")
    targets = read_making(path).get("targets")
    frame = pl.read_parquet(path, glob=False)
    if targets is None or dict(frame.schema) != COLUMNS:
        raise StoreError(f"{path}: is no table that genies overlap wrote; delete it and run snakemake again")
    rows = frame.partition_by("source", "target", as_dict=True)
    places = [(source, target) for source, names in targets.items() for target in names]
    return {place: rows.get(place, frame.clear()) for place in places}
