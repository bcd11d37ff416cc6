"""The manifest that pins what a model is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genies.errors import REPAIR, ModelError, StoreError, readable
from genies.files import read_json
from genies.models import adapters, conversions, gguf, merging
from genies.models.files import digests_of, hashes_of, model_files, read_object
from genies.models.find import cached_file, cached_folder, fetch, is_local, model_name
from genies.models.gguf import is_gguf
from genies.models.load import context_of, load_tokenizer, refuse_layers, text_config, try_tokenizer


def found(identifier: str, revision: str | None) -> Path | None:
    """The folder of a model or an adapter as it is named, without network; None if it is not here."""
    return Path(identifier).expanduser() if is_local(identifier) else cached_folder(identifier, revision)


def find_here(
    identifier: str,
    revision: str | None,
    remembered: Path,
    base: str | None = None,
    base_revision: str | None = None,
) -> Path | None:
    """Where a model's configuration and tokenizer can be read now, without network and conversion. Nothing is written.

    Arguments as ``describe_model``; hashes that ``remembered`` lacks are not kept in it.

    Returns:
        Its folder, which for a GGUF file is that of its conversion, and for an adapter that of its base; else the GGUF
        file; None if nothing is here.

    Raises:
        ModelError: there is no such local folder or file.
    """
    local = is_local(identifier)
    if not is_gguf(identifier):
        folder = found(identifier, revision)
        if folder is None or not adapters.is_adapter(folder):
            return folder
        return find_here(adapters.base_of(folder, base), base_revision, remembered)
    file = Path(identifier).expanduser() if local else cached_file(identifier, revision)
    if file is None:
        return None
    (sha256,) = hashes_of(model_files(file), remembered, keep=False).values()
    return gguf.find_converted(file, sha256, remembered.parent) or file


def describe_model(
    identifier: str,
    revision: str | None,
    remembered: Path,
    base: str | None = None,
    base_revision: str | None = None,
) -> dict[str, Any]:
    """The manifest of a model: where it is, what its files hash to, and the sizes that others need.

    A GGUF file is converted first, and an adapter is merged into its base, unless that was done before; the manifest
    describes the folder that this gave.

    Args:
        identifier: a folder, a GGUF file, a hub id, or ``owner/name/file.gguf`` on the hub; of a model or an adapter.
        revision: the hub's revision (branch, tag or commit); None for the default branch. Ignored for local models.
        remembered: JSON file that keeps the hash of large files by path, size and time, so that each is read once.
            Conversions lie in the same folder.
        base: folder, GGUF file or hub id of an adapter's base; None for the one that its configuration names.
        base_revision: the hub's revision of that base; None for what the adapter's configuration names.

    Returns:
        JSON values: ``name``, ``identifier``, ``path``, ``asked_revision``, ``revision`` (the commit for hub models),
        ``converted`` (digest of the conversion of a GGUF file or an adapter, else None), ``adapter`` (of an adapter:
        ``kind``, ``base`` as named, ``asked_base_revision``, ``base_revision`` (the commit), and the
        ``weights_digest`` and ``tokenizer_digest`` of the base; else None), ``files`` (SHA-256 by name),
        ``weights_digest``, ``tokenizer_digest``, ``eos_token`` (id), ``context`` (tokens of texts, without virtual
        ones; None if unbounded), ``attention`` (implementation to use).

    Raises:
        ModelError: the model is not there, not whole, or cannot be used.
        DiskError: a disk is full.
    """
    place = fetch(identifier, revision)
    folder, adapter = _made(place, identifier, remembered, base, base_revision)
    return {
        "name": model_name(identifier),
        "identifier": identifier,
        "asked_revision": revision,
        "revision": None if is_local(identifier) else _commit(place),
        "converted": None if folder == place else folder.name,
        "adapter": adapter,
        **describe_folder(folder, remembered),
    }


def describe_folder(folder: Path, remembered: Path) -> dict[str, Any]:
    """The part of a manifest that follows from the folder of a causal language model; see ``describe_model``.

    Raises:
        ModelError: it cannot be used.
    """
    hashes = hashes_of(model_files(folder), remembered)
    config = read_object(folder / "config.json")
    refuse_layers(folder, config)
    try_tokenizer(folder, remembered)
    with readable(folder, "its config.json cannot be used"):
        decided = {
            "eos_token": _eos_token(folder, config),
            "context": _context(folder, config),
            "attention": _attention(folder),
            "architecture": _architecture(config),
        }
    return {"path": str(folder), "files": hashes, **digests_of(hashes), **decided}


def _made(
    place: Path, identifier: str, remembered: Path, base: str | None, base_revision: str | None
) -> tuple[Path, dict[str, Any] | None]:
    """The folder of a model that can be loaded, and what the manifest says of an adapter."""
    if is_gguf(place):
        (sha256,) = hashes_of(model_files(place), remembered).values()
        return gguf.converted_folder(place, sha256, remembered.parent), None
    if not adapters.is_adapter(place):
        if base:
            raise ModelError(f"bases: {identifier} is no adapter, so it has no base; leave it out")
        return place, None
    adapted = adapters.Adapted.of(place, base, base_revision, remembered)
    named, asked = adapted.named
    told = {**adapted.stated(), "base_revision": None if is_local(named) else _commit(fetch(named, asked))}
    return adapted.merged(remembered.parent, "language model", model_name(identifier)), told


def _context(folder: Path, config: dict[str, Any]) -> int | None:
    context = context_of(config)
    return None if context is None else context - merging.virtual_tokens(folder)


def _commit(found: Path) -> str:
    """The commit of what was downloaded, from its path ``…/snapshots/<commit>/…`` in the hub's cache."""
    return found.parts[len(found.parts) - found.parts[::-1].index("snapshots")]


def read_model(manifest: Path) -> dict[str, Any]:
    """The manifest of a model, as ``describe_model`` gave it.

    Raises:
        StoreError: it is missing or damaged, or the conversion of a GGUF file that it names is not in the cache.
    """
    described = read_json(manifest, "name", "path", "weights_digest", "tokenizer_digest", "context")
    if described.get("converted") and not conversions.is_converted(Path(described["path"])):
        raise StoreError(f"{described['path']}: the converted model that {manifest} names is missing; {REPAIR}")
    return described


def _architecture(config: dict[str, Any]) -> str:
    names = config.get("architectures")
    return str(names[0] if isinstance(names, list) and names else config.get("model_type", "unknown"))


def _eos_token(folder: Path, config: dict[str, Any]) -> int:
    """The tokenizer's EOS id (what ends a response as a text), else the configuration's first one."""
    tokenizer = load_tokenizer(folder)
    eos = tokenizer.eos_token_id
    if eos is None:
        eos = text_config(config).get("eos_token_id")
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
        kind: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    return "sdpa" if kind._supports_sdpa else "eager"
