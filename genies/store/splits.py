"""Splits as a model is shown them: which examples are drawn, how prompts look, what the context holds."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from genies.data.framing import Framed
from genies.data.options import Reading, Split
from genies.data.prompts import Presentation, characters_over
from genies.data.reading import read_drawn
from genies.data.texts import Text, split_texts
from genies.data.views import VIEWS
from genies.engine.tokenization import prompt_tokens, tokenize, tokens_over
from genies.engine.tokens import Tokens, join_tokens, select_tokens
from genies.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


PART = 1_000
"""Texts that are tokenized at a time: what a tokenizer says of a text takes far more memory than its token ids."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShownSplit:
    """A split as a model is shown it.

    Attributes:
        file: ``<distribution>/<split>.json``.
        split: "train" or "test".
        available: how many examples the file has, under the run's framing.
        examples: how many of them are drawn.
        left_out: those drawn that the model's context cannot hold.
        shortened: characters dropped from the front of a prompt, by example.
        texts: the texts that are read.
        tokenizer: the model's.
        plain: their tokens under the view ``plain``, where the context asked for them.
    """

    file: Path
    split: Split
    available: int
    examples: int
    left_out: list[int]
    shortened: Mapping[int, int]
    texts: list[Text]
    tokenizer: PreTrainedTokenizerBase
    plain: Tokens | None

    @property
    def distribution(self) -> str:
        """Name of the distribution."""
        return self.file.parent.name

    def tokens(self, view: str) -> Tokens:
        """Tokens of the texts under a view."""
        if view == "plain" and self.plain is not None:
            return self.plain
        return join_tokens(
            [tokenize(self.tokenizer, part, VIEWS[view], self._prompt_tokens) for part in _parts(self.texts)]
        )

    @cached_property
    def _prompt_tokens(self) -> dict[str, np.ndarray]:
        return {
            prompt: ids for part in _parts(self.texts) for prompt, ids in prompt_tokens(self.tokenizer, part).items()
        }


def _parts(texts: Sequence[Text]) -> list[list[Text]]:
    """Parts of at least ``PART`` texts, but for the last one; texts of one example are in one part."""
    parts: list[list[Text]] = [[]]
    for _, of_example in itertools.groupby(texts, key=lambda text: text.example):
        if len(parts[-1]) >= PART:
            parts.append([])
        parts[-1].extend(of_example)
    return parts


def shown_splits(
    tokenizer: PreTrainedTokenizerBase,
    context: int | None,
    files: Sequence[tuple[Split, Path]],
    reading: Reading,
    label: str,
) -> Iterator[ShownSplit]:
    """The splits one after the other, as a model with this tokenizer and context is shown them.

    Args:
        tokenizer: the model's.
        context: tokens that the model can hold; None if unbounded.
        files: split and file (``<distribution>/<split>.json``) of all that is read.
        reading: how the texts are read.
        label: stands on the progress bar.

    Raises:
        DataError: a file breaks the format, or the context holds none of the examples drawn.
    """
    for split, file in tqdm(files, desc=label, unit="split", mininterval=2):
        shown = show_split(tokenizer, context, file, DrawnSplit(*read_drawn(file, reading), split, reading))
        refuse_unreadable(file, shown.examples, len(shown.left_out), context)
        if shown.shortened:
            log.warning(
                "%s: the prompts of %d examples exceed the model's context, shortened", file, len(shown.shortened)
            )
        if shown.left_out:
            count = shown.examples
            log.warning("%s: %d of %d examples exceed the model's context, left out", file, len(shown.left_out), count)
        yield shown


