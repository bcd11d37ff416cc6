"""Tokens of a split under one view, in HDF5: ragged ids and offsets, written whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genies.data.texts import Text, texts_digest
from genies.data.views import View
from genies.digests import computed_by, value_digest
from genies.engine.tokens import Tokens
from genies.errors import REPAIR, StoreError
from genies.files import whole_file

if TYPE_CHECKING:
    import h5py


USER_BLOCK = 512
"""Bytes before the HDF5 file, the fewest that HDF5 allows."""
METADATA_BYTES = 8 * 1024
"""At most what a file takes beside its arrays: HDF5's own, the checksum and the description."""


def write_tokens(path: Path, tokens: Tokens, attributes: dict[str, Any]) -> None:
    """Write tokens to an HDF5 file; ``attributes`` (JSON values) describe it to a reader.

    The SHA-256 of its bytes stands before them, in what HDF5 calls the user block, which its readers pass over.
    """
    import h5py

    content = io.BytesIO()
    with h5py.File(content, "w", userblock_size=USER_BLOCK) as file:
        for name, array in vars(tokens).items():
            file.create_dataset(name, data=array)
        file.attrs["about"] = json.dumps(attributes)
    data = content.getvalue()[USER_BLOCK:]
    with whole_file(path) as partial:
        partial.write_bytes(_user_block(data) + data)


def tokens_bytes(tokens: float, texts: int) -> float:
    """Bytes of the file of so many texts with so many tokens together: arrays exactly, and ``METADATA_BYTES``."""
    return 4 * tokens + 8 * (texts + 1) + (3 * 4 + 1) * texts + METADATA_BYTES


def _user_block(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode().ljust(USER_BLOCK, b"\0")


def read_attributes(path: Path) -> dict[str, Any]:
    """The attributes that were written with the tokens.

    Raises:
        StoreError: the file is missing or damaged.
    """
    with _opened(path) as file:
        return json.loads(file.attrs["about"])


def read_tokens(path: Path) -> Tokens:
    """Read what ``write_tokens`` wrote.

    Raises:
        StoreError: the file is missing or damaged.
    """
    with _opened(path) as file:
        return Tokens(**{name: file[name][...] for name in Tokens.__dataclass_fields__})


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """The file, after comparing its bytes with their checksum."""
    import h5py

    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); {REPAIR}") from None
    if content[:USER_BLOCK] != _user_block(content[USER_BLOCK:]):
        raise StoreError(f"{path}: damaged; {REPAIR}")
    with h5py.File(io.BytesIO(content), "r") as file:
        yield file


def tokens_digest(tokenizer_digest: str, texts: Sequence[Text], view: View) -> tuple[str, dict[str, Any]]:
    """Name of the tokens, and the fields that it is the digest of: all that decides their bytes."""
    fields = {
        "tokenizer": tokenizer_digest,
        "texts": texts_digest(texts),
        "view": view.describe(),
        **computed_by("genies.engine.tokenization"),
    }
    return value_digest(fields), fields


def tokens_path(cache: Path, digest: str) -> Path:
    """File of tokens in the cache."""
    return Path(cache) / "tokens" / f"{digest}.h5"
