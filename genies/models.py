"""Models: local folders, GGUF files and hub repositories, and the manifest that pins what a model is."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from genies import gguf, trial
from genies.digests import code_digest, file_sha256, value_digest
from genies.errors import REPAIR, ModelError, StoreError, disk_full, first_line, readable
from genies.files import read_json, read_sealed, write_json, write_sealed
from genies.gguf import is_gguf
from genies.making import MADE_OF, made_of
from genies.users import unless_read_only

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

WEIGHTS = "*.safetensors"
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
"""Makes transformers load an adapter over the weights, or another model's weights altogether."""
WANTED = (WEIGHTS, "*.json", "*.model", "*.txt", "*.jinja", "bpe.codes")
UNWANTED = ("*/*", "consolidated*")
"""What is downloaded of a repository: no subfolders (other formats and precisions), no second copy of the weights."""
MOST_LAYERS = 10_000
"""More layers than any model has."""
LOG_IN = "give the hub a token that may read it (`hf auth login`, or HF_TOKEN)"


def model_name(identifier: str) -> str:
    """A model's name: the last part of its folder or hub id; of a GGUF file, its name without the suffix."""
    return gguf.plain_stem(identifier) if is_gguf(identifier) else Path(identifier).name


def is_local(identifier: str) -> bool:
    """Whether an identifier means a local folder or file: it exists, or cannot be of the hub.

    Of the hub are ``owner/name``, ``name``, and for a GGUF file ``owner/name/…/file.gguf``, unless ``owner/name`` is a
    folder here.
    """
    path = Path(identifier)
    if path.exists() or path.is_absolute() or identifier.startswith((".", "~")):
        return True
    if is_gguf(identifier):
        return len(path.parts) < 3 or Path(_repository(identifier)).is_dir()
    return len(path.parts) > 2


def _repository(identifier: str) -> str:
    """The hub repository in which a model lies."""
    return "/".join(Path(identifier).parts[:2])


def _name_in_repository(identifier: str) -> str:
    """Path of a GGUF file within its hub repository."""
    return "/".join(Path(identifier).parts[2:])


def revision_of(identifier: str, revisions: Mapping[str, str]) -> str | None:
    """The revision that is configured for a model, under its identifier or, for a GGUF file, under its repository."""
    repository = _repository(identifier) if is_gguf(identifier) else None
    return revisions.get(identifier, revisions.get(repository) if repository else None)


def model_files(folder: Path) -> list[Path]:
    """The files that decide a model's outputs: configuration, weights, tokenizer. A GGUF file is all of them.

    Raises:
        ModelError: the folder is missing, has no ``config.json`` or no safetensors weights, or not all of them, or
            holds an adapter; or there is no GGUF file.
    """
    folder = Path(folder).expanduser()
    if is_gguf(folder):
        return [gguf.check_file(folder)]
    if not folder.is_dir():
        raise ModelError(
            f"{folder.absolute()}: model folder not found; give an existing folder or a hub id such as owner/name"
        )
    if (folder / ADAPTER).exists():
        raise ModelError(
            f"{folder / ADAPTER}: an adapter, which would change the weights beside it; merge it into its model first "
            "(merge_and_unload of peft), and give the folder of the result"
        )
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


def fetch(identifier: str, revision: str | None) -> Path:
    """The model's folder or GGUF file: itself when local, else in the hub's shared cache, downloaded if needed.

    What the cache holds whole is taken from there without a request, so that the jobs of a run need the network once
    and a branch that moves changes no run. Downloads show progress. A connection that breaks is taken up where it
    broke; after a kill, files that were finished are kept. Gated models use the hub's own token.

    Raises:
        ModelError: neither local nor a repository, or a file in one, that the hub gives.
        DiskError: the disk of the hub's cache is full.
    """
    if is_local(identifier):
        return Path(identifier).expanduser()
    if is_gguf(identifier):
        return _cached_file(identifier, revision) or _download(identifier, revision)
    return _cached_snapshot(identifier, revision) or _download(identifier, revision)


