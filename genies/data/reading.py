"""The pairs that are drawn from the splits of a run, the same for every intervention."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genies.data.distributions import Example, read_split
from genies.data.framing import Framed, frame
from genies.data.limit import drawn
from genies.data.options import Reading
from genies.data.pairs import Pair, test_pairs, text_seed, training_pairs


@dataclass(frozen=True)
class SplitPairs:
    """Pairs of a split: of the examples that are drawn and that the model's context can hold.

    Attributes:
        name: of the distribution.
        framed: the examples of its file, all of them.
        pairs: the pairs, by index into those.
        best_first: whether the best response is the first of the pair, bool (n,).
    """

    name: str
    framed: Framed
    pairs: list[Pair]
    best_first: np.ndarray

    @property
    def cluster(self) -> np.ndarray:
        """Cluster of each pair, int64 (n,): pairs of one cluster stay together, see ``genies.data.clusters``."""
        return self.framed.clusters[[pair.example for pair in self.pairs]]


def read_drawn(file: Path, reading: Reading) -> tuple[Framed, list[int]]:
    """All examples of ``<distribution>/<split>.json``, and which of them are read: their indices, ascending.

    The limit counts examples of the file; under ``truthfulness`` the questions about one of them are read.

    Raises:
        DataError: the file breaks the format.
    """
    return draw(read_split(file), file, reading)


def draw(examples: list[Example], file: Path, reading: Reading) -> tuple[Framed, list[int]]:
    """The same of the examples of such a file, which need not exist."""
    chosen = set(drawn(examples, reading.limit.of(file.parent.name, file.stem), reading.seed))
    framed = frame(examples, reading.framing, reading.seed)
    return framed, [index for index in range(len(framed.examples)) if framed.in_file(index) in chosen]


def read_training(file: Path, reading: Reading, left_out: Collection[int]) -> SplitPairs:
    """Training pairs of ``<distribution>/train.json``, best response first."""
    framed, indices = read_drawn(file, reading)
    kept = set(indices).difference(left_out)
    pairs = [pair for pair in training_pairs(framed.examples, reading.seed) if pair.example in kept]
    return SplitPairs(file.parent.name, framed, pairs, np.ones(len(pairs), bool))


def read_test(file: Path, reading: Reading, left_out: Collection[int]) -> SplitPairs:
    """Test pairs of ``<distribution>/test.json``, each in an order drawn by seed and texts."""
    framed, indices = read_drawn(file, reading)
    kept = set(indices).difference(left_out)
    pairs = [pair for pair in test_pairs(framed.examples) if pair.example in kept]
    best_first = [_best_first(framed.examples[pair.example], pair, reading.seed) for pair in pairs]
    return SplitPairs(file.parent.name, framed, pairs, np.array(best_first, bool))


def _best_first(example: Example, pair: Pair, seed: int) -> bool:
    """A coin thrown by the texts, so that neither the order of records nor of responses plays a part."""
    best, worse = example.responses[pair.best], example.responses[pair.worse]
    smaller_first = text_seed(seed, example.prompt, *sorted((best, worse))) % 2 == 0
    return smaller_first == (best < worse)
