"""Fitted interventions in the cache: where they lie, and whether their files are whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genies.digests import file_sha256
from genies.errors import REPAIR, StoreError
from genies.files import read_sealed
from genies.making import recorded_making


def fits_folder(cache: Path, digest: str) -> Path:
    """Folder of a fitted intervention in the cache."""
    return Path(cache) / "interventions" / digest


FORMAT = 3
"""Version of the folder that ``save`` writes."""
RECORD_FILE = "intervention.json"


def is_saved(folder: Path) -> bool:
    """Whether ``save`` finished writing to the folder."""
    return (Path(folder) / RECORD_FILE).is_file()


def read_origin(folder: Path) -> dict[str, Any] | None:
    """The ``origin`` that ``save`` was given.

    Raises:
        StoreError: the record is missing or damaged.
    """
    return read_sealed(Path(folder) / RECORD_FILE).get("origin")


def read_making(folder: Path) -> list[dict[str, Any]]:
    """What computed a fit; see ``recorded_making``.

    Raises:
        StoreError: the record is missing or damaged.
    """
    return recorded_making(read_sealed(Path(folder) / RECORD_FILE))


def check_files(folder: Path) -> dict[str, Any]:
    """The record of a saved intervention, after comparing its files with the checksums in it.

    Raises:
        StoreError: a file is missing or damaged, or was written by a version with another format.
    """
    record = read_sealed(folder / RECORD_FILE)
    if record.get("format") != FORMAT:
        raise StoreError(f"{folder / RECORD_FILE}: not format {FORMAT} of a fitted intervention; {REPAIR}")
    for name, expected in record["files"].items():
        if not (folder / name).is_file() or file_sha256(folder / name) != expected:
            raise StoreError(f"{folder / name}: missing, or not the file that {RECORD_FILE} names; {REPAIR}")
    return record


def check_test(parquet: Path) -> dict[str, Any]:
    """The record beside a test that was kept with a fit, after comparing the test's bytes with the checksum in it.

    Raises:
        StoreError: one of the two is missing or damaged.
    """
    record = read_sealed(parquet.with_suffix(".json"))
    if not parquet.is_file() or file_sha256(parquet) != record["sha256"]:
        raise StoreError(f"{parquet}: missing or damaged; {REPAIR}")
    return record