def _cached_file(identifier: str, revision: str | None) -> Path | None:
    """A GGUF file in the hub's cache, where only whole files have their name."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(_repository(identifier), _name_in_repository(identifier), revision=revision)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def _cached_snapshot(identifier: str, revision: str | None) -> Path | None:
    """The snapshot in the hub's cache, if every file is there that the hub's listing names."""
    from huggingface_hub import get_cached_repo_tree, snapshot_download
    from huggingface_hub.errors import CachedRepoTreeNotFoundError, HFValidationError, LocalEntryNotFoundError

    try:
        get_cached_repo_tree(identifier, revision=revision)  # without a listing nobody knows whether it is whole
        return Path(snapshot_download(
            identifier, revision=revision, allow_patterns=WANTED, ignore_patterns=UNWANTED, local_files_only=True
        ))  # fmt: skip
    except (CachedRepoTreeNotFoundError, HFValidationError, LocalEntryNotFoundError):
        return None


def _download(identifier: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HFValidationError, HTTPError

    try:
        if is_gguf(identifier):
            name = _name_in_repository(identifier)
            return Path(hf_hub_download(_repository(identifier), name, revision=revision))
        return Path(snapshot_download(
            identifier, revision=revision, allow_patterns=WANTED, ignore_patterns=UNWANTED
        ))  # fmt: skip
    except (HTTPError, HFValidationError, OSError, RuntimeError) as error:
        raise disk_full(error) or ModelError(f"{identifier}: {_refusal(error, revision)}") from None


def _refusal(error: Exception, revision: str | None) -> str:
    """Why the hub did not give a model, and what helps."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    reason = first_line(error)
    if isinstance(error, GatedRepoError):
        return f"gated on the hub; ask for access on the model's page, then {LOG_IN}"
    if isinstance(error, RevisionNotFoundError):
        return f"the hub has no revision {revision} of it; name another under revisions"
    if isinstance(error, RepositoryNotFoundError):
        return f"no such model on the hub, or a private one; check the name, and for a private one {LOG_IN}"
    if isinstance(error, RemoteEntryNotFoundError):
        return "the hub's repository has no such file; check the name on the model's page"
    if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
        return f"the hub refuses it ({reason}); {LOG_IN}"
    if isinstance(error, HFValidationError):
        return f"neither a local folder or file nor a hub id ({reason})"
    if isinstance(error, LocalEntryNotFoundError):
        return (
            f"not whole in the hub's cache, and the hub cannot be reached ({reason}); run once where there is a "
            "network, or name a local folder"
        )
    return f"the download failed ({type(error).__name__}: {reason}); run again, finished files are kept"


def cached_folder(identifier: str, revision: str | None) -> Path | None:
    """Folder of a hub model's configuration in the hub's cache, whatever else is there; None if it is not. Offline."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(identifier, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def find_here(identifier: str, revision: str | None, remembered: Path) -> Path | None:
    """Where a model's configuration and tokenizer can be read now, without network and conversion. Nothing is written.

    Arguments as ``describe_model``; hashes that ``remembered`` lacks are not kept in it.

    Returns:
        Its folder, which for a GGUF file is that of its conversion; else the GGUF file; None if nothing is here.

    Raises:
        ModelError: there is no such local folder or file.
    """
    local = is_local(identifier)
    if not is_gguf(identifier):
        return Path(identifier).expanduser() if local else cached_folder(identifier, revision)
    file = Path(identifier).expanduser() if local else _cached_file(identifier, revision)
    if file is None:
        return None
    (sha256,) = _hashes(model_files(file), remembered, keep=False).values()
    return gguf.find_converted(file, sha256, remembered.parent) or file


def _converted(file: Path, remembered: Path) -> Path:
    (sha256,) = _hashes(model_files(file), remembered).values()
    return gguf.converted_folder(file, sha256, remembered.parent)


def describe_model(identifier: str, revision: str | None, remembered: Path) -> dict[str, Any]:
    """The manifest of a model: where it is, what its files hash to, and the sizes that others need.

    A GGUF file is converted first, unless that was done before; the manifest describes the folder that this gave.

    Args:
        identifier: a folder, a GGUF file, a hub id, or ``owner/name/file.gguf`` on the hub.
        revision: the hub's revision (branch, tag or commit); None for the default branch. Ignored for local models.
        remembered: JSON file that keeps the hash of large files by path, size and time, so that each is read once.
            Conversions lie in the same folder.

    Returns:
        JSON values: ``name``, ``identifier``, ``path``, ``asked_revision``, ``revision`` (the commit for hub models),
        ``converted`` (digest of the conversion of a GGUF file, else None), ``files`` (SHA-256 by name),
        ``weights_digest``, ``tokenizer_digest``, ``eos_token`` (id), ``context`` (tokens; None if unbounded),
        ``attention`` (implementation to use).

    Raises:
        ModelError: the model is not there, not whole, or cannot be used.
        DiskError: a disk is full.
    """
    found = fetch(identifier, revision)
    folder = _converted(found, remembered) if is_gguf(found) else found
    hashes = _hashes(model_files(folder), remembered)
    config = read_object(folder / "config.json")
    refuse_layers(folder, config)
    try_tokenizer(folder, remembered)
    with readable(folder, "its config.json cannot be used"):
        decided = {
            "eos_token": _eos_token(folder, config),
            "context": context_of(config),
            "attention": _attention(folder),
            "architecture": _architecture(config),
        }
    return {
        "name": model_name(identifier),
        "identifier": identifier,
        "path": str(folder),
        "asked_revision": revision,
        "revision": None if is_local(identifier) else _commit(found),
        "converted": folder.name if is_gguf(found) else None,
        "files": hashes,
        **_digests(hashes),
        **decided,
    }


def pin_model(identifier: str, revision: str | None, cache: Path, output: Path) -> None:
    """Write the manifest of a model, which later stages read.

    Args:
        identifier: as ``describe_model`` takes it.
        revision: likewise.
        cache: the cache folder.
        output: manifest to write: what it is ``made_of``, and what ``describe_model`` gives.
    """
    described = describe_model(identifier, revision, hashes_file(cache))
    write_json(output, {MADE_OF: made_of(code_digest(__name__), {}), **described})


def _commit(found: Path) -> str:
    """The commit of what was downloaded, from its path ``…/snapshots/<commit>/…`` in the hub's cache."""
    return found.parts[len(found.parts) - found.parts[::-1].index("snapshots")]


