"""Mixed sources: a distribution some of whose training examples are replaced by another's.

Source: GENIES (arXiv 2311.07723), the study of how sensitive generalization is to a few examples of the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genies.data.distributions import Example, read_split, write_split
from genies.data.pairs import example_seed
from genies.errors import DataError


def mix(source: Path, other: Path, percent: float, seed: int, output: Path) -> None:
    """Write ``train.json`` and ``test.json`` of a mixture; the test split is the source's own.

    The share is of the source's number of training examples, rounded to whole ones. Which examples go and which come is
    drawn by the seed and the examples' texts; the examples that come stand where the others stood.

    Args:
        source: folder of the distribution.
        other: folder of the distribution whose training examples come in.
        percent: share of the training examples that is replaced, above 0 and up to 100.
        seed: draws them.
        output: folder to write.

    Raises:
        DataError: ``other`` has too few training examples, or a file breaks the format.
    """
    kept, coming = read_split(source / "train.json"), read_split(other / "train.json")
    write_split(output / "train.json", mixed(kept, coming, percent, seed, source.name, other / "train.json"))
    write_split(output / "test.json", read_split(source / "test.json"))


def mixed(
    kept: Sequence[Example], coming: Sequence[Example], percent: float, seed: int, source: str, other: Path
) -> list[Example]:
    """Training examples of a mixture: those that are kept, and those that come; see ``mix``.

    Args:
        kept: training examples of the distribution.
        coming: those of the other.
        percent: share of the former that is replaced.
        seed: draws them.
        source: name of the distribution, for errors.
        other: training file of the other, for errors.

    Raises:
        DataError: too few examples can come in.
    """
    count = round(len(kept) * percent / 100)
    if not 1 <= count <= min(len(kept), len(coming)):
        raise DataError(
            f"{other}: {percent} % of {len(kept)} training examples of {source} are {count}, and {len(coming)} can "
            "come in; choose another percentage"
        )

    def drawn(examples: Sequence[Example]) -> list[int]:
        return sorted(range(len(examples)), key=lambda i: example_seed(seed, examples[i], "mixture"))

    examples = list(kept)
    for place, index in zip(drawn(kept)[:count], drawn(coming)[:count], strict=True):
        examples[place] = coming[index]
    return examples
