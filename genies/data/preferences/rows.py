"""Rows of preference sets, one at a time: JSON lines, JSON arrays and parquet. Nothing in a file is trusted."""

from __future__ import annotations

import gzip
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import polars as pl

from genies.data.limits import CHUNK_BYTES, DEFAULT_LIMITS
from genies.data.preferences.turns import Broken
from genies.data.strict import Flaw, flaws, load, parse, shown_path
from genies.errors import DataError, first_line

SUFFIXES = (".jsonl", ".jsonl.gz", ".ndjson", ".json", ".json.gz", ".parquet")
MAX_ROW_BYTES = 2**26
"""A larger row is broken (64 MiB)."""
MAX_ARRAY_BYTES = 2**28
"""A larger JSON array is refused, since it is read whole (256 MiB)."""
BATCH_ROWS = 256
"""Rows of a parquet file that are Python objects at a time."""
LOOKED_AT = 100
"""Rows of a JSON file whose keys are its columns."""

Row = dict[str, Any]


def columns_of(path: Path) -> list[str]:
    """Columns of a file; of JSON, the keys of its first rows.

    Raises:
        DataError: it cannot be read, or holds no row.
    """
    if path.suffix == ".parquet":
        with _damage_told(path):
            return list(pl.scan_parquet(path, glob=False).collect_schema())
    columns: dict[str, None] = {}
    for _, row in zip(range(LOOKED_AT), rows_of(path), strict=False):
        if not isinstance(row, Broken):
            columns |= dict.fromkeys(row)
    if not columns:
        remedy = "give JSON lines, or an array of objects in a file whose name ends in .json or .json.gz"
        raise DataError(f"{shown_path(path)}: holds no row that is a JSON object; {remedy}")
    return list(columns)


def rows_of(path: Path) -> Iterator[Row | Broken]:
    """Each row of a file, or in its stead what is wrong with it.

    Raises:
        DataError: the file as a whole cannot be read.
    """
    if not path.is_file():
        raise DataError(f"{shown_path(path)}: not a regular file; give a file of {', '.join(SUFFIXES)}")
    if path.suffix == ".parquet":
        yield from _of_parquet(path)
    elif path.name.endswith((".json", ".json.gz")) and _begins(path) == b"[":
        yield from _of_array(path)
    else:
        yield from _of_lines(path)


def _begins(path: Path) -> bytes:
    with _unpacked(path) as (file, _):
        return file.read(CHUNK_BYTES).removeprefix(BOM_UTF8).lstrip()[:1]


@contextmanager
def _unpacked(path: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """A file to read from, unpacked where it is packed, and the file as it is on the disk."""
    with path.open("rb") as raw, _damage_told(path):
        yield cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw, raw


def _of_array(path: Path) -> Iterator[Row | Broken]:
    content = bytearray()
    with _unpacked(path) as (file, raw):
        while chunk := file.read(CHUNK_BYTES):
            content += chunk if content else chunk.removeprefix(BOM_UTF8)
            _check_ratio(path, raw.tell(), len(content))
            if len(content) > MAX_ARRAY_BYTES:
                raise DataError(
                    f"{shown_path(path)}: an array of more than {MAX_ARRAY_BYTES} bytes, which would be read whole; "
                    "give JSON lines or parquet"
                )
    records, flawed = load(path, bytes(content))
    for record in records:
        yield _checked(record, flawed)


def _of_lines(path: Path) -> Iterator[Row | Broken]:
    with _unpacked(path) as (file, raw):
        read = 0
        while line := file.readline(MAX_ROW_BYTES + 1):
            yielded = _of_line(line if read else line.removeprefix(BOM_UTF8))
            while len(line) > MAX_ROW_BYTES and not line.endswith(b"\n"):
                read += len(line)
                _check_ratio(path, raw.tell(), read)
                yielded, line = Broken(f"a row of more than {MAX_ROW_BYTES} bytes"), file.readline(MAX_ROW_BYTES + 1)
            read += len(line)
            _check_ratio(path, raw.tell(), read)
            if yielded is not None:
                yield yielded


def _check_ratio(path: Path, packed: int, read: int) -> None:
    if read > CHUNK_BYTES and read > DEFAULT_LIMITS.ratio * packed:
        raise DataError(
            f"{shown_path(path)}: becomes more than {DEFAULT_LIMITS.ratio} times larger when it is unpacked; "
            "give it unpacked, if you trust it"
        )


def _of_line(line: bytes) -> Row | Broken | None:
    if not line.strip():
        return None
    if len(line) > MAX_ROW_BYTES:
        return Broken(f"a row of more than {MAX_ROW_BYTES} bytes")
    try:
        return _checked(*parse(line.decode("utf-8")))
    except UnicodeDecodeError:
        return Broken("a row is not UTF-8")
    except ValueError as error:
        problem = str(error)
        return Broken("a row is not JSON" if ": not JSON" in problem else f"a row is {problem.split(';')[0]}")


def _checked(record: Any, flawed: bool) -> Row | Broken:
    if isinstance(record, Flaw) or (flawed and isinstance(record, dict) and next(flaws(record), None)):
        return Broken("a row holds NaN, or a key twice")
    if not isinstance(record, dict):
        return Broken("a row is no JSON object")
    return record


def _of_parquet(path: Path) -> Iterator[Row | Broken]:
    with _damage_told(path):
        size, read = path.stat().st_size, 0
        for batch in pl.scan_parquet(path, glob=False).collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
            read += int(batch.estimated_size())
            _check_ratio(path, size, read)
            yield from _of_batch(batch)


def _of_batch(batch: pl.DataFrame) -> Iterator[Row | Broken]:
    for start in range(0, len(batch), BATCH_ROWS):
        part = batch.slice(start, BATCH_ROWS)
        if part.estimated_size() <= MAX_ROW_BYTES:
            yield from part.iter_rows(named=True)
            continue
        for number in range(len(part)):
            row = part.slice(number, 1)
            large = row.estimated_size() > MAX_ROW_BYTES
            yield Broken(f"a row of more than {MAX_ROW_BYTES} bytes") if large else row.row(0, named=True)


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    """Raise what a damaged file makes libraries raise as a DataError that names it."""
    damage = (pl.exceptions.PolarsError, pl.exceptions.PanicException, EOFError, zlib.error, gzip.BadGzipFile)
    try:
        yield
    except (*damage, OSError, MemoryError) as error:
        remedy = "give it whole, as JSON lines or parquet"
        raise DataError(f"{shown_path(path)}: cannot be read ({first_line(error)}); {remedy}") from None
