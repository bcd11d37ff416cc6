"""Effects of directions next to random ones: their level where there is nothing, and planted ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from genies.evaluation.effects import Effect, adjusted
from genies.evaluation.uncertainty import clustered_mean

DRAWS = 19


def family(size: int, seed: int, planted: float = 0.0) -> list[Effect]:
    """Effects of one direction on several targets, correlated and of unlike sizes, the first moved by ``planted``."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_t(4, 1 + DRAWS)
    found = []
    for number in range(size):
        means = (shared + rng.standard_t(4, 1 + DRAWS)) * 10.0**number
        means[0] += planted * (number == 0)
        values = means[0] + np.array([-1.0, 1.0] * 10)
        found.append(Effect(values, np.arange(20), means[1:]))
    return found


def test_at_the_null_one_family_in_twenty_has_a_p_value_of_5_percent() -> None:
    families = [family(6, seed) for seed in range(400)]
    low, high = binom.interval(0.999, 400, 0.05)
    assert low <= sum(min(adjusted(one)) <= 0.05 for one in families) <= high
    assert sum(min(effect.p for effect in one) <= 0.05 for one in families) > high


def test_a_planted_effect_is_found_though_others_have_larger_units() -> None:
    found = [adjusted(family(6, seed, planted=100.0))[0] for seed in range(20)]
    assert found == [0.05] * 20
    assert all(effect.p <= p for effect, p in zip(family(6, 1), adjusted(family(6, 1)), strict=True))


def test_distances_are_from_the_mean_of_all_directions_on_either_side() -> None:
    """All random directions harm the model: one that does not is far from the others, though its effect is smaller."""
    effect = Effect(np.array([-1.0, 1.0]), np.array([0, 1]), np.array([-4.0, -3.0, -5.0]))
    assert effect.mean == 0 and effect.p == 1 / 4 and effect.distances == pytest.approx([3, 1, 0, 2])
    assert effect.interval() == pytest.approx(clustered_mean([-1, 1], [0, 1]).interval())
    assert Effect(-effect.values, effect.cluster, -effect.random).p == 1 / 4
    assert Effect(effect.values - 4, effect.cluster, effect.random).p == 1
    assert Effect(np.array([1.0]), np.array([0]), np.array([0.5])).interval() == (None, None)


def test_where_nothing_changes_nothing_is_shown() -> None:
    still = Effect(np.zeros(4), np.arange(4), np.zeros(DRAWS))
    assert still.p == 1 and adjusted([still]) == [1.0] and adjusted([]) == []
