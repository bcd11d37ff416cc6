"""How the splits of a run are read, the same for every intervention, and the pairs that are drawn from them so."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from genies.data.distributions import Example
from genies.data.framing import Framed, Framing, read_framed
from genies.data.pairs import Pair, test_pairs, text_seed, training_pairs
from genies.data.prompts import PromptFormat

Overlong = Literal["leave_out", "shorten"]


@dataclass(frozen=True)
class Reading:
    """How splits are read. The manifest of ``tokenize`` states it, and all later stages take it from there.

    Attributes:
        seed: draws the training pairs and the order of test pairs.
        framing: of the distributions.
        prompt_format: of their prompts.
        overlong: what becomes of examples over the model's context: left out, or their prompts shortened in front.
    """

    seed: int = 0
    framing: Framing = "response"
    prompt_format: PromptFormat = "published"
    overlong: Overlong = "leave_out"


@dataclass(frozen=True)
class SplitPairs:
    """Pairs of a split, without the examples that the model's context cannot hold.

    Attributes:
        name: of the distribution.
        framed: its examples, all of them.
        pairs: the pairs, by index into those.
        best_first: whether the best response is the first of the pair, bool (n,).
    """

    name: str
    framed: Framed
    pairs: list[Pair]
    best_first: np.ndarray


def read_training(file: Path, reading: Reading, left_out: Collection[int]) -> SplitPairs:
    """Training pairs of ``<distribution>/train.json``, best response first."""
    framed = read_framed(file, reading.framing)
    pairs = [pair for pair in training_pairs(framed.examples, reading.seed) if pair.example not in left_out]
    return SplitPairs(file.parent.name, framed, pairs, np.ones(len(pairs), bool))


def read_test(file: Path, reading: Reading, left_out: Collection[int]) -> SplitPairs:
    """Test pairs of ``<distribution>/test.json``, each in an order drawn by seed and texts."""
    framed = read_framed(file, reading.framing)
    pairs = [pair for pair in test_pairs(framed.examples) if pair.example not in left_out]
    best_first = [_best_first(framed.examples[pair.example], pair, reading.seed) for pair in pairs]
    return SplitPairs(file.parent.name, framed, pairs, np.array(best_first, bool))


def _best_first(example: Example, pair: Pair, seed: int) -> bool:
    """A coin thrown by the texts, so that neither the order of records nor of responses plays a part."""
    best, worse = example.responses[pair.best], example.responses[pair.worse]
    smaller_first = text_seed(seed, example.prompt, *sorted((best, worse))) % 2 == 0
    return smaller_first == (best < worse)
