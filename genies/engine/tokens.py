"""Tokens of the texts of a split under one view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SCORED_VIEW = "plain"
"""The view whose responses' log-probabilities are stored."""


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
