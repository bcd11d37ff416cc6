"""Framings of a distribution: judging responses, or judging whether a claim about a response is true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from genies.data.clusters import prompt_clusters
from genies.data.distributions import Example, read_split
from genies.data.options import Framing
from genies.data.pairs import Pair, training_pairs
from genies.data.views import QUESTION

ANSWERS = ("Yes", "No")


@dataclass(frozen=True)
class Framed:
    """The examples of a split under a framing.

    Attributes:
        examples: what interventions see.
        filed: the examples of the file.
        origin: for each of ``examples`` the example and response in the file that it asks about; None where the
            examples are those of the file.
    """

    examples: list[Example]
    filed: list[Example]
    origin: list[tuple[int, int]] | None = None

    def in_file(self, index: int) -> int:
        """Index in the file of the example that one of ``examples`` was made of."""
        return index if self.origin is None else self.origin[index][0]

    def place(self, pair: Pair) -> tuple[int, int]:
        """Example in the file, and number within it, of a test pair: what results are counted by."""
        return (pair.example, pair.number) if self.origin is None else self.origin[pair.example]

    def texts(self, pair: Pair) -> tuple[int, int]:
        """Numbers of the good and of the worse text among those of the example in the file: equal ones are one text.

        They are the responses' numbers, or of questions twice the number of the question, plus 1 for No.
        """
        before = 0 if self.origin is None else len(ANSWERS) * self.place(pair)[1]
        return before + pair.best, before + pair.worse

    def answer(self, pair: Pair) -> str | None:
        """The right answer to the question that a pair is about; None where there is no question."""
        return None if self.origin is None else ANSWERS[pair.best]

    @cached_property
    def clusters(self) -> np.ndarray:
        """Cluster of each of ``examples``, int64 (n,): that of its example in the file, see ``prompt_clusters``."""
        of_file = prompt_clusters([example.prompt for example in self.filed])
        return of_file[[self.in_file(index) for index in range(len(self.examples))]]


def read_framed(path: Path, framing: Framing, seed: int) -> Framed:
    """Read a split under a framing.

    Raises:
        DataError: the file breaks the format.
    """
    return frame(read_split(path), framing, seed)


def frame(examples: list[Example], framing: Framing, seed: int) -> Framed:
    """The examples of a file under a framing; ``seed`` draws the worse responses that ``truthfulness`` asks about."""
    if framing == "response":
        return Framed(examples, examples)
    origin = _every_response(examples) if framing == "truthfulness_per_response" else _two(examples, seed)
    return Framed([_question(examples[index], response) for index, response in origin], examples, origin)


def _every_response(examples: Sequence[Example]) -> list[tuple[int, int]]:
    """A question about each response, as published: No is then the right answer to most of them.

    Source: GENIES (arXiv 2311.07723), the experiment on whether truth generalizes.
    """
    return [(index, response) for index, example in enumerate(examples) for response in range(len(example.responses))]


def _two(examples: Sequence[Example], seed: int) -> list[tuple[int, int]]:
    """A question about the best response of each example and one about a worse one, so that Yes and No weigh alike."""
    return [(p.example, response) for p in training_pairs(examples, seed) for response in sorted((p.best, p.worse))]


def _question(example: Example, response: int) -> Example:
    right = 0 if response in example.good else 1
    prompt = f"{example.prompt}{example.responses[response]}{QUESTION}"
    return Example(prompt, ANSWERS, right, (1 - right,))
