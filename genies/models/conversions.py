"""Models that genies makes of other files, once: of a GGUF file, or of an adapter and its base.

A conversion is named by a digest of everything that decides its bytes. Its folder is whole once its record is there,
which is written last.

Layout::

    <cache>/models/<digest>/
      conversion.json    what was converted and how, SHA-256 of the other files; and its own checksum
      config.json, generation_config.json, *.safetensors, tokenizer files
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from genies.digests import file_sha256, value_digest
from genies.errors import REPAIR, StoreError, readable
from genies.files import filled_folder, read_sealed, share, write_sealed
from genies.locks import locked

RECORD_FILE = "conversion.json"

log = logging.getLogger(__name__)


def converted_folder(
    root: Path, fields: Mapping[str, Any], name: str, what: Path, load: Callable[[], Callable[[Path], None]]
) -> Path:
    """The folder of a conversion, which is made if it is not there. Only one process makes it.

    Args:
        root: folder of all conversions.
        fields: JSON values that decide its bytes; the folder's name is their digest.
        name: of the model, for people.
        what: the file or folder that is converted, for messages.
        load: loads the model, and returns what writes it into a folder.
    """
    folder = root / value_digest(dict(fields))
    if not is_whole(folder):
        with locked(root, [folder.name], str(what)):
            if not is_whole(folder):
                shutil.rmtree(folder, ignore_errors=True)
                _convert(folder, fields, name, load)
                log.info("%s: converted into %s", what, folder)
    return folder


def find_converted(root: Path, fields: Mapping[str, Any]) -> Path | None:
    """The folder of a conversion, if it is there and whole; arguments as ``converted_folder``."""
    folder = root / value_digest(dict(fields))
    return folder if is_whole(folder) else None


def is_converted(folder: Path) -> bool:
    """Whether the conversion into a folder came to its end."""
    return (folder / RECORD_FILE).is_file()


def is_whole(folder: Path) -> bool:
    """Whether every file is there that a readable record names. Their bytes are not read."""
    if not is_converted(folder):
        return False
    try:
        return all((folder / name).is_file() for name in read_sealed(folder / RECORD_FILE)["files"])
    except StoreError as error:
        log.warning("%s; converting again", error)
        return False


def check_converted(folder: Path) -> dict[str, Any]:
    """The record of a conversion, after comparing the folder's files with the checksums in it.

    Raises:
        StoreError: a file is missing or damaged.
    """
    record = read_sealed(folder / RECORD_FILE)
    for name, expected in record["files"].items():
        if not (folder / name).is_file() or file_sha256(folder / name) != expected:
            raise StoreError(f"{folder / name}: missing, or not the file that {RECORD_FILE} names; {REPAIR}")
    return record


def _convert(folder: Path, fields: Mapping[str, Any], name: str, load: Callable[[], Callable[[Path], None]]) -> None:
    write = load()
    with filled_folder(folder, last=RECORD_FILE) as partial:
        with readable(folder, "the converted model cannot be written"):
            write(partial)
        share(*partial.iterdir())
        hashes = {path.name: file_sha256(path) for path in sorted(partial.iterdir())}
        write_sealed(partial / RECORD_FILE, {"name": name, "digest": dict(fields), "files": hashes})
