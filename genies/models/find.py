"""Where models are: local folders, GGUF files and hub repositories."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from genies.errors import ModelError, disk_full, first_line
from genies.models import gguf
from genies.models.gguf import is_gguf

WEIGHTS = "*.safetensors"
WANTED = (WEIGHTS, "*.json", "*.model", "*.txt", "*.jinja", "bpe.codes")
UNWANTED = ("*/*", "consolidated*")
"""What is downloaded of a repository: no subfolders (other formats and precisions), no second copy of the weights."""
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
        return cached_file(identifier, revision) or _download(identifier, revision)
    return _cached_snapshot(identifier, revision) or _download(identifier, revision)


def cached_file(identifier: str, revision: str | None) -> Path | None:
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
            identifier, revision=revision, allow_patterns=list(WANTED), ignore_patterns=list(UNWANTED),
            local_files_only=True,
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
            identifier, revision=revision, allow_patterns=list(WANTED), ignore_patterns=list(UNWANTED)
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

    names = ("adapter_config.json", "config.json")
    found = [try_to_load_from_cache(identifier, name, revision=revision) for name in names]
    return next((Path(file).parent for file in found if isinstance(file, str)), None)
