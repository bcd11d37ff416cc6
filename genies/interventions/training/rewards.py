"""Rewards of pairs of texts: a reward reader together with its tokenizer, its context and the self-tested packing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from genies.engine.classifier import RewardReader
from genies.engine.forest import attention_cost
from genies.engine.scoring import Scorer, TextGroup, check_lengths, encode_closed
from genies.engine.tokenization import encode
from genies.interventions.text import Grouped, TextPairs
from genies.models.load import load_tokenizer


class RewardScorer:
    """Reads the reward of ``prompt + response`` and EOS, tokenized as one string, at that EOS.

    Models that are no decoders get the text as their tokenizer closes it, without EOS.

    Attributes:
        shortened: in how many groups of the last call of ``groups`` a text was shortened.
    """

    def __init__(
        self,
        reader: RewardReader,
        folder: Path,
        eos_token: int,
        context: int | None,
        batch_tokens: int,
        shorten: bool = False,
    ) -> None:
        """Prepare.

        Args:
            reader: the model.
            folder: folder of its tokenizer.
            eos_token: id of the end-of-sequence token.
            context: positions that the model has, those of virtual tokens counted; None if unbounded.
            batch_tokens: tokens of one pass, padding counted.
            shorten: whether texts over the context lose tokens in front.
        """
        self.reader = reader
        self.eos_token = eos_token
        self.shortened = 0
        self._context = context
        self._shorten = shorten
        self._tokenizer = load_tokenizer(folder)
        self._scorer = Scorer(
            reader, eos_token, batch_tokens, reader.dtype, can_pack=reader.is_decoder,
            attention_cost=attention_cost(reader.hidden),
        )  # fmt: skip

    def groups(self, texts: Sequence[Sequence[tuple[str, str]]], examples: Sequence[int]) -> list[TextGroup]:
        """Tokens of groups of (prompt, response) texts; ``examples`` says in errors whose they are.

        Raises:
            DataError: a text is longer than the model's context, and is not to be shortened.
        """
        return self.bounded(self.encoded(texts), examples)

    def encoded(self, texts: Sequence[Sequence[tuple[str, str]]]) -> list[list[np.ndarray]]:
        """Token ids of groups of (prompt, response) texts, each int32 (length,), whatever their length."""
        strings = [prompt + response for group in texts for prompt, response in group]
        if self.reader.is_decoder:
            tokens = iter(encode_closed(self._tokenizer, strings, self.eos_token))
        else:
            tokens = (np.array(ids, np.int32) for ids in encode(self._tokenizer, strings))
        return [[next(tokens) for _ in group] for group in texts]

    def bounded(self, tokens: Sequence[Sequence[np.ndarray]], examples: Sequence[int]) -> list[TextGroup]:
        """Groups of texts, given as tokens, that the model's context can hold; arguments and errors as ``groups``."""
        groups = [TextGroup(tuple(group), (None,) * len(group)) for group in tokens]
        if self._shorten and self._context:
            context = self._context - self.reader.virtual_tokens
            self.shortened = sum(group.longest > context for group in groups)
            groups = [
                TextGroup(tuple(self._cut(text, context) for text in group.tokens), group.score_from)
                for group in groups
            ]
        check_lengths(groups, examples, self._context, spare=self.reader.virtual_tokens)
        return groups

    def packs(self, groups: Sequence[TextGroup]) -> bool:
        """Whether texts of a group may share a row, by a self-test on some of the groups."""
        return self._scorer.may_pack(groups)

    def grouped(self, pairs: TextPairs) -> Grouped:
        """The texts of pairs, a group for each example."""
        texts, rows = distinct_texts(pairs)
        groups = self.groups(list(texts.values()), list(texts))
        return Grouped(groups, rows, {})

    def rewards(self, groups: Sequence[TextGroup], label: str) -> np.ndarray:
        """Rewards of all texts of the groups, float64 (texts,). The progress bar shows ``label``."""
        return self._scorer.scores(groups, label)

    def _cut(self, tokens: np.ndarray, context: int) -> np.ndarray:
        """The last tokens of a text that the context holds, after the special token that it begins with, if it does."""
        excess = len(tokens) - context
        if excess <= 0:
            return tokens
        kept = int(tokens[0] in self._tokenizer.all_special_ids)
        return np.concatenate([tokens[:kept], tokens[kept + excess :]])


def distinct_texts(pairs: TextPairs) -> tuple[dict[int, list[tuple[str, str]]], np.ndarray]:
    """The (prompt, response) texts of each example, each once, and where those of every pair are.

    Texts of an example are sorted, so that their order in the data and in the pairs changes no bit of their scores.

    Returns:
        Texts by example; and for (first, second) of each pair the index into the texts of all examples, one example
        after the other, int64 (n, 2).
    """
    found: dict[int, set[tuple[str, str]]] = {}
    parts = list(zip(pairs.example.tolist(), pairs.prompt, pairs.first, pairs.second, strict=True))
    for example, prompt, first, second in parts:
        found.setdefault(example, set()).update([(prompt, first), (prompt, second)])
    texts = {example: sorted(distinct) for example, distinct in found.items()}
    every = [(example, *text) for example, distinct in texts.items() for text in distinct]
    row = {text: index for index, text in enumerate(every)}
    rows = [[row[example, prompt, response] for response in responses] for example, prompt, *responses in parts]
    return texts, np.array(rows, np.int64).reshape(-1, 2)
