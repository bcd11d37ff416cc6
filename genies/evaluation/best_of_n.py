"""Best of n: how good the response is that scores highest among n, and how good its score says that it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import comb, softmax

FEWEST_RESPONSES = 3
"""With two, the best of them is what a pair asks."""
FEWEST_EXAMPLES = 20
"""Fewer examples with one number of responses say nothing."""


@dataclass(frozen=True)
class Choices:
    """Examples with k responses each, of which one is good, the first one.

    Attributes:
        score: of the responses, float64 (examples, k).
        of_texts: whether these are scores of single texts. If not, a pair's probability alone is known: the good
            response has 0, and another one 1 where it is preferred to it, −1 where it is not, and 0 for a tie.
        cluster: number of each example's cluster among those of the target, from 0, int64 (examples,).
    """

    score: np.ndarray
    of_texts: bool
    cluster: np.ndarray

    @property
    def responses(self) -> int:
        return self.score.shape[1]


def choices(pairs: pl.DataFrame) -> Iterator[Choices]:
    """The examples of a target with three responses or more of which one is good, by the number of responses.

    Numbers of responses that too few examples have are left out.

    Args:
        pairs: of the target, columns as in ``PAIR_COLUMNS``.
    """
    if pairs["best_text"].null_count() or pairs["probability"].null_count():
        return
    of_texts = not (pairs["best_text_score"].null_count() or pairs["worse_text_score"].null_count())
    good, other = "best_text_score", "worse_text_score"
    preferred = pairs.with_columns(cluster=pl.col("cluster").rank("dense").cast(pl.Int64) - 1)
    if not of_texts:
        lead = (0.5 - pl.col("probability")).sign()
        preferred = preferred.with_columns(lead.alias(other), pl.lit(0.0).alias(good))
    # Questions about single responses have a number in place of a pair's.
    examples = preferred.filter(pl.col("answer").is_null()).group_by("example", maintain_order=True).agg(
        pl.col("cluster").first(), pl.col(good).first(), pl.col(other), pl.col("best_text").n_unique().alias("goods"),
        (pl.len() + 1).alias("responses"),
    )  # fmt: skip
    chosen = examples.filter((pl.col("goods") == 1) & (pl.col("responses") >= FEWEST_RESPONSES))
    for _, rows in chosen.sort("responses", maintain_order=True).group_by("responses", maintain_order=True):
        if len(rows) < FEWEST_EXAMPLES:
            continue
        score = np.column_stack([rows[good].to_numpy(), np.array(rows[other].to_list(), np.float64)])
        yield Choices(score, of_texts, rows["cluster"].to_numpy())


def best_of(score: np.ndarray, value: np.ndarray, n: int) -> np.ndarray:
    """Expected value of the response with the highest score among n drawn from an example's, float64 (examples,).

    Drawn without replacement, so that it is unbiased for the best of n (Nakano et al. 2021, WebGPT, arXiv 2112.09332,
    appendix I; Gao, Schulman and Hilton 2022, arXiv 2210.10760). Of equal scores any is taken.

    Args:
        score: float (examples, k).
        value: of each response, float (examples, k).
        n: 1 to k.
    """
    k = score.shape[1]
    lower = (score[:, None, :] < score[:, :, None]).sum(axis=2)
    equal = (score[:, None, :] == score[:, :, None]).sum(axis=2)
    within = comb(np.arange(k + 1), n)  # choices of n that lie among so many of the lowest responses
    return ((within[lower + equal] - within[lower]) / equal * value).sum(axis=1) / within[k]


def is_good(found: Choices) -> np.ndarray:
    """1 for the good response of each example, else 0, float64 (examples, k)."""
    return np.broadcast_to(np.eye(1, found.responses), found.score.shape)


def promised(found: Choices, slope: float) -> np.ndarray:
    """Probability that each response is the good one of its example, as the scores say, float64 (examples, k).

    Luce's choice axiom (1959): proportional to exp(slope · score), so that of two responses the first one has the
    probability σ(slope · difference).

    Args:
        found: examples with scores of texts.
        slope: of the calibrator of differences, from the source.
    """
    return softmax(slope * (found.score - found.score.max(axis=1, keepdims=True)), axis=1)
