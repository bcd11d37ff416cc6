"""Tokens of a split under one view, in HDF5: ragged ids and offsets, written whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genies.errors import REPAIR, StoreError
from genies.files import whole_file

if TYPE_CHECKING:
    import h5py

SCORED_VIEW = "plain"
"""The view whose responses' log-probabilities are stored."""
USER_BLOCK = 512
"""Bytes before the HDF5 file, the fewest that HDF5 allows."""
METADATA_BYTES = 8 * 1024
"""At most what a file takes beside its arrays: HDF5's own, the checksum and the description."""


@dataclass(frozen=True)
class Tokens:
    """Tokens of n texts.

    Attributes:
        ids: token ids of all texts, one after the other, int32 (offsets[-1],).
        offsets: text t is ``ids[offsets[t]:offsets[t + 1]]``, int64 (n + 1,).
        prompt_tokens: how many tokens all texts of the example share with the prompt alone, int32 (n,): from that
            position on, tokens count as the response's. Where the end of a prompt and the beginning of a response
            become one token, it is fewer than the prompt has, for all texts of the example alike.
        merged: whether the end of the prompt became one token with the text's response, bool (n,).
        example, response: indices in the distribution's file, int32 (n,).
    """

    ids: np.ndarray
    offsets: np.ndarray
    prompt_tokens: np.ndarray
    merged: np.ndarray
    example: np.ndarray
    response: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def text(self, index: int) -> np.ndarray:
        """Token ids of one text."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]


def select_tokens(tokens: Tokens, rows: Sequence[int]) -> Tokens:
    """Some of the texts, each with its example and response as before."""
    texts = [tokens.text(row) for row in rows]
    return Tokens(
        ids=np.concatenate([np.zeros(0, np.int32), *texts]),
        offsets=np.cumsum([0, *map(len, texts)], dtype=np.int64),
        prompt_tokens=tokens.prompt_tokens[rows],
        merged=tokens.merged[rows],
        example=tokens.example[rows],
        response=tokens.response[rows],
    )


def join_tokens(parts: Sequence[Tokens]) -> Tokens:
    """The texts of all parts, one part after the other."""
    names = ("ids", "prompt_tokens", "merged", "example", "response")
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    return Tokens(
        offsets=np.cumsum([0, *lengths], dtype=np.int64),
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names},
    )


def shared_prefix(one: np.ndarray, other: np.ndarray) -> int:
    """How many tokens two texts, int (length,) each, begin with alike."""
    length = min(len(one), len(other))
    different = np.flatnonzero(one[:length] != other[:length])
    return int(different[0]) if len(different) else length


def empty_examples(tokens: Tokens) -> list[int]:
    """Examples with a text of no token, which no model can read; in order."""
    return sorted(set(tokens.example[np.diff(tokens.offsets) == 0].tolist()))


def indistinct_examples(tokens: Tokens) -> int:
    """How many examples have two responses with the same tokens, which no method can tell apart."""
    seen: set[tuple[int, bytes]] = set()
    found: set[int] = set()
    for row, example in enumerate(tokens.example.tolist()):
        text = (example, tokens.text(row).tobytes())
        if text in seen:
            found.add(example)
        seen.add(text)
    return len(found)


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


def tokens_bytes(tokens: int, texts: int) -> int:
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
