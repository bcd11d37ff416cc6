"""Which test examples also appear in a training split. Prompts and texts are compared exactly as they are filed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from genies.data.clusters import instructions
from genies.data.distributions import Example


@dataclass(frozen=True)
class TrainingTexts:
    """What a training split holds that a test split can share.

    Attributes:
        prompts: of the examples that are read.
        instructions: prompts that many examples of the whole split share, see ``genies.data.clusters``.
        best, worse: texts (a prompt and a response, joined as a model reads them) by their label.
    """

    prompts: frozenset[str]
    instructions: frozenset[str]
    best: frozenset[str]
    worse: frozenset[str]

    @classmethod
    def of(cls, examples: Sequence[Example], read: Iterable[int]) -> TrainingTexts:
        """What a split holds.

        Args:
            examples: all examples of the file.
            read: indices of those that the run reads.
        """
        chosen = [examples[index] for index in read]
        return cls(
            frozenset(example.prompt for example in chosen),
            frozenset(instructions([example.prompt for example in examples])),
            frozenset(_text(example, response) for example in chosen for response in example.good),
            frozenset(_text(example, response) for example in chosen for response in example.worse),
        )


@dataclass(frozen=True)
class Overlap:
    """How test examples overlap with a training split; one example may do so in several ways.

    Attributes:
        example: index in the file of each example that is read, ascending, int64 (n,).
        same_prompt: whether its prompt stands in the training split, and is an instruction of neither, bool (n,).
        same_text: whether one of its texts stands there, whatever its label, bool (n,).
        other_label: whether one of its texts stands there with the other label, best in one split and worse in the
            other, bool (n,).
        complete: whether all of its texts stand there, bool (n,).
    """

    example: np.ndarray
    same_prompt: np.ndarray
    same_text: np.ndarray
    other_label: np.ndarray
    complete: np.ndarray

    @property
    def seen(self) -> np.ndarray:
        """Whether the training split shows something of the example, bool (n,); the others are clean."""
        return self.same_prompt | self.same_text


def overlap(examples: Sequence[Example], read: Iterable[int], training: TrainingTexts) -> Overlap:
    """Compare a test split with a training split.

    Args:
        examples: all examples of the test split's file.
        read: indices of those that the run reads, ascending.
        training: the training split.
    """
    indices = list(read)
    shared = training.instructions | instructions([example.prompt for example in examples])
    columns = np.array([_compare(examples[index], training, shared) for index in indices], bool).reshape(-1, 4)
    return Overlap(np.array(indices, np.int64), *columns.T)


def _compare(example: Example, training: TrainingTexts, shared: Iterable[str]) -> tuple[bool, bool, bool, bool]:
    """``same_prompt``, ``same_text``, ``other_label`` and ``complete`` of one example."""
    good, worse = ([_text(example, response) for response in part] for part in (example.good, example.worse))
    known = [text in training.best or text in training.worse for text in (*good, *worse)]
    other = any(text in training.worse for text in good) or any(text in training.best for text in worse)
    return example.prompt in training.prompts and example.prompt not in shared, any(known), other, all(known)


def _text(example: Example, response: int) -> str:
    return example.prompt + example.responses[response]
