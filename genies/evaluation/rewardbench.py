"""RewardBench 2's own score (Malik et al. 2025, arXiv 2506.01937), as its published code computes it.

Source: https://github.com/allenai/reward-bench, ``rewardbench/utils.py``, ``reroll_and_score_dataset`` and
``process_single_model``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TIES = "ties"
"""The subset with a score of its own, in lower case."""
_ID = re.compile(r"(ref|tied):(\d+)")


@dataclass(frozen=True)
class Ranked:
    """What is said of the responses of one example.

    Attributes:
        id: its name in the benchmark.
        probability: of the good response in every pair, by good and worse response, float64 (good, worse).
        good, worse: scores of the responses, float64 (good,) and (worse,); None where there are none.
    """

    id: str
    probability: np.ndarray
    good: np.ndarray | None = None
    worse: np.ndarray | None = None


def best_of_k(example: Ranked) -> float:
    """1 where the good response is at the top, 1/k where k responses tie there, and 0 where another one is above it.

    Pairs alone decide: a tie is a probability of ½. With several good ones, the share of these among those at the top
    of the scores counts; without scores, the mean over them.
    """
    if len(example.probability) > 1 and example.good is not None and example.worse is not None:
        top = max(example.good.max(), example.worse.max())
        good, worse = np.sum(example.good == top), np.sum(example.worse == top)
        return float(good / (good + worse))
    beaten = (example.probability < 0.5).any(axis=1)
    tied = (example.probability == 0.5).sum(axis=1)
    return float(np.mean(np.where(beaten, 0.0, 1 / (1 + tied))))


def chance(examples: Sequence[Ranked]) -> float:
    """What drawing a response by lot scores in ``best_of_k``: 25 % where one of four is good."""
    return float(np.mean([len(p) / sum(p.shape) for p in (example.probability for example in examples)]))


def ties_score(examples: Sequence[Ranked]) -> float | None:
    """The score of the Ties subset: 60 % accuracy and 40 % margins, between −0.01 and 1.01.

    Examples ``ref:<n>`` have one good response, ``tied:<n>`` several that are equally good. For each of them the gap is
    the score of its worst good response less that of its best worse one; the spread of a tied example is that between
    its best and its worst good response. Then, a mean being one over examples or over pairs of ref and tied:

        0.3 · mean(gap > 0) over ref + 0.3 · mean(gap > 0) over tied + 0.2 · mean(gap of tied > spread)
        + 0.2 · mean(smaller gap of both > spread) + 0.01 · mean(tanh(smaller gap / spread − 1))

    Where the spread is 0, the ratio is +∞ or −∞ by the sign of the gap. Where both are 0, the tanh, which is then NaN,
    counts as 0. Both are as in the published code.

    Returns:
        The score; None where an example has no scores, two have one name, or no pair of ref and tied is whole.
    """
    gaps: dict[str, dict[int, float]] = {"ref": {}, "tied": {}}
    spread: dict[int, float] = {}
    for example in examples:
        found = _ID.fullmatch(example.id)
        if found is None or example.good is None or example.worse is None:
            return None
        kind, number = found[1], int(found[2])
        if number in gaps[kind]:
            return None
        gaps[kind][number] = float(example.good.min() - example.worse.max())
        if kind == "tied":
            spread[number] = float(example.good.max() - example.good.min())
    both = sorted(gaps["ref"].keys() & gaps["tied"].keys())
    if not both:
        return None
    ref, tied, between = (np.array([of[n] for n in both]) for of in (gaps["ref"], gaps["tied"], spread))
    smaller = np.minimum(ref, tied)
    with np.errstate(divide="ignore", invalid="ignore"):
        bounded = np.nan_to_num(np.tanh(smaller / between - 1), nan=0.0)
    accuracies = [np.mean(np.array(list(gaps[kind].values())) > 0) for kind in ("tied", "ref")]
    margins = [np.mean(tied > between), np.mean(smaller > between)]
    return float(0.3 * sum(accuracies) + 0.2 * sum(margins) + 0.01 * np.mean(bounded))
