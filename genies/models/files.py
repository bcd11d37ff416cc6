"""The files of a model, their digests, and the watch over those that a job loads."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from genies.digests import file_sha256, value_digest
from genies.errors import ModelError, StoreError, readable
from genies.files import read_sealed, unless_read_only, write_sealed
from genies.models import gguf
from genies.models.find import WEIGHTS
from genies.models.gguf import is_gguf

log = logging.getLogger(__name__)

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "sentencepiece.model",
    "spm.model",
    "bpe.codes",
    "tekken.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
)
INDEX = "model.safetensors.index.json"
"""Names the files of weights that are in several parts."""
ADAPTER = "adapter_config.json"
"""Makes a folder an adapter of PEFT. In a model's folder, transformers would load it over the weights."""
ADAPTER_WEIGHTS = "adapter_model.safetensors"
REMEMBERED = "sha256.json"
"""File of the hashes that are remembered, in the cache's folder of models."""


def model_files(folder: Path) -> list[Path]:
    """The files that decide a model's outputs: configuration, weights, tokenizer. A GGUF file is all of them.

    Of an adapter they are its own, without those of its base; a tokenizer it may lack.

    Raises:
        ModelError: the folder is missing, has no ``config.json`` or no safetensors weights, or not all of them, or
            holds both a model and an adapter; or there is no GGUF file.
    """
    folder = Path(folder).expanduser()
    if is_gguf(folder):
        return [gguf.check_file(folder)]
    if not folder.is_dir():
        raise ModelError(
            f"{folder.absolute()}: model folder not found; give an existing folder or a hub id such as owner/name"
        )
    if (folder / ADAPTER).exists():
        return [*_adapter_files(folder), *tokenizer_files(folder)]
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no config.json; give a folder in the format of save_pretrained")
    weights = sorted(folder.glob(WEIGHTS))
    if not weights:
        raise ModelError(f"{folder}: no *.safetensors weights; convert them (pickle weights are never loaded)")
    if odd := [file for file in weights if not file.is_file()]:
        raise ModelError(f"{odd[0]}: no regular file, or a link to none; complete the folder")
    _check_parts(folder)
    tokenizer = tokenizer_files(folder)
    if not tokenizer:
        raise ModelError(f"{folder}: no tokenizer files; save the model's tokenizer into the same folder")
    return [folder / "config.json", *weights, *tokenizer]


def _adapter_files(folder: Path) -> list[Path]:
    """Configuration and weights of an adapter."""
    weights = [file.name for file in sorted(folder.glob(WEIGHTS))]
    if others := [name for name in weights if name != ADAPTER_WEIGHTS]:
        raise ModelError(
            f"{folder / ADAPTER}: an adapter, which would change the weights in {others[0]} next to it; move one of "
            "the two into a folder of its own"
        )
    files = [folder / ADAPTER, folder / ADAPTER_WEIGHTS]
    if not files[1].is_file():
        raise ModelError(
            f"{files[1]}: missing; save the adapter as safetensors (pickle weights, such as adapter_model.bin, are "
            "never loaded)"
        )
    return files


def tokenizer_files(folder: Path) -> list[Path]:
    """The files of a folder that decide its tokens; none where it has no tokenizer."""
    return [Path(folder) / name for name in TOKENIZER_FILES if (Path(folder) / name).is_file()]


def _check_parts(folder: Path) -> None:
    """Raise ModelError where the index names weights that are not beside it."""
    if (folder / INDEX).is_file():
        named = read_object(folder / INDEX).get("weight_map")
        if not isinstance(named, dict) or not all(isinstance(name, str) for name in named.values()):
            raise ModelError(
                f"{folder / INDEX}: its weight_map does not name a file for each weight; complete the folder"
            )
        parts, present = sorted(set(named.values())), {file.name for file in folder.glob(WEIGHTS)}
        if absent := [name for name in parts if name not in present]:
            raise ModelError(
                f"{folder / absent[0]}: missing, as are {len(absent) - 1} other of the {len(parts)} files that {INDEX} "
                "names; complete the folder"
            )


