"""Pairs with a planted direction: what is known of them gives the accuracy that theory expects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import binom

from genies.interventions.arrays import ArrayPairs

DIM = 6
LAYERS = 3
HEADS = 2
SITE = (1, 1)
WORDS = ["yes", "no", "perhaps", "rain", "sun", "wind", "snow", "fog"]


def plant(n: int, effect: float, seed: int, shuffled: bool = False, contrary: Sequence[int] = ()) -> ArrayPairs:
    """Best minus worse is ``effect`` along axis 0 in layer 1 (head 1), all else standard normal noise.

    The no view holds the effect with the opposite sign. The last layer of the residual stream holds it four times
    over. Best responses come first, or else in random order with labels. Log-probabilities differ by the effect, too.
    In rows ``contrary`` the effect points the other way. Texts differ by nothing but what is drawn: their labels are
    coin flips.
    """
    rng = np.random.default_rng(seed)
    first_is_best = rng.random(n) < 0.5 if shuffled else np.ones(n, dtype=bool)
    side = np.where(first_is_best, 0.5, -0.5)
    side[list(contrary)] *= -1
    signal = side[:, None] * np.array([effect, -effect])
    heads, residual = {}, {}
    for view, sign in (("plain", 1), ("yes", 1), ("no", -1), ("lat_template", 1)):
        heads[view] = rng.standard_normal((n, 2, LAYERS, HEADS, DIM), dtype=np.float32)
        heads[view][:, :, *SITE, 0] += sign * signal
        residual[view] = rng.standard_normal((n, 2, LAYERS + 1, DIM), dtype=np.float32)
        residual[view][:, :, SITE[0], 0] += sign * signal
        residual[view][:, :, LAYERS, 0] += 4 * sign * signal
    return ArrayPairs(
        heads=heads,
        residual=residual,
        log_probability=rng.standard_normal((n, 2)) + signal,
        scored_tokens=rng.integers(1, 9, size=(n, 2)),
        texts=[[" ".join(rng.choice(WORDS, size)) for size in rng.integers(1, 9, n)] for _ in range(3)],
        reference_log_probability=np.random.default_rng([seed, 1]).standard_normal((n, 2)),
        label=first_is_best if shuffled else None,
    )


@pytest.fixture(scope="session")
def planted():
    return plant


@pytest.fixture(scope="session")
def training():
    return plant(400, effect=1.5, seed=1)


@pytest.fixture(scope="session")
def held_out():
    return plant(3000, effect=1.5, seed=2, shuffled=True)


@pytest.fixture(scope="session")
def accuracy():
    """Share of pairs ranked right, ties counting half."""

    def share(probability: np.ndarray, label: np.ndarray) -> float:
        return float(np.mean(np.where(label, probability > 0.5, probability < 0.5) + 0.5 * (probability == 0.5)))

    return share


@pytest.fixture(scope="session")
def within_binomial():
    """Whether a share of n draws is one that a probability gives in 99.9 % of samples."""

    def check(share: float, n: int, probability: float) -> bool:
        low, high = binom.interval(0.999, n, probability)
        return low / n <= share <= high / n

    return check