def read_model(manifest: Path) -> dict[str, Any]:
    """The manifest of a model, as ``describe_model`` gave it.

    Raises:
        StoreError: it is missing or damaged, or the conversion of a GGUF file that it names is not in the cache.
    """
    described = read_json(manifest, "name", "path", "weights_digest", "tokenizer_digest", "context")
    if described.get("converted") and not gguf.is_converted(Path(described["path"])):
        raise StoreError(f"{described['path']}: the converted model that {manifest} names is missing; {REPAIR}")
    return described


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


def model_digests(identifier: str, revision: str | None, remembered: Path) -> dict[str, str]:
    """``weights_digest`` and ``tokenizer_digest`` of any model, a classifier too; arguments as ``describe_model``."""
    return _digests(pinned_files(identifier, revision, remembered).hashes)


def pinned_files(identifier: str, revision: str | None, remembered: Path) -> PinnedFiles:
    """The files of any model, a classifier too; arguments as ``describe_model``."""
    folder = fetch(identifier, revision)
    return PinnedFiles(folder, _hashes(model_files(folder), remembered))


def hashes_file(cache: Path) -> Path:
    """File of the hashes that are remembered, in the cache."""
    return Path(cache) / "models" / "sha256.json"


def tokenizer_digest(folder: Path) -> str | None:
    """``tokenizer_digest`` of a folder's manifest; None where it has no tokenizer.

    Of a GGUF file that is not converted, it is the name of its conversion.
    """
    if is_gguf(folder):
        return gguf.conversion_digest(folder, file_sha256(folder))
    hashes = {file.name: file_sha256(file) for file in tokenizer_files(folder)}
    return _digests(hashes)["tokenizer_digest"] if hashes else None


def _digests(hashes: dict[str, str]) -> dict[str, str]:
    tokenizer = {name: digest for name, digest in hashes.items() if name in TOKENIZER_FILES}
    weights = {name: digest for name, digest in hashes.items() if name not in TOKENIZER_FILES}
    return {"weights_digest": value_digest(weights), "tokenizer_digest": value_digest(tokenizer)}


def _hashes(files: list[Path], remembered: Path, keep: bool = True) -> dict[str, str]:
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


