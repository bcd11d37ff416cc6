"""Rewards of finished sequence classifiers, whose texts are put as their authors put them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from genies.data.records import Turn
from genies.engine.chat import encode_chat
from genies.engine.classifier import RewardReader
from genies.errors import ConfigError, DataError, ModelError
from genies.interventions.text import Grouped, TextPairs
from genies.interventions.training.rewards import RewardScorer, distinct_texts
from genies.models.load import load_tokenizer

Written = Literal["prompt_response", "chat"]
UNPADDED = "unpadded"
"""Place of a reward: the last token that is not the padding token, where transformers looks for it."""


class FinishedScorer(RewardScorer):
    """Reads rewards of a finished model.

    Attributes:
        written: how texts are put: prompt and response as one string and EOS, or in the tokenizer's chat template.
    """

    written: Written
    _read_at: int | str | None
    _token: int | None

    @classmethod
    def of(
        cls, reader: RewardReader, folder: Path, batch_tokens: int, shorten: bool, form: str, read_at: int | str | None
    ) -> FinishedScorer:
        """A scorer with EOS and context as tokenizer and configuration say.

        Args:
            reader: the model.
            folder: its folder.
            batch_tokens: as ``RewardScorer`` takes it.
            shorten: likewise.
            form: ``prompt_response``, ``chat``, or ``auto``: chat where the tokenizer has a template.
            read_at: text or id of the token whose last place in a text gives the reward, or ``UNPADDED``; None: the
                last token.

        Raises:
            ModelError: a decoder for which neither names an EOS token, or a tokenizer without a chat template.
            ConfigError: no such token, or the model is no decoder.
        """
        tokenizer = load_tokenizer(folder)
        eos = eos_of(reader.classifier.config.get_text_config(), tokenizer)
        written: Written = written_of(folder, tokenizer, form)
        if eos is None and reader.is_decoder and written == "prompt_response":
            raise ModelError(f"{folder}: neither tokenizer nor config.json names an end-of-sequence token")
        context = context_limit(reader.classifier.config.get_text_config(), tokenizer)
        scorer = cls(reader, folder, -1 if eos is None else eos, context, batch_tokens, shorten)
        scorer.written, scorer._read_at = written, read_at
        scorer._token = scorer._token_of(folder, read_at)
        return scorer

    def grouped(self, pairs: TextPairs) -> Grouped:
        """The texts of pairs, a group for each example, up to the token at which their reward is read.

        Raises:
            DataError: as ``groups``; or a text lacks that token.
            ModelError: the chat template refuses a conversation.
        """
        texts, rows = distinct_texts(pairs)
        examples = list(texts)
        if self.written == "chat":
            row = {example: number for number, example in enumerate(pairs.example.tolist())}
            tokens = [
                [self._in_chat(pairs.turns(row[example]), response, example) for _, response in group]
                for example, group in texts.items()
            ]
        else:
            tokens = self.encoded(list(texts.values()))
        read = [
            [self._cut_at(text, example) for text in group] for group, example in zip(tokens, examples, strict=True)
        ]
        groups = self.bounded(read, examples)
        return Grouped(groups, rows, {"shortened": self.shortened})

    def settled(self, read: np.ndarray, counts: Mapping[str, float]) -> tuple[np.ndarray, Mapping[str, float]]:
        """Rewards of (first, second) as they were read, float64 (n, 2), and counts."""
        return read, counts

    def _in_chat(self, turns: Sequence[Turn], response: str, example: int) -> np.ndarray:
        return encode_chat(self._tokenizer, (*turns, Turn("assistant", response)), f"example {example}")

    def _token_of(self, folder: Path, read_at: int | str | None) -> int | None:
        """Id of the token at which rewards are read; None where it depends on the text."""
        if read_at is None:
            return None
        if not self.reader.is_decoder:
            raise ConfigError(
                f"parameter read_at: {folder} is no decoder, whose reward would be a token's; leave it out"
            )
        if read_at == UNPADDED:
            return None
        known = self._tokenizer.get_vocab()
        ids = [read_at] if isinstance(read_at, int) else [known[read_at]] if read_at in known else self._alone(read_at)
        if len(ids) != 1 or not 0 <= ids[0] < len(self._tokenizer):
            raise ConfigError(f"parameter read_at: {read_at!r} is not one token of {folder}; give a token's text or id")
        return ids[0]

    def _alone(self, text: str) -> list[int]:
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]

    def _cut_at(self, tokens: np.ndarray, example: int) -> np.ndarray:
        """A text up to the token at which its reward is read: a decoder's does not depend on what comes after."""
        if self._read_at is None:
            return tokens
        padding = self.reader.classifier.config.get_text_config().pad_token_id
        place = np.flatnonzero(tokens != padding if self._token is None else tokens == self._token)
        if not len(place):
            raise DataError(
                f"example {example}: its text lacks the token {self._read_at!r}, at which the reward is to be read; "
                "name one that the format writes (read_at)"
            )
        return tokens[: place[-1] + 1]


def written_of(folder: Path, tokenizer: object, form: str) -> Written:
    """How the texts of a model are put, by the parameter ``format``.

    Raises:
        ModelError: in a chat template that its tokenizer lacks.
    """
    has_template = bool(getattr(tokenizer, "chat_template", None))
    if form == "chat" and not has_template:
        raise ModelError(f"{folder}: its tokenizer has no chat template; use format: prompt_response")
    return "chat" if has_template and form in ("auto", "chat") else "prompt_response"


def eos_of(config: object, tokenizer: object) -> int | None:
    """Id of the end-of-sequence token as tokenizer or configuration name it."""
    eos = getattr(tokenizer, "eos_token_id", None)
    eos = getattr(config, "eos_token_id", None) if eos is None else eos
    return eos[0] if isinstance(eos, list) else eos


def context_limit(config: object, tokenizer: object) -> int:
    """Tokens that model and tokenizer can hold."""
    limits = [getattr(config, "max_position_embeddings", None), getattr(tokenizer, "model_max_length", None)]
    return min(limit for limit in limits if limit)