class PinnedFiles:
    """The files of a model that a job loads, which must be those that the model's manifest pins, as long as it runs.

    Between the rule ``model`` and a job, and while weights are read, a training may overwrite its checkpoint, or a link
    may be moved. What a job computes would then be kept under the name of other weights.
    """

    def __init__(self, folder: Path, hashes: Mapping[str, str]) -> None:
        """Name the files.

        Args:
            folder: the model's.
            hashes: SHA-256 of its files, by name.
        """
        self.folder = Path(folder)
        self.hashes = dict(hashes)
        self._stamps: dict[str, FileStamp] | None = None

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Self:
        """Those of a manifest, as ``describe_model`` gives it."""
        return cls(Path(described["path"]), described["files"])

    def check(self) -> None:
        """Hash the files when first called, before anything is loaded; later, see that nobody has touched them.

        Raises:
            ModelError: a file is missing, or is another than the manifest pins.
        """
        before = self._stamp()
        if self._stamps is None:
            for name, expected in self.hashes.items():
                with readable(self.folder / name, "cannot be read"):
                    if file_sha256(self.folder / name) != expected:
                        raise ModelError(self._changed(name))
            self._stamps = before
        for name, stamp in self._stamp().items():
            if stamp != self._stamps[name]:
                raise ModelError(self._changed(name))

    def _stamp(self) -> dict[str, FileStamp]:
        with readable(self.folder, "cannot be read"):
            return {name: file_stamp(self.folder / name) for name in self.hashes}

    def _changed(self, name: str) -> str:
        return (
            f"{self.folder / name}: has changed since the rule `model` described it; let nothing write there while "
            "genies runs, and run snakemake again, which takes the new weights"
        )


FileStamp = tuple[str, int, int, int, int]
"""Resolved path, inode, size in bytes, and times of the last change of the contents and of the file, in ns."""
SMALL = 64 * 2**20
"""Bytes of a file up to which it is hashed whenever a run is planned."""


def file_identity(path: Path) -> list[str | int]:
    """What a plan compares of a model's file, so that one that is older, linked, or of the same time is noticed.

    Returns:
        Its resolved path, relative to the working directory where it lies below it; and the SHA-256 of a small file, of
        a larger one its size and the times of its last changes, in ns.
    """
    real, *_, size, modified, changed = file_stamp(path)
    here = Path.cwd()
    place = Path(real).relative_to(here) if Path(real).is_relative_to(here) else real
    return [str(place), file_sha256(Path(real))] if size <= SMALL else [str(place), size, modified, changed]


def file_stamp(path: Path) -> FileStamp:
    """What tells that a file was replaced, written or linked elsewhere, without reading it."""
    real = Path(path).resolve(strict=True)
    stat = real.stat()
    return str(real), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def hashes_file(cache: Path) -> Path:
    """File of the hashes that are remembered, in the cache."""
    return Path(cache) / "models" / REMEMBERED


def tokenizer_digest(folder: Path) -> str | None:
    """``tokenizer_digest`` of a folder's manifest; None where it has no tokenizer.

    Of a GGUF file that is not converted, it is the name of its conversion.
    """
    if is_gguf(folder):
        return gguf.conversion_digest(folder, file_sha256(folder))
    hashes = {file.name: file_sha256(file) for file in tokenizer_files(folder)}
    return digests_of(hashes)["tokenizer_digest"] if hashes else None


def digests_of(hashes: dict[str, str]) -> dict[str, str]:
    tokenizer = {name: digest for name, digest in hashes.items() if name in TOKENIZER_FILES}
    weights = {name: digest for name, digest in hashes.items() if name not in TOKENIZER_FILES}
    return {"weights_digest": value_digest(weights), "tokenizer_digest": value_digest(tokenizer)}


def hashes_of(files: list[Path], remembered: Path, keep: bool = True) -> dict[str, str]:
    """SHA-256 by name, from the file of remembered ones; what that lacks is added to it, unless ``keep`` is False."""
    try:
        known = read_sealed(remembered) if remembered.exists() else {}
    except StoreError as error:
        log.warning("%s; hashing again", error)
        known = {}
    before, hashes = len(known), {}
    for file in files:
        with readable(file, "cannot be read"):
            key = "|".join(map(str, file_stamp(file)))
            if key not in known:
                known[key] = file_sha256(file)
        hashes[file.name] = known[key]
    if keep and len(known) > before:
        with unless_read_only():
            write_sealed(remembered, known)
    return hashes


def read_object(file: Path) -> dict[str, Any]:
    """The object in a model's JSON file.

    Raises:
        ModelError: it cannot be read, or is no object.
    """
    with readable(file, "not JSON"):
        value = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ModelError(f"{file}: not an object")
    return value
