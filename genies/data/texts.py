"""The texts that a split asks for: which responses of which examples are ever read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from genies.data.distributions import Example
from genies.data.options import Split
from genies.data.pairs import Pair, test_pairs, training_pairs
from genies.digests import value_digest


@dataclass(frozen=True)
class Text:
    """One response of one example, by its indices in the distribution's file."""

    example: int
    response: int
    prompt_text: str
    response_text: str


def split_pairs(examples: Sequence[Example], split: Split, seed: int) -> list[Pair]:
    """The pairs of a split: one per example for training, all for test (``seed`` draws the training pairs)."""
    return training_pairs(examples, seed) if split == "train" else test_pairs(examples)


def split_texts(examples: Sequence[Example], split: Split, seed: int) -> list[Text]:
    """The texts that the split's pairs name, each once, by example and response."""
    named = {(pair.example, index) for pair in split_pairs(examples, split, seed) for index in (pair.best, pair.worse)}
    return [Text(e, r, examples[e].prompt, examples[e].responses[r]) for e, r in sorted(named)]


def texts_digest(texts: Sequence[Text]) -> str:
    """Digest of the texts and of where they stand in their file."""
    return value_digest([[t.example, t.response, t.prompt_text, t.response_text] for t in texts])
