"""Pairs of responses: which ones an intervention is fitted on, and which ones it is tested on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple, Self

import numpy as np

from genies.data.distributions import Example


@dataclass(frozen=True)
class Pair:
    """A good and a worse response of one example, by index into ``Example.responses``; ``best`` is the good one.

    ``number`` counts the example's pairs by their good responses and for each of them by the worse ones, both in file
    order. Where only one is good, it is the index of the worse response among the worse ones.
    """

    example: int
    number: int
    best: int
    worse: int


class PairTexts(NamedTuple):
    """The texts of n pairs (first, second), n strings each."""

    prompt: tuple[str, ...]
    first: tuple[str, ...]
    second: tuple[str, ...]

    @classmethod
    def of(cls, examples: Sequence[Example], pairs: Sequence[Pair], best_first: np.ndarray) -> Self:
        """The texts of pairs, which index into ``examples``; ``best_first``, bool (n,), says in which order."""
        prompt, first, second = [], [], []
        for pair, straight in zip(pairs, best_first, strict=True):
            example = examples[pair.example]
            best, worse = example.responses[pair.best], example.responses[pair.worse]
            prompt.append(example.prompt)
            first.append(best if straight else worse)
            second.append(worse if straight else best)
        return cls(tuple(prompt), tuple(first), tuple(second))


def text_seed(seed: int, *texts: str) -> int:
    """A 64-bit number decided by ``seed`` and the texts alone; the order of records in a file plays no part."""
    digest = hashlib.sha256(str(seed).encode())
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return int.from_bytes(digest.digest()[:8], "little")


def example_seed(seed: int, example: Example, purpose: str) -> int:
    """The same for an example and what is drawn of it; the order of its responses plays no part."""
    return text_seed(seed, purpose, example.prompt, *sorted(example.responses))


def test_pairs(examples: Sequence[Example]) -> list[Pair]:
    """Every pair of a good and a worse response of every example, in file order."""
    return [
        Pair(index, number, good, worse)
        for index, example in enumerate(examples)
        for number, (good, worse) in enumerate(product(example.good, example.worse))
    ]


def training_pairs(examples: Sequence[Example], seed: int) -> list[Pair]:
    """One pair per example; its good and its worse response are drawn by ``seed`` and the example's own texts."""
    pairs = []
    for index, example in enumerate(examples):
        worse = _drawn(example, example.worse, seed)
        good = _drawn(example, example.good, seed, "good") if len(example.good) > 1 else 0
        number = good * len(example.worse) + worse
        pairs.append(Pair(index, number, example.good[good], example.worse[worse]))
    return pairs


def _drawn(example: Example, among: Sequence[int], seed: int, *purpose: str) -> int:
    """A place in ``among``, which are responses of an example; their order plays no part in which one it is."""
    ranked = sorted(range(len(among)), key=lambda n: example.responses[among[n]])
    draw = text_seed(seed, *purpose, example.prompt, *(example.responses[among[n]] for n in ranked))
    return ranked[draw % len(ranked)]