def show_split(tokenizer: PreTrainedTokenizerBase, context: int | None, file: Path, drawn: DrawnSplit) -> ShownSplit:
    """One split as a model with this tokenizer and context is shown it; even if the context holds none of it."""
    presentation, plain, left_out = _fit_context(tokenizer, drawn, context)
    texts = drawn.shown(tokenizer, presentation)
    kept = [row for row, text in enumerate(texts) if text.example not in left_out]
    if plain is not None and left_out:
        plain = select_tokens(plain, kept)
    return ShownSplit(
        file=file,
        split=drawn.split,
        available=len(drawn.framed.examples),
        examples=len(drawn.indices),
        left_out=left_out,
        shortened=presentation.shortened,
        texts=[texts[row] for row in kept],
        tokenizer=tokenizer,
        plain=plain,
    )


def refuse_unreadable(file: Path, examples: int, left_out: int, context: int | None) -> None:
    """Raise DataError where the context holds no example of a split."""
    if left_out == examples:
        raise DataError(
            f"{file}: every example is longer than the model's context of {context} tokens; use a model with a longer "
            "context or leave the distribution out"
        )


@dataclass(frozen=True)
class DrawnSplit:
    """A split's examples, and the indices of those that are read."""

    framed: Framed
    indices: list[int]
    split: Split
    reading: Reading

    @cached_property
    def texts(self) -> list[Text]:
        """Those that are read, by the texts of the file, so that how they are shown plays no part in what is drawn."""
        chosen = set(self.indices)
        texts = split_texts(self.framed.examples, self.split, self.reading.seed)
        return [text for text in texts if text.example in chosen]

    def shown(self, tokenizer: PreTrainedTokenizerBase, presentation: Presentation) -> list[Text]:
        """The same with their prompts as they are shown."""
        examples, dropped = self.framed.examples, presentation.shortened
        prompts = {
            i: presentation.prompt(tokenizer, examples[i].prompt, dropped.get(i, 0), examples[i].conversation)
            for i in self.indices
        }
        return [replace(text, prompt_text=prompts[text.example]) for text in self.texts]


def _fit_context(
    tokenizer: PreTrainedTokenizerBase, drawn: DrawnSplit, context: int | None
) -> tuple[Presentation, Tokens | None, list[int]]:
    """How the split is shown, its tokens under ``plain``, and the examples that the context cannot hold even so."""
    presentation = Presentation(drawn.reading.prompt_format)
    if context is None:
        return presentation, None, []
    plain: Tokens | None
    plain, excess = _excess(tokenizer, drawn, presentation, context)
    if excess and drawn.reading.overlong == "shorten":
        presentation, excess = _shorten(tokenizer, drawn, context, excess)
        plain = None
    return presentation, plain, sorted(excess)


def _shorten(
    tokenizer: PreTrainedTokenizerBase, drawn: DrawnSplit, context: int, excess: Mapping[int, int]
) -> tuple[Presentation, dict[int, int]]:
    """Drop characters in front of prompts until the examples fit; how they are shown, and which do not fit even so.

    What is left of a prompt may have more tokens by itself than it had at the end of the whole one, so it takes rounds.
    """
    examples, prompt_format = drawn.framed.examples, drawn.reading.prompt_format
    dropped: dict[int, int] = {}
    while True:
        found = {e: characters_over(tokenizer, examples[e].prompt[dropped.get(e, 0) :], n) for e, n in excess.items()}
        cuts = {example: cut for example, cut in found.items() if cut is not None}
        if not cuts:
            kept = {example: dropped[example] for example in sorted(set(dropped) - set(excess))}
            return Presentation(prompt_format, kept), dict(excess)
        for example, cut in cuts.items():
            dropped[example] = dropped.get(example, 0) + cut
        _, excess = _excess(tokenizer, drawn, Presentation(prompt_format, dropped), context)


def _excess(
    tokenizer: PreTrainedTokenizerBase, drawn: DrawnSplit, presentation: Presentation, context: int
) -> tuple[Tokens, dict[int, int]]:
    """Tokens under ``plain``, and how many over the context, by example; only those that are over."""
    texts = drawn.shown(tokenizer, presentation)
    plain = join_tokens([tokenize(tokenizer, part, VIEWS["plain"]) for part in _parts(texts)])
    return plain, tokens_over(tokenizer, texts, plain, context, drawn.reading.views)
