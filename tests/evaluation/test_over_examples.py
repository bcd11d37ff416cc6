"""Differences over examples: false verdicts where prompts differ in size, and degrees of freedom over targets."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from genies.evaluation.differences import Difference, over_examples
from genies.evaluation.paired import paired_p
from genies.evaluation.scored import Scored
from genies.evaluation.simultaneous import LEVEL, judged


@pytest.mark.parametrize("sizes", [[20, *[2] * 20], [2] * 30], ids=["a giant prompt", "equal prompts"])
def test_equal_methods_are_rarely_called_different_where_one_prompt_has_a_third_of_the_pairs(sizes: list[int]) -> None:
    """Half of the pairs of a prompt go together. Without the size of prompts one family in eight was wrong."""
    generator, names, trials, wrong = np.random.default_rng(16), ("mms", "ccs", "lora"), 250, np.zeros(2)
    cluster, place = np.repeat(np.arange(len(sizes)), sizes), ("a", "b")
    for _ in range(trials):
        scores = {}
        for name in names:
            together = generator.random(len(cluster)) < 0.5
            level = np.where(together, generator.random(len(sizes))[cluster], generator.random(len(cluster)))
            correct = (level < 0.65).astype(float)
            scores["m", name, *place] = Scored(correct, cluster, correct)
        pairs = [
            Difference(two, [place], np.array([scores["m", two[0], *place].correct.mean()
                                               - scores["m", two[1], *place].correct.mean()]), np.ones(1, np.int64))
            for two in combinations(names, 2)
        ]  # fmt: skip
        wrong[0] += min(one.p_adjusted for one in judged(over_examples("m", pairs, scores))) < LEVEL
        first, second, _ = scores.values()
        wrong[1] += paired_p(first.correct - second.correct, cluster) < LEVEL
    assert (wrong / trials <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)).all(), wrong


def test_degrees_of_freedom_over_targets_are_those_of_the_target_that_varies() -> None:
    generator, sizes = np.random.default_rng(17), (40, 400)
    scores = {}
    for target, size in zip(("small", "large"), sizes, strict=True):
        for name in ("mms", "lora"):
            correct = (generator.random(size) < 0.5).astype(float)
            scores["m", name, "a", target] = Scored(correct, np.arange(size), correct)
    places = [("a", "small"), ("a", "large")]
    (found,) = over_examples("m", [Difference(("mms", "lora"), places, np.zeros(2), np.ones(2, np.int64))], scores)
    variances = [np.var(scores["m", "mms", *p].correct - scores["m", "lora", *p].correct, ddof=1) / n / 4
                 for p, n in zip(places, sizes, strict=True)]  # fmt: skip
    assert found.standard_error == pytest.approx(np.sqrt(sum(variances)))
    freedom = sum(variances) ** 2 / (variances[0] ** 2 / 39 + variances[1] ** 2 / 399)
    assert found.degrees_of_freedom == pytest.approx(freedom) and found.units == sum(sizes)
