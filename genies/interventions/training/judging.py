"""A language model as a judge, which answers a question about responses with one of some tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from genies.data.records import Turn
from genies.engine.answers import AnswerReader
from genies.engine.arithmetic import DTYPES, announce, arithmetic, resolve_device
from genies.engine.chat import chat_gap, encode_chat
from genies.engine.decoder import Decoder
from genies.engine.finished import refuse_own_code
from genies.engine.forest import attention_cost
from genies.engine.scoring import Scorer, TextGroup, check_lengths
from genies.engine.tokenization import encode
from genies.engine.tokens import shared_prefix
from genies.errors import ConfigError
from genies.interventions.text import Grouped, TextPairs
from genies.interventions.training.finished import context_limit
from genies.interventions.training.question import CLOSING, Question
from genies.models.load import load_tokenizer


class JudgeScorer:
    """Reads from a judge the log-odds of its answers in both orders of two responses, or the expected grade of each.

    Attributes:
        question: what it is asked.
        reader: its model.
        written: how the question is put: ``chat``, as the user's turn of its own template, or ``text``.
    """

    def __init__(
        self, folder: Path, question: Question, dtype: str, device: str, attention: str, batch_tokens: int
    ) -> None:
        """Load the judge.

        Args:
            folder: its model's.
            question: what it is asked.
            dtype: ``auto``, ``float32`` or ``bfloat16``.
            device: torch device, or ``auto``.
            attention: attention implementation of transformers.
            batch_tokens: tokens of one pass, padding counted.

        Raises:
            ModelError: no causal language model, or one that needs code of its own.
            ConfigError: its tokens do not keep the answers apart where they are given.
        """
        refuse_own_code(folder, "AutoModelForCausalLM")
        self.question = question
        self._folder, self._tokenizer = folder, load_tokenizer(folder)
        self.written = "chat" if self._tokenizer.chat_template else "text"
        if question.ends_open and self.written == "text":
            raise ConfigError(
                "parameter template: ends with a text that is to be judged; end it with words that ask for the answer, "
                f"since the tokenizer of {folder} has no chat template"
            )
        self._gap, answers = self._answers()
        place = resolve_device(device)
        announce(dtype, place)
        compute = arithmetic(dtype, place)
        decoder = Decoder.load(folder, compute, device, None if attention == "auto" else attention)
        self._context = context_limit(decoder.model.config.get_text_config(), self._tokenizer)
        self.reader = AnswerReader(decoder, answers, question.grades)
        cost = attention_cost(decoder.shape.hidden)
        self._scorer = Scorer(self.reader, -1, batch_tokens, DTYPES[compute], attention_cost=cost)

    def grouped(self, pairs: TextPairs) -> Grouped:
        """The questions about pairs, a group for each example.

        Returns:
            ``rows`` are of the two orders of a pair, its first response first; or of its two responses.

        Raises:
            DataError: a question is longer than the model's context.
        """
        asked = [(example, *self._asked(pairs, row)) for row, example in enumerate(pairs.example.tolist())]
        found: dict[int, set[str]] = {}
        for example, *texts in asked:
            found.setdefault(example, set()).update(texts)
        # Sorted, so that no order of the data changes a bit.
        every = [(example, text) for example, texts in found.items() for text in sorted(texts)]
        row = {text: index for index, text in enumerate(every)}
        groups = [
            TextGroup(tuple(self._tokens(text, f"example {example}") for text in sorted(texts)), (None,) * len(texts))
            for example, texts in found.items()
        ]
        check_lengths(groups, list(found), self._context, spare=self.reader.decoder.virtual_tokens)
        rows = [[row[example, text] for text in texts] for example, *texts in asked]
        return Grouped(groups, np.array(rows, np.int64).reshape(-1, 2), {})

    def rewards(self, groups: Sequence[TextGroup], label: str) -> np.ndarray:
        """Log-odds or grades of all texts of the groups, float64 (texts,). The progress bar shows ``label``."""
        return self._scorer.scores(groups, label)

    def settled(self, read: np.ndarray, counts: Mapping[str, float]) -> tuple[np.ndarray, Mapping[str, float]]:
        """Scores of (first, second), and what the order decided.

        Args:
            read: log-odds that the response in the first place is better, in both orders, or grades, float64 (n, 2).
            counts: so far.

        Returns:
            Scores, float64 (n, 2): of two responses they differ by the mean log-odds of both orders. With them come
            ``judged`` (pairs), ``order_decides`` (those of which the judge prefers the same place in both orders) and
            ``toward_first`` (its mean log-odds for the first place, in nats).
        """
        if self.question.grades is not None or not len(read):
            return read, counts
        half = (read[:, :1] - read[:, 1:]) / 4
        by_order = int(np.count_nonzero(read[:, 0] * read[:, 1] > 0))
        bias = {"judged": len(read), "order_decides": by_order, "toward_first": float(read.mean())}
        return np.concatenate([half, -half], axis=1), {**counts, **bias}

    def _asked(self, pairs: TextPairs, row: int) -> tuple[str, str]:
        prompt, first, second = pairs.plain_prompt(row), pairs.first[row], pairs.second[row]
        ask = self.question.asked
        if self.question.grades is None:
            return ask(prompt=prompt, first=first, second=second), ask(prompt=prompt, first=second, second=first)
        return ask(prompt=prompt, response=first), ask(prompt=prompt, response=second)

    def _tokens(self, question: str, what: str) -> np.ndarray:
        """Token ids up to the one after which the answer comes, int32 (length,)."""
        if self.written == "chat":
            ids = encode_chat(self._tokenizer, (Turn("user", question),), what, asks=True)
        else:
            ids = np.array(self._open(self._closed(question)), np.int32)
        return np.concatenate([ids, self._gap])

    def _closed(self, question: str) -> str:
        return question + CLOSING if self.question.wording else question

    def _open(self, text: str) -> list[int]:
        """Ids of a text that goes on: without an EOS that the tokenizer sets."""
        special = self.written == "text"
        (ids,) = (
            encode(self._tokenizer, [text])
            if special
            else [self._tokenizer(text, add_special_tokens=False)["input_ids"]]
        )
        return ids[:-1] if ids[-1:] == [self._tokenizer.eos_token_id] else ids

    def _answers(self) -> tuple[np.ndarray, list[int]]:
        """Tokens that come before every answer, int32 (length,), and the token by which each is known.

        They are looked up after a question, since a word has other tokens at the beginning of a text, or after a space.
        """
        neutral = dict.fromkeys(("prompt", "first", "second", "response"), "1")
        question = self.question.asked(**neutral)
        if self.written == "chat":
            text, space = chat_gap(self._tokenizer, question, self.question.answers[0])
        else:
            text = self._closed(question)
            space = "" if text[-1:].isspace() else " "
        before = self._open(text)
        after = [self._open(f"{text}{space}{answer}") for answer in self.question.answers]
        rest = [ids[len(before) :] for ids in after if ids[: len(before)] == before]
        gap = min((shared_prefix(np.array(rest[0]), np.array(ids)) for ids in rest), default=0)
        found = [ids[gap] for ids in rest if len(ids) > gap]
        if len(set(found)) != len(self.question.answers):
            raise ConfigError(
                f"parameter answers: {', '.join(self.question.answers)} do not begin with tokens of their own after "
                f"the question to {self._folder}; give other answers, or a template that ends otherwise"
            )
        return np.array(rest[0][:gap], np.int32), found
