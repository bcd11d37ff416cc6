"""How many texts and tokens a run reads, split by split, without reading them with a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genies.activations.forest import build_forest
from genies.activations.splits import ShownSplit, shown_splits, tokens_path
from genies.activations.tokenization import tokens_digest
from genies.activations.tokens import SCORED_VIEW, Tokens, read_tokens
from genies.data.reading import Reading
from genies.data.texts import Split
from genies.data.views import VIEWS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CHARACTERS_PER_TOKEN = 4
"""Of English text under usual vocabularies, roughly; for lack of a tokenizer."""


@dataclass(frozen=True)
class Trees:
    """Some token trees.

    Attributes:
        count: how many.
        tokens: distinct tokens of all.
        squares: sum of the squares of their sizes, which attention within each grows with.
    """

    count: float = 0
    tokens: float = 0
    squares: float = 0

    @classmethod
    def of(cls, sizes: Iterable[int]) -> Trees:
        """Trees of these sizes."""
        array = np.array(list(sizes), np.int64)
        return cls(len(array), int(array.sum()), int((array**2).sum()))

    def __add__(self, other: Trees) -> Trees:
        return Trees(self.count + other.count, self.tokens + other.tokens, self.squares + other.squares)

    def times(self, factor: float) -> Trees:
        """So many times as many trees of the same sizes."""
        return Trees(self.count * factor, self.tokens * factor, self.squares * factor)

    def enlarged(self, tokens: float) -> Trees:
        """The same trees, each with so many tokens more."""
        squares = self.squares + 2 * tokens * self.tokens + self.count * tokens**2
        return Trees(self.count, self.tokens + self.count * tokens, squares)


@dataclass(frozen=True)
class SplitCounts:
    """What is read of one split.

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
    """

    distribution: str
    split: Split
    examples: int
    left_out: int
    changed: bool
    texts: int
    tokens: Mapping[str, int]
    digests: Mapping[str, str]
    extracted: tuple[str, ...]
    trees: Trees
    plain: Trees
    scored: int


class Pieces:
    """Stands for a tokenizer where there is none: texts in pieces of ``CHARACTERS_PER_TOKEN`` characters.

    Texts that begin alike have the same pieces there, so trees merge as those of a tokenizer do.
    """

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
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        padded = np.pad(codes, (0, -len(codes) % CHARACTERS_PER_TOKEN)).reshape(-1, CHARACTERS_PER_TOKEN)
        # A number for each piece that other pieces hardly share.
        mixed = padded.astype(np.uint64) @ (2654435761 ** np.arange(1, CHARACTERS_PER_TOKEN + 1, dtype=np.uint64))
        return (mixed >> np.uint64(33)).astype(np.int64).tolist()


def count_splits(
    tokenizer: PreTrainedTokenizerBase | Pieces,
    tokenizer_digest: str | None,
    context: int | None,
    files: Sequence[tuple[Split, Path]],
    views: Mapping[Split, Sequence[str]],
    reading: Reading,
    cache: Path,
    label: str,
) -> list[SplitCounts]:
    """Count what ``tokenize`` and ``extract`` would make of the splits. Nothing is written.

    Args:
        tokenizer: the model's, or what stands for it.
        tokenizer_digest: as in a model's manifest, for tokens that the cache has; None if they have no name there.
        context: tokens that the model can hold; None if unbounded.
        files: split and file (``<distribution>/<split>.json``) of all that is read.
        views: views by split.
        reading: how the texts are read.
        cache: the cache folder.
        label: stands on the progress bar.
    """
    return [
        _count(shown, tokenizer_digest, tuple(views[shown.split]), Path(cache))
        for shown in shown_splits(tokenizer, context, files, reading, label)
    ]


def _count(shown: ShownSplit, tokenizer_digest: str | None, views: tuple[str, ...], cache: Path) -> SplitCounts:
    digests, tokens = {}, {}
    for view in dict.fromkeys((SCORED_VIEW, *views)):
        if tokenizer_digest:
            digests[view] = tokens_digest(tokenizer_digest, shown.texts, VIEWS[view])[0]
        tokens[view] = _tokens(shown, view, digests.get(view), cache)
    eos = -1 if shown.tokenizer.eos_token_id is None else shown.tokenizer.eos_token_id
    plain = build_forest({SCORED_VIEW: tokens[SCORED_VIEW]}, eos).trees
    together = plain if views == (SCORED_VIEW,) else build_forest({view: tokens[view] for view in views}, eos).trees
    return SplitCounts(
        distribution=shown.distribution,
        split=shown.split,
        examples=shown.examples - len(shown.left_out),
        left_out=len(shown.left_out),
        changed=bool(shown.left_out or shown.shortened),
        texts=len(shown.texts),
        tokens={view: len(table.ids) for view, table in tokens.items()},
        digests=digests,
        extracted=views,
        trees=Trees.of(map(len, together)),
        plain=Trees.of(map(len, plain)),
        scored=sum(len(tree.score_token) for tree in plain),
    )


def _tokens(shown: ShownSplit, view: str, digest: str | None, cache: Path) -> Tokens:
    if digest and tokens_path(cache, digest).exists():
        return read_tokens(tokens_path(cache, digest))
    return shown.tokens(view)
