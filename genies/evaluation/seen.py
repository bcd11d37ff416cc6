"""The stage ``overlap``: which test examples also appear in the training split that a fit has seen."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from genies.data.distributions import Example
from genies.data.limit import Limit
from genies.data.overlap import Overlap, TrainingTexts, overlap
from genies.data.reading import Reading, read_drawn
from genies.digests import code_digest
from genies.errors import DataError, StoreError
from genies.evaluation.tables import METADATA, read_making, write_csv
from genies.files import whole_file
from genies.making import MADE_OF, data_roles, made_of

KINDS = ("same_prompt", "same_text", "other_label")
FILE = "overlap.parquet"
COLUMNS = {
    **dict.fromkeys(("source", "target"), pl.String),
    "example": pl.Int64,
    **dict.fromkeys(KINDS, pl.Boolean),
}
"""Columns of ``overlap.parquet``: a row per source, target and test example of the target that the source's training
split shows something of; ``example`` is its index in the file, the kinds are those of ``genies.data.overlap``."""
COUNTS_FILE = "overlap.csv"
COUNTS_COLUMNS = {
    **dict.fromkeys(("source", "target"), pl.String),
    **dict.fromkeys(("examples", "seen", *KINDS, "complete"), pl.Int64),
}
"""Columns of ``overlap.csv``: a row per source and target; ``examples`` counts the test examples that are read, the
others those of them that are seen in any way, in each of the ways, and completely."""

Place = tuple[str, str]
"""(source, target)."""


def write_overlap(
    train: Sequence[Path],
    test: Sequence[Path],
    targets: Mapping[str, Sequence[str]],
    seed: int,
    limit: Limit,
    output: Path,
) -> None:
    """Compare test splits with training splits, and write ``overlap.parquet`` and ``overlap.csv``.

    Args:
        train: ``<distribution>/train.json`` of every source.
        test: ``<distribution>/test.json`` of every target.
        targets: target names by source.
        seed: of the run; it draws the examples that are read.
        limit: how many of each split are read.
        output: folder of the two files.

    Raises:
        DataError: a file is missing or breaks the format, or the split of a source or target was not given.
    """
    # Examples of the files are compared, whatever the framing makes of them.
    compared = list(_compare(train, test, targets, Reading(seed, limit=limit)))
    seen = [_seen(place, found) for place, found in compared]
    stated = {
        MADE_OF: made_of(code_digest(__name__), data_roles([*train, *test])),
        "seed": seed,
        "limit": asdict(limit),
        "targets": targets,
    }
    with whole_file(output / FILE) as partial:
        frame = pl.concat([pl.DataFrame(schema=COLUMNS), *seen])
        frame.write_parquet(partial, metadata={METADATA: json.dumps(stated, sort_keys=True)})
    counts = [_counts(place, found) for place, found in compared]
    write_csv(pl.DataFrame(counts, schema=COUNTS_COLUMNS), output / COUNTS_FILE)


def read_seen(path: Path) -> dict[Place, frozenset[int]]:
    """Examples of each target that the training split of each source shows something of, by index in the file.

    Args:
        path: ``overlap.parquet``. Sources and targets that were compared and share nothing have empty sets.

    Raises:
        StoreError: the file is missing, damaged, or no such table.
    """
    return {place: frozenset(rows["example"]) for place, rows in _read_rows(path).items()}


def read_kinds(path: Path) -> dict[Place, dict[str, int]]:
    """How many examples of each target overlap with the training split of each source in each way of ``KINDS``.

    Arguments and errors are those of ``read_seen``.
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


def _compare(
    train: Sequence[Path], test: Sequence[Path], targets: Mapping[str, Sequence[str]], reading: Reading
) -> Iterator[tuple[Place, Overlap]]:
    trains = {file.parent.name: file for file in train}
    tests = {file.parent.name: _read(file, reading) for file in test}
    for source, names in targets.items():
        if source not in trains:
            raise DataError(f"{source}: is a source, but its train.json was not given; name it after --train")
        known = TrainingTexts.of(*_read(trains[source], reading))
        for target in names:
            if target not in tests:
                raise DataError(f"{target}: target of {source}, but its test.json was not given; name it after --test")
            yield (source, target), overlap(*tests[target], known)


def _read(file: Path, reading: Reading) -> tuple[list[Example], list[int]]:
    framed, read = read_drawn(file, reading)
    return framed.examples, read


def _seen(place: Place, found: Overlap) -> pl.DataFrame:
    """Rows of ``overlap.parquet``."""
    rows = {"example": found.example, **{kind: getattr(found, kind) for kind in KINDS}}
    source, target = (pl.lit(name).alias(column) for column, name in zip(("source", "target"), place, strict=True))
    return pl.DataFrame(rows).filter(found.seen).select(source, target, *rows)


def _counts(place: Place, found: Overlap) -> dict[str, Any]:
    """A row of ``overlap.csv``."""
    kinds = ("seen", *KINDS, "complete")
    counts = {kind: int(getattr(found, kind).sum()) for kind in kinds}
    return {"source": place[0], "target": place[1], "examples": len(found.example), **counts}