def refuse_layers(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise ModelError where a configuration has more layers than any model, whose making would not end."""
    text = config.get("text_config")
    for key, value in (*config.items(), *(text.items() if isinstance(text, dict) else ())):
        if "layer" in key and isinstance(value, int) and value > MOST_LAYERS:
            raise ModelError(
                f"{folder / 'config.json'}: {key} is more than {MOST_LAYERS}, which no model has; correct it"
            )


def _text_config(config: dict[str, Any]) -> dict[str, Any]:
    text = config.get("text_config") or config
    if not isinstance(text, dict):
        raise TypeError(f"text_config is {text!r}, not an object")
    return text


def context_of(config: dict[str, Any]) -> int | None:
    """Tokens that a model of this configuration can hold; None if it states no bound.

    Raises:
        TypeError: the bound is no whole number, or the part on texts no object.
    """
    text = _text_config(config)
    key = next((key for key in ("max_position_embeddings", "n_positions", "max_seq_len") if text.get(key)), None)
    if key is not None and not (isinstance(text[key], int) and text[key] > 0):
        raise TypeError(f"{key} is {text[key]!r}, not a positive whole number")
    return text.get(key)


def _architecture(config: dict[str, Any]) -> str:
    names = config.get("architectures")
    return str(names[0] if isinstance(names, list) and names else config.get("model_type", "unknown"))


def _eos_token(folder: Path, config: dict[str, Any]) -> int:
    """The tokenizer's EOS id (what ends a response as a text), else the configuration's first one."""
    tokenizer = load_tokenizer(folder)
    eos = tokenizer.eos_token_id
    if eos is None:
        eos = _text_config(config).get("eos_token_id")
        eos = eos[0] if isinstance(eos, list) else eos
    if eos is None:
        raise ModelError(f"{folder}: neither tokenizer nor config.json names an end-of-sequence token")
    return int(eos)


def _attention(folder: Path) -> str:
    """The attention implementation to use: sdpa where the architecture has it, else eager."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    with readable(folder, "no architecture of a causal language model"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        kind = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    return "sdpa" if kind._supports_sdpa else "eager"


def load_weights(kind: Any, folder: Path, what: str, **options: Any) -> tuple[PreTrainedModel, frozenset[str]]:
    """Load a model from its folder; safetensors only, no remote code.

    Args:
        kind: one of the auto classes of transformers.
        folder: a folder in the format of ``save_pretrained``.
        what: the model that it is to be, for errors.
        **options: further arguments of ``from_pretrained``.

    Returns:
        The model, and the names of weights that the folder lacks and that are therefore random; tied ones are not.

    Raises:
        ModelError: transformers cannot load it, or its weights are of other sizes than that.
    """
    with readable(folder, f"cannot be loaded as {what}"):
        model, report = kind.from_pretrained(
            folder,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # the report names them, an error of transformers would not
            **options,
        )
    if sizes := sorted(report["mismatched_keys"]):
        name, stored, wanted = sizes[0]
        raise ModelError(
            f"{folder}: cannot be loaded as {what} ({name} is {list(stored)}, not {list(wanted)}; {len(sizes)} such "
            "weights); give configuration and weights that belong together"
        )
    return model, frozenset(report["missing_keys"])


def refuse_lacking(folder: Path, missing: Collection[str], remedy: str) -> None:
    """Raise ModelError where weights are missing, which transformers would have drawn at random."""
    if missing:
        names = ", ".join(sorted(missing)[:3])
        raise ModelError(f"{folder}: its weights lack {names} ({len(missing)} in all); {remedy}")


def try_tokenizer(folder: Path, remembered: Path, keep: bool = True) -> None:
    """Try a folder's tokenizer and chat template in a child process, unless the same files passed before.

    Args:
        folder: the model's, or only a tokenizer's.
        remembered: as ``describe_model`` takes it; what passed is kept beside it.
        keep: whether to keep it.

    Raises:
        ModelError: the tokenizer cannot be loaded, or takes more time or memory than a trial has.
    """
    files = [folder / "config.json", *tokenizer_files(folder)]
    hashes = {file.name: file_sha256(file) for file in files if file.is_file()}
    trial.try_once(folder, hashes, remembered.parent / trial.FILE, keep, load_tokenizer)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model's folder or GGUF file; no remote code.

    Raises:
        ModelError: transformers cannot load it.
    """
    from transformers import AutoTokenizer

    if is_gguf(folder):
        return gguf.load_tokenizer(folder)
    with readable(folder, "its tokenizer cannot be loaded"):
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
