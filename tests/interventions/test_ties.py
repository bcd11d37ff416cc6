"""Equally accurate sites: one fixed order, their number, and predictions under other orders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genies.interventions.arrays import ArrayPairs
from genies.interventions.mms import MassMeanShift
from genies.interventions.steps.selection import keep_best, tied_at_edge
from genies.interventions.steps.tie_orders import TIE_ORDERS


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 20))
def test_sites_tie_at_the_edge_where_their_order_alone_decides(accuracy: list[int], kept: int) -> None:
    accuracy = np.array(accuracy)
    tied = tied_at_edge(accuracy, kept)
    chosen = {protocol: set(keep_best(accuracy, kept, protocol).tolist()) for protocol in ("paper", "corrected")}
    differ = chosen["paper"] ^ chosen["corrected"]
    assert differ <= set(tied.tolist())
    assert bool(len(tied)) == (len(tied) > len(chosen["paper"] & set(tied.tolist())) > 0)


def test_the_order_of_paper_is_fixed_whatever_the_sort() -> None:
    """Among many equal values NumPy's default sort depends on the processor."""
    accuracy = np.repeat([0.7, 0.9], 500)
    assert keep_best(accuracy, 16, "paper").tolist() == list(range(999, 983, -1))
    assert keep_best(accuracy, 16, "corrected").tolist() == list(range(500, 516))


def pairs(n: int, seed: int, shuffled: bool = False) -> ArrayPairs:
    """Eight heads, all alike but for noise that is too small to change an accuracy, and one that is better."""
    generator = np.random.default_rng(seed)
    label = generator.random(n) < 0.5 if shuffled else np.ones(n, bool)
    sign = np.where(label, 1.0, -1.0)[:, None] * np.array([0.5, -0.5])
    heads = generator.normal(0, 1, (n, 2, 1, 1, 4)).repeat(8, axis=3) + 1e-6 * generator.normal(0, 1, (n, 2, 1, 8, 4))
    heads[..., 0] += sign[:, :, None, None]
    heads[:, :, :, 3, 0] += 6 * sign[:, :, None]
    return ArrayPairs(heads={"plain": heads}, label=label if shuffled else None)


def test_paper_predicts_under_further_orders_and_corrected_counts_alone() -> None:
    fitted = MassMeanShift(kept=3, protocol="paper").fit(pairs(200, 0))
    assert fitted.sites_[:, 1].tolist() == [3, 7, 6] and fitted.edge_ties() == (7, 2)
    tested = pairs(100, 1, shuffled=True)
    repeats = fitted.predict_repeats(tested)
    assert repeats.shape == (TIE_ORDERS, 100)
    assert repeats == pytest.approx(np.tile(fitted.predict_proba(tested), (TIE_ORDERS, 1)), abs=1e-3)
    assert len({order.tobytes() for order in fitted.tie_orders_}) > 5
    again = MassMeanShift(kept=3, protocol="paper").set_state(*fitted.get_state())
    assert np.array_equal(again.predict_repeats(tested), repeats)

    corrected = MassMeanShift(kept=3).fit(pairs(200, 0))
    assert corrected.edge_ties() == (7, 2) and corrected.sites_[:, 1].tolist() == [3, 0, 1]
    assert corrected.predict_repeats(tested) is None


def test_the_order_that_is_documented_is_one_of_the_orders() -> None:
    """Under the order that keeps the same sites, the repeat is the prediction itself."""
    fitted = MassMeanShift(kept=7, protocol="paper").fit(pairs(200, 0))
    tested = pairs(60, 2, shuffled=True)
    same = [set(fitted.tied_sites_[order, 1]) == set(fitted.sites_[1:, 1]) for order in fitted.tie_orders_]
    repeats = fitted.predict_repeats(tested)
    assert any(same) and repeats[same] == pytest.approx(np.tile(fitted.predict_proba(tested), (sum(same), 1)))
