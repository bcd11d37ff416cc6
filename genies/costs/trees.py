"""Sums over token trees, and what is counted of a split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from genies.costs.sampling import Count
from genies.data.options import Split

if TYPE_CHECKING:
    pass


CHARACTERS_PER_TOKEN = 4
"""Of English text under usual vocabularies, roughly; for lack of a tokenizer."""
MIXING = 2654435761 ** np.arange(1, CHARACTERS_PER_TOKEN + 1, dtype=np.uint64)
"""By what the characters of a piece are multiplied, modulo 2⁶⁴."""


@dataclass(frozen=True)
class Trees:
    """Some token trees.

    Attributes:
        count: how many.
        tokens: distinct tokens of all.
        squares: sum of the squares of their sizes, which attention within each grows with.
    """

    count: Count = 0
    tokens: Count = 0
    squares: Count = 0

    @classmethod
    def of(cls, sizes: Iterable[int]) -> Trees:
        """Trees of these sizes."""
        array = np.array(list(sizes), np.int64)
        return cls(len(array), int(array.sum()), int((array**2).sum()))

    def __add__(self, other: Trees) -> Trees:
        return Trees(self.count + other.count, self.tokens + other.tokens, self.squares + other.squares)

    def times(self, factor: Count) -> Trees:
        """So many times as many trees of the same sizes."""
        return Trees(self.count * factor, self.tokens * factor, self.squares * factor)

    def enlarged(self, tokens: Count) -> Trees:
        """The same trees, each with so many tokens more."""
        squares = self.squares + 2 * tokens * self.tokens + self.count * tokens**2
        return Trees(self.count, self.tokens + self.count * tokens, squares)

    def after(self, tokens: Count) -> Trees:
        """The same trees, each token of which attends to so many tokens more that are not part of them."""
        return Trees(self.count, self.tokens, self.squares + tokens * self.tokens)


@dataclass(frozen=True)
class SplitCounts:
    """What is read of one split. Tokens are estimates where a sample was tokenized (``genies.costs.sampling``).

    Attributes:
        distribution, split: which one.
        examples: how many are read.
        left_out: those that the model's context cannot hold.
        changed: whether the context has left out or shortened any.
        texts: responses that are read.
        tokens: tokens of those by view, each text by itself; the views that are extracted, and ``plain``.
        digests: name of those tokens in the cache, by view; empty where the tokenizer is no file.
        extracted: views that are extracted.
        trees: trees over those views.
        plain: trees over the view ``plain`` alone, as interventions read them that read texts.
        scored: tokens whose log-probability is summed, that is those of the responses, and EOS.
        self_test: about how many tokens the self-test of the extraction passes, and ``plain_self_test`` that of an
            intervention that reads texts.
        tokenized: examples that were tokenized for this.
    """

    distribution: str
    split: Split
    examples: int
    left_out: int
    changed: bool
    texts: int
    tokens: Mapping[str, Count]
    digests: Mapping[str, str] = field(compare=False)
    extracted: tuple[str, ...]
    trees: Trees
    plain: Trees
    scored: Count
    self_test: float
    plain_self_test: float
    tokenized: int


class Pieces:
    """Used where there is no tokenizer: cuts texts into pieces of ``CHARACTERS_PER_TOKEN`` characters.

    Texts that begin alike have the same pieces there, so trees merge as those of a tokenizer do.
    """

    is_fast = True
    eos_token_id = None
    chat_template = None
    name_or_path = f"{CHARACTERS_PER_TOKEN} characters per token"

    def __call__(self, texts: Sequence[str] | str, return_offsets_mapping: bool = False, **_: Any) -> dict[str, Any]:
        """``input_ids`` of each text, and of a single one also ``offset_mapping``, as tokenizers of transformers do."""
        if isinstance(texts, str):
            ids = self._ids(texts)
            spans = [(index * CHARACTERS_PER_TOKEN, (index + 1) * CHARACTERS_PER_TOKEN) for index in range(len(ids))]
            return {"input_ids": ids, "offset_mapping": spans}
        return {"input_ids": [self._ids(text) for text in texts]}

    @staticmethod
    def _ids(text: str) -> list[int]:
        padded = text + "\0" * (-len(text) % CHARACTERS_PER_TOKEN)
        codes = np.frombuffer(padded.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
        # A number for each piece that other pieces hardly share.
        mixed = codes.reshape(-1, CHARACTERS_PER_TOKEN) @ MIXING
        return (mixed >> np.uint64(33)).astype(np.int64).tolist()
