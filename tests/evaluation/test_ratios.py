"""Intervals of differences and ratios that are made from the intervals of their parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genies.evaluation.ratios import Estimate, difference, mean_interval, ratio_interval

DRAWN = np.random.default_rng(0).standard_normal((2, 100))
MARGINS = st.tuples(st.floats(0, 0.3), st.floats(0, 0.3))


def estimate(value: float, margins: tuple[float, float], drawn: np.ndarray = DRAWN[0]) -> Estimate:
    return Estimate(value, value - margins[0], value + margins[1], drawn)


@settings(max_examples=200, deadline=None)
@given(st.floats(-1, 1), MARGINS, st.floats(0.4, 1), MARGINS, st.floats(-1, 1))
def test_the_interval_of_a_ratio_holds_it_and_mirrors_with_its_sign(
    value: float, margins: tuple[float, float], divisor: float, its: tuple[float, float], shared: float
) -> None:
    drawn = shared * DRAWN[0] + np.sqrt(1 - shared**2) * DRAWN[1]
    below = estimate(divisor, its, drawn)
    low, high = ratio_interval(estimate(value, margins), below)
    assert low - 1e-9 <= value / divisor <= high + 1e-9
    mirrored = ratio_interval(estimate(-value, margins[::-1], -DRAWN[0]), below)
    assert mirrored == pytest.approx((-high, -low), abs=1e-6)


def test_a_part_without_a_width_moves_no_end() -> None:
    known = estimate(0.8, (0.0, 0.0), np.full(100, 0.8))
    assert ratio_interval(estimate(0.6, (0.2, 0.1)), known) == pytest.approx((0.5, 0.875))
    assert difference(estimate(0.6, (0.2, 0.1)), known)[:3] == pytest.approx((-0.2, -0.4, -0.1))


def test_of_a_mean_unrelated_figures_add_like_standard_errors_and_equal_ones_in_full() -> None:
    one = estimate(0.5, (0.3, 0.1), np.repeat([1.0, -1.0], 50))
    apart = estimate(0.7, (0.4, 0.2), np.tile([1.0, -1.0], 50))
    assert mean_interval([one]) == pytest.approx((0.2, 0.6))
    assert mean_interval([one, apart]) == pytest.approx((0.6 - 0.25, 0.6 + np.sqrt(0.05) / 2))
    assert mean_interval([one, one._replace(value=0.7, low=0.3, high=0.9)]) == pytest.approx((0.6 - 0.35, 0.6 + 0.15))
    still = estimate(0.0, (0.0, 0.2), np.zeros(100))
    assert mean_interval([still, still]) == pytest.approx((0.0, 0.2))
    assert mean_interval([still, still._replace(drawn=np.zeros(100))]) == pytest.approx((0.0, 0.2 / np.sqrt(2)))


def test_a_divisor_that_may_be_nothing_leaves_no_end() -> None:
    assert ratio_interval(estimate(0.5, (0.1, 0.1)), estimate(0.2, (0.2, 0.3))) is None
