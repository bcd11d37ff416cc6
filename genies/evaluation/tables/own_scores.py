"""Scores of their own that benchmarks have, next to the accuracy of pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from genies.data.own_scores import WHOLE, Item
from genies.evaluation.evaluations import PLACE, evaluated
from genies.evaluation.metrics import CHANCE, correctness
from genies.evaluation.rewardbench import TIES, Ranked, best_of_k, chance, ties_score
from genies.evaluation.table import Rows, Table

if TYPE_CHECKING:
    from genies.evaluation.measurements import Measurements

TABLE = Table(
    "own_scores.csv",
    {
        **dict.fromkeys(("model", "intervention", "source", "target", "subset"), pl.String),
        **dict.fromkeys(("examples", "pairs"), pl.Int64),
        **dict.fromkeys(("accuracy", "accuracy_by_example", "score", "chance"), pl.Float64),
    },
    optional=True,
    rows=Rows((*PLACE, "subset"), ("examples", "pairs", "accuracy")),
)
"""Columns of ``own_scores.csv``: a row per cell and subset of a benchmark that has a score of its own, see
``genies.evaluation.rewardbench``; in the row "all" the score is the mean over subsets.

Of a set with several good responses to a prompt, the score is ``accuracy_by_example``, and there are no subsets.
``accuracy`` counts each pair once, ``accuracy_by_example`` each example, however many pairs it has. Scores are null
where they need those of single responses and the intervention has none; ``chance`` is null for Ties and for all."""


def rows(run: Measurements) -> pl.DataFrame:
    found: list[dict[str, Any]] = []
    for place, pairs in evaluated(run.fits) if run.fits is not None and run.own_scores else ():
        items = run.own_scores.get(place["target"])
        # Of questions about single responses no ranking follows.
        if items is not None and not pairs["probability"].null_count() and pairs["answer"].null_count():
            found += [{**place, **row} for row in _of_cell(pairs, items)]
    return TABLE.frame(found)


def _of_cell(pairs: pl.DataFrame, items: Sequence[Item]) -> Iterator[dict[str, Any]]:
    by_subset: dict[str, list[Ranked]] = {}
    for (example,), of_example in pairs.group_by("example", maintain_order=True):
        item = items[int(str(example))]
        by_subset.setdefault(item.subset, []).append(_ranked(of_example.sort("pair"), item))
    made = [_of_subset(subset, examples) for subset, examples in by_subset.items()]
    scores = [row["score"] for row in made]
    if list(by_subset) == [WHOLE]:
        yield {**made[0], "score": made[0]["accuracy_by_example"], "chance": CHANCE}
        return
    whole = _of_subset(WHOLE, [example for examples in by_subset.values() for example in examples])
    mean = None if None in scores else float(np.mean(scores))
    yield {**whole, "score": mean, "chance": None}
    yield from made


def _of_subset(subset: str, examples: Sequence[Ranked]) -> dict[str, Any]:
    right = [correctness(example.probability.ravel()) for example in examples]
    ties = subset.lower() == TIES
    return {
        "subset": subset,
        "examples": len(examples),
        "pairs": sum(len(of_example) for of_example in right),
        "accuracy": float(np.mean(np.concatenate(right))),
        "accuracy_by_example": float(np.mean([of_example.mean() for of_example in right])),
        "score": ties_score(examples) if ties else float(np.mean([best_of_k(example) for example in examples])),
        "chance": None if ties else chance(examples),
    }


def _ranked(pairs: pl.DataFrame, item: Item) -> Ranked:
    """What an intervention says of one example, from all of its pairs in their order."""
    shape = item.good, item.worse
    probability = pairs["probability"].to_numpy().reshape(shape)
    if pairs["score_best"].null_count() or pairs["score_worse"].null_count():
        return Ranked(item.id, probability)
    good, worse = (pairs[name].to_numpy().reshape(shape) for name in ("score_best", "score_worse"))
    # What compares pairs may give a response another score in each of them, which is then none of the response.
    if not (np.allclose(good, good[:, :1]) and np.allclose(worse, worse[:1])):
        return Ranked(item.id, probability)
    return Ranked(item.id, probability, good[:, 0], worse[0])
