"""How many examples of each split a run reads, and which: a draw by the seed and the examples' own texts."""

from __future__ import annotations

from collections.abc import Sequence

from genies.data.distributions import Example
from genies.data.pairs import text_seed


def drawn(examples: Sequence[Example], limit: int | None, seed: int) -> list[int]:
    """Indices of the examples that are read, ascending: ``limit`` of them, or all where there are no more.

    Each example gets a number from the seed and its own texts, and the smallest are drawn. So neither the order of
    examples nor that of their responses plays a part, and a larger limit adds examples to those of a smaller one.
    """
    if limit is None or limit >= len(examples):
        return list(range(len(examples)))
    return sorted(sorted(range(len(examples)), key=lambda index: _rank(examples[index], seed))[:limit])


def _rank(example: Example, seed: int) -> int:
    good, worse = (sorted(example.responses[index] for index in part) for part in (example.good, example.worse))
    return text_seed(seed, "limit", example.prompt, *good, *worse)
