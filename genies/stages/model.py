"""The stage ``model``: the manifest that pins a model."""

from __future__ import annotations

from pathlib import Path

from genies.digests import code_digest
from genies.files import write_json
from genies.making import MADE_OF, made_of
from genies.models.describe import describe_model
from genies.models.files import hashes_file


def pin_model(
    identifier: str,
    *,
    revision: str | None = None,
    base: str | None = None,
    base_revision: str | None = None,
    cache: Path = Path("cache"),
    output: Path,
) -> None:
    """Find or download a model and write the manifest that pins it.

    Args:
        identifier: local folder, ``.gguf`` file, hub id, or ``owner/name/file.gguf`` on the hub.
        revision: hub revision: branch, tag or commit.
        base: of an adapter, its base: folder, ``.gguf`` file or hub id; default: the one that the adapter names.
        base_revision: hub revision of that base; default: the one that the adapter names.
        cache: the cache folder.
        output: manifest to write: what it is ``made_of``, and what ``describe_model`` gives.
    """
    described = describe_model(identifier, revision, hashes_file(cache), base, base_revision)
    write_json(output, {MADE_OF: made_of(code_digest(__name__), {}), **described})
