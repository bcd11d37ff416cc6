"""Models: local folders and hub repositories, and the manifest that pins what a model is."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from genies.digests import file_sha256, value_digest
from genies.errors import ModelError, StoreError
from genies.files import read_sealed, write_sealed

log = logging.getLogger(__name__)

WEIGHTS = "*.safetensors"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)


def model_name(identifier: str) -> str:
    """A model's name: the last part of its folder or hub id."""
    return Path(identifier).name


def is_folder(identifier: str) -> bool:
    """Whether an identifier means a local folder: it exists, or cannot be a hub id (``name`` or ``owner/name``)."""
    path = Path(identifier)
    return path.exists() or path.is_absolute() or identifier.startswith((".", "~")) or len(path.parts) > 2


def model_files(folder: Path) -> list[Path]:
    """The files of a model's folder that decide its outputs: configuration, weights, tokenizer.

    Raises:
        ModelError: the folder is missing, has no ``config.json`` or no safetensors weights.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ModelError(f"{folder}: model folder not found; give an existing folder or a hub id such as owner/name")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no config.json; give a folder in the format of save_pretrained")
    weights = sorted(folder.glob(WEIGHTS))
    if not weights:
        raise ModelError(f"{folder}: no *.safetensors weights; convert them (pickle weights are never loaded)")
    tokenizer = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    if not tokenizer:
        raise ModelError(f"{folder}: no tokenizer files; save the model's tokenizer into the same folder")
    return [folder / "config.json", *weights, *tokenizer]


def fetch(identifier: str, revision: str | None) -> Path:
    """The model's folder: itself when local, else its snapshot in the hub's shared cache, downloaded if needed.

    Downloads show progress and resume; gated models use the hub's own token.

    Raises:
        ModelError: neither a folder nor a repository of the hub that can be reached.
    """
    if is_folder(identifier):
        return Path(identifier).expanduser()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                identifier,
                revision=revision,
                allow_patterns=[WEIGHTS, "*.safetensors.index.json", "*.json", "*.model", "*.txt"],
            )
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"{identifier}: neither a local folder nor a model that the hub gave ({reason}); check the name, the "
            "network, and for gated models the hub's token"
        ) from None


def describe_model(identifier: str, revision: str | None, remembered: Path) -> dict[str, Any]:
    """The manifest of a model: where it is, what its files hash to, and the sizes that others need.

    Args:
        identifier: a folder or a hub id.
        revision: the hub's revision (branch, tag or commit); None for the default branch. Ignored for folders.
        remembered: JSON file that keeps the hash of large files by path, size and time, so that each is read once.

    Returns:
        JSON values: ``name``, ``path``, ``revision`` (the commit for hub models), ``files`` (SHA-256 by name),
        ``weights_digest``, ``tokenizer_digest``, ``eos_token`` (id), ``context`` (tokens; None if unbounded),
        ``attention`` (implementation to use).
    """
    folder = fetch(identifier, revision)
    hashes = _hashes(model_files(folder), remembered)
    config = _read_config(folder)
    return {
        "name": model_name(identifier),
        "identifier": identifier,
        "path": str(folder),
        "revision": None if is_folder(identifier) else folder.name,
        "files": hashes,
        **_digests(hashes),
        "eos_token": _eos_token(folder, config),
        "context": _context(config),
        "attention": _attention(folder),
        "architecture": (config.get("architectures") or [config.get("model_type", "unknown")])[0],
    }


def model_digests(identifier: str, revision: str | None, remembered: Path) -> dict[str, str]:
    """``weights_digest`` and ``tokenizer_digest`` of any model, a classifier too; arguments as ``describe_model``."""
    return _digests(_hashes(model_files(fetch(identifier, revision)), remembered))


def hashes_file(cache: Path) -> Path:
    """File of the hashes that are remembered, in the cache."""
    return Path(cache) / "models" / "sha256.json"


def _digests(hashes: dict[str, str]) -> dict[str, str]:
    tokenizer = {name: digest for name, digest in hashes.items() if name in TOKENIZER_FILES}
    weights = {name: digest for name, digest in hashes.items() if name not in TOKENIZER_FILES}
    return {"weights_digest": value_digest(weights), "tokenizer_digest": value_digest(tokenizer)}


def _hashes(files: list[Path], remembered: Path) -> dict[str, str]:
    try:
        known = read_sealed(remembered) if remembered.exists() else {}
    except StoreError as error:
        log.warning("%s; hashing again", error)
        known = {}
    hashes = {}
    for file in files:
        real = file.resolve()
        stat = real.stat()
        key = f"{real}|{stat.st_size}|{stat.st_mtime_ns}"
        if key not in known:
            known[key] = file_sha256(real)
        hashes[file.name] = known[key]
    write_sealed(remembered, known)
    return hashes


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{folder / 'config.json'}: not JSON ({error})") from None
    if not isinstance(config, dict):
        raise ModelError(f"{folder / 'config.json'}: not an object")
    return config


def _text_config(config: dict[str, Any]) -> dict[str, Any]:
    return config.get("text_config") or config


def _context(config: dict[str, Any]) -> int | None:
    text = _text_config(config)
    return next((text[key] for key in ("max_position_embeddings", "n_positions", "max_seq_len") if text.get(key)), None)


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

    try:
        kind = MODEL_FOR_CAUSAL_LM_MAPPING[
            type(AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True))
        ]
    except (KeyError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{folder}: no architecture of a causal language model ({reason})") from None
    return "sdpa" if kind._supports_sdpa else "eager"


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model's folder; no remote code.

    Raises:
        ModelError: transformers cannot load it.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{folder}: its tokenizer cannot be loaded ({reason})") from None
