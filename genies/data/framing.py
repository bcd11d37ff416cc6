"""Framings of a distribution: judging responses, or judging whether a claim about a response is true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from genies.data.distributions import Example, read_split
from genies.data.pairs import Pair
from genies.data.views import QUESTION

Framing = Literal["response", "truthfulness"]
FRAMINGS: tuple[Framing, ...] = get_args(Framing)


@dataclass(frozen=True)
class Framed:
    """The examples of a split under a framing.

    Attributes:
        examples: what interventions see.
        origin: for each of them the example and response in the file that it asks about; None where the examples are
            those of the file.
    """

    examples: list[Example]
    origin: list[tuple[int, int]] | None = None

    def in_file(self, index: int) -> int:
        """Index in the file of the example that one of ``examples`` was made of."""
        return index if self.origin is None else self.origin[index][0]

    def place(self, pair: Pair) -> tuple[int, int]:
        """Example in the file, and number within it, of a test pair: what results are counted and resampled by."""
        return (pair.example, pair.number) if self.origin is None else self.origin[pair.example]


def read_framed(path: Path, framing: Framing) -> Framed:
    """Read a split under a framing.

    Raises:
        DataError: the file breaks the format.
    """
    return frame(read_split(path), framing)


def frame(examples: list[Example], framing: Framing) -> Framed:
    """The examples of a file under a framing."""
    return Framed(examples) if framing == "response" else truthfulness(examples)


def truthfulness(examples: Sequence[Example]) -> Framed:
    """Every (prompt, response) as a question with the responses Yes and No; Yes is right for the best response.

    Source: GENIES (arXiv 2311.07723), the experiment on whether truth generalizes.
    """
    origin = [(index, response) for index, example in enumerate(examples) for response in range(len(example.responses))]
    questions = [_question(examples[index], response) for index, response in origin]
    return Framed(questions, origin)


def _question(example: Example, response: int) -> Example:
    right = 0 if response == example.best else 1
    prompt = f"{example.prompt}{example.responses[response]}{QUESTION}"
    return Example(prompt, ("Yes", "No"), right, (1 - right,))
