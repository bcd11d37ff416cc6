"""Rows of several sets of pairs as one, pairs that keep what was read, and draws that keep prompts together."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genies.interventions.arrays import ArrayPairs
from genies.interventions.registry import make
from genies.interventions.steps.joined import JoinedPairs, KeptPairs, drawn_order, whole_clusters
from genies.stages.curves import curve_fits
from genies.stages.refits import Probe, correct

PROBES = ("mms", "lat_stim_2", "cra", "lat_pca", "logistic", "mass_mean_whitened", "bag_of_words")


@pytest.mark.parametrize("name", PROBES)
def test_a_fit_on_joined_rows_is_that_on_the_same_pairs_in_one_set(name, planted, held_out):
    one, other = planted(60, 1.5, 3), planted(40, 1.5, 4)
    rows, others = np.arange(0, 60, 2), np.array([5, 7, 7, 7])
    kept = [KeptPairs(pairs) for pairs in (one, other)]
    joined = JoinedPairs(
        [(kept[0], rows), (kept[1], others)], np.concatenate([rows, 60 + others]), np.concatenate([rows, 60 + others])
    )
    parts = one.take(rows), other.take(others)
    heads = {view: np.concatenate([part._heads.arrays[view] for part in parts]) for view in one._heads.arrays}
    residual = {view: np.concatenate([part._residual.arrays[view] for part in parts]) for view in one._residual.arrays}
    texts = [sum(both, ()) for both in zip(*(part.texts() for part in parts), strict=True)]
    whole = ArrayPairs(heads=heads, residual=residual, texts=texts, example=joined.example, cluster=joined.cluster)
    found, expected = (make(name, {}).fit(pairs).predict_proba(held_out) for pairs in (joined, whole))
    assert np.array_equal(found, expected)


def test_what_was_read_is_not_read_again_up_to_a_limit(training):
    source = Mock(wraps=training, head_numbers=training.head_numbers)
    size = training.residual("plain", 0).nbytes
    kept = KeptPairs(source, limit=2 * size)
    for _ in range(2):
        for layer in range(3):
            assert np.array_equal(kept.residual("plain", layer), training.residual("plain", layer))
    assert [call.args[1] for call in source.residual.call_args_list] == [0, 1, 2, 2]
    assert np.array_equal(KeptPairs(training).heads("plain", 1, [1]), training.heads("plain", 1, [1]))


@given(
    cluster=st.lists(st.integers(0, 12), min_size=1, max_size=40).map(np.array),
    sizes=st.lists(st.integers(1, 50), min_size=2, max_size=5).map(sorted),
    seed=st.integers(0, 2**32),
)
def test_draws_are_nested_and_keep_prompts_together(cluster, sizes, seed):
    order = drawn_order(cluster, seed)
    assert sorted(order.tolist()) == list(range(len(cluster)))
    drawn = [set(whole_clusters(order, cluster, size).tolist()) for size in sizes]
    largest = np.bincount(cluster).max()
    for size, rows in zip(sizes, drawn, strict=True):
        within = {int(cluster[row]) for row in rows}
        assert rows == {row for row in range(len(cluster)) if cluster[row] in within}
        assert min(size, len(cluster)) <= len(rows) < size + largest
    assert all(smaller <= larger for smaller, larger in itertools.pairwise(drawn))


def curve(training: ArrayPairs, tested: ArrayPairs, sizes: list[int], draws: int = 4) -> dict[int, float]:
    """Mean accuracy by size, of differences of means in one layer."""
    probe = Probe("lat_stim_1", "lat_stim_1", {})
    found = {}
    for size, fits in curve_fits(probe, "source", KeptPairs(training), sizes, draws):
        right = [(fit.predict_proba(tested) > 0.5) == tested.label for fit in fits]
        found[size] = float(np.mean(right))
    return found


def world(n: int, dim: int, effect: float, seed: int, shuffled: bool = False) -> ArrayPairs:
    """Best minus worse is ``effect`` along one axis of ``dim``, all else standard normal; a layer, and the last one."""
    rng = np.random.default_rng(seed)
    label = rng.random(n) < 0.5 if shuffled else np.ones(n, bool)
    residual = rng.standard_normal((n, 2, 2, dim), dtype=np.float32)
    residual[:, :, 0, 0] += np.where(label[:, None], [effect / 2, -effect / 2], [-effect / 2, effect / 2])
    return ArrayPairs(residual={"plain": residual}, label=label)


def test_a_curve_is_flat_where_few_pairs_suffice_and_rises_where_they_do_not():
    """A difference of means over n pairs in d dimensions is as exact as Φ(δ² / √(2δ² + 4d/n)) says, δ the effect."""
    easy = curve(world(160, 2, 3.0, 1), world(2000, 2, 3.0, 2, shuffled=True), [10, 20, 80])
    assert list(easy) == [10, 20, 80, 160]
    assert abs(easy[160] - easy[20]) < 0.01 < 0.9 < easy[20]
    hard = curve(world(640, 100, 1.0, 3), world(2000, 100, 1.0, 4, shuffled=True), [10, 40, 160])
    assert hard[40] - hard[10] > 0.03 and hard[160] - hard[40] > 0.03 and hard[640] - hard[160] > 0.03


def test_the_last_fit_of_a_curve_is_the_probes_own(training, held_out):
    probe = Probe("mms", "mms", {})
    *_, (size, fits) = curve_fits(probe, "source", KeptPairs(training), [10, 400, 900], 2)
    (last,) = fits
    assert size == 400
    assert np.array_equal(last.predict_proba(held_out), probe.unfitted().fit(training).predict_proba(held_out))


@pytest.mark.parametrize(("protocol", "expected"), [("corrected", [13, 16, 20]), ("paper", [8, 12, 13, 16, 20])])
def test_a_size_whose_draws_hold_too_few_prompts_to_be_split_is_left_out(planted, protocol, expected):
    """Five prompts with four pairs each, as a source has them whose examples share prompts: 12 pairs are three."""
    pairs = planted(20, 1.5, 7)
    training = ArrayPairs(
        heads=pairs._heads.arrays, residual=pairs._residual.arrays, texts=pairs.texts(), cluster=np.arange(20) // 4
    )
    probe = Probe("mms", "mms", {"protocol": protocol})
    found = {size: [*fits] for size, fits in curve_fits(probe, "source", training, [13, 16, 8, 12], 3)}
    assert [*found] == expected and [len(fits) for fits in found.values()] == [*[3] * (len(expected) - 1), 1]


@pytest.mark.parametrize(
    ("name", "parameters"), [("mms", {"protocol": "paper"}), ("ccs", {"epochs": 30, "restarts": 2, "seeds": 3})]
)
def test_test_pairs_are_right_as_evaluations_say(name, parameters, planted):
    """Means over seeds where results are means over seeds; orders of ties are no seeds."""
    fitted = make(name, parameters).fit(planted(60, 1.0, 5))
    tested = planted(80, 1.0, 6, shuffled=True)
    shares = fitted.predict_repeats(tested) if name == "ccs" else fitted.predict_proba(tested)[None]
    expected = np.mean((shares > 0.5) == tested.label, axis=0)
    found = correct(fitted, tested, SimpleNamespace(name="other", best_first=tested.label))
    assert found.tolist() == expected.tolist() and 0.5 < found.mean() < 1
