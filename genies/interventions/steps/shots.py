"""Shots: training examples that come before a prompt, and texts after as many of them as the context holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from genies.data.pairs import text_seed
from genies.engine.tokenization import encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from genies.engine.scoring import TextGroup

BREAK = "\n\n"
"""Comes before each example, that to be judged included."""


@dataclass(frozen=True)
class Shots:
    """Which training examples come before a prompt.

    Attributes:
        examples: the training texts to draw from, sorted.
        count: how many come before a prompt.
        sets: how many sets are drawn of them; each prompt is dealt to one.
        seed: of what is drawn.
        anew: whether they are drawn for each prompt instead.
    """

    examples: Sequence[str]
    count: int
    sets: int
    seed: int
    anew: bool

    def draw(self, prompt: str) -> list[str]:
        """The training texts that come before a prompt, first to last."""
        drawn_by = prompt if self.anew else f"set {self.set_of(prompt)}"
        generator = np.random.default_rng(text_seed(self.seed, drawn_by))
        return [self.examples[index] for index in generator.choice(len(self.examples), self.count, replace=False)]

    def set_of(self, prompt: str) -> int:
        """Which set of shots a prompt is dealt to; it depends on no other prompt."""
        return text_seed(self.seed, "dealt", prompt) % self.sets

    def before(self, prompt: str, shots: int) -> str:
        """What comes before a prompt: so many shots, the last ones of those that are drawn, and a blank line."""
        return "".join(BREAK + shot for shot in self.draw(prompt)[self.count - shots :]) + BREAK


@dataclass(frozen=True)
class ShotEncoder:
    """Makes tokens of texts after their shots.

    Attributes:
        shots: which come before a prompt.
        tokenizer: of the model.
        eos_token: id of the end-of-sequence token.
        context: tokens that the model can read at once; None where that is not known.
    """

    shots: Shots
    tokenizer: PreTrainedTokenizerBase
    eos_token: int
    context: int | None

    def groups(
        self, texts: Sequence[Sequence[tuple[str, str]]], examples: Sequence[int]
    ) -> tuple[list[TextGroup], np.ndarray]:
        """Tokens of each example's texts after as many shots as fit, and how many those are, int64 (examples,)."""
        from genies.engine.scoring import check_lengths

        found: dict[int, TextGroup] = {}
        kept = np.full(len(texts), self.shots.count)
        waiting = list(range(len(texts)))
        while waiting:
            for index, group in zip(waiting, self._encode([texts[i] for i in waiting], kept[waiting]), strict=True):
                found[index] = group
            waiting = [i for i in waiting if kept[i] and self.context and found[i].longest > self.context]
            kept[waiting] -= 1
        groups = [found[index] for index in range(len(texts))]
        check_lengths(groups, examples, self.context)
        return groups, kept

    def _encode(self, texts: Sequence[Sequence[tuple[str, str]]], shots: np.ndarray) -> list[TextGroup]:
        from genies.engine.scoring import TextGroup
        from genies.engine.tokens import shared_prefix

        # All texts of an example have its prompt.
        roots = [self.shots.before(group[0][0], kept) for group, kept in zip(texts, shots, strict=True)]
        befores = [root + group[0][0] for root, group in zip(roots, texts, strict=True)]
        alone = self._alone([*roots, *befores])
        strings = [before + response for before, group in zip(befores, texts, strict=True) for _, response in group]
        encoded = iter(encode(self.tokenizer, strings))
        groups = []
        for root, before, group in zip(roots, befores, texts, strict=True):
            tokens = tuple(np.array(next(encoded), np.int32) for _ in group)
            # Where the end of a prompt is one token with a response, all responses are scored from before it.
            start = min(shared_prefix(alone[before], ids) for ids in tokens)
            shared = None if self.shots.anew else alone[root]
            groups.append(TextGroup(tokens, (start,) * len(group), shared))
        return groups

    def _alone(self, strings: Sequence[str]) -> dict[str, np.ndarray]:
        """Tokens of strings that go on. A tokenizer that closes texts by EOS closes them, too: without that."""
        distinct = list(dict.fromkeys(strings))
        return {
            string: np.array(ids[:-1] if ids[-1:] == [self.eos_token] else ids, np.int32)
            for string, ids in zip(distinct, encode(self.tokenizer, distinct), strict=True)
        }
