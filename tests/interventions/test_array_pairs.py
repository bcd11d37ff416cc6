"""Pairs made of arrays of one's own."""

from __future__ import annotations

import numpy as np
import pytest

from genies.errors import DataError
from genies.interventions.arrays import ArrayPairs


def features(seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    heads, residual = rng.standard_normal((5, 2, 3, 4, 2)), rng.standard_normal((5, 2, 4, 8))
    return {"heads": {"plain": heads}, "residual": {"plain": residual}}


def test_features_come_layer_by_layer_as_float32_and_heads_in_the_order_asked_for():
    given = features()
    pairs = ArrayPairs(**given)
    assert (len(pairs), pairs.layers("heads"), pairs.layers("residual")) == (5, [0, 1, 2], [0, 1, 2, 3])
    assert np.array_equal(pairs.heads("plain", 1), given["heads"]["plain"][:, :, 1].astype(np.float32))
    assert np.array_equal(pairs.heads("plain", 1, [3, 0]), pairs.heads("plain", 1)[:, :, [3, 0]])
    assert pairs.residual("plain", 3).dtype == np.float32


def test_rows_are_taken_and_sides_are_swapped_with_their_labels():
    pairs = ArrayPairs(**features(), example=[4, 4, 5, 6, 7], label=[True, False, True, True, False])
    taken = pairs.take(np.array([2, 0]))
    assert (taken.example.tolist(), taken.label.tolist()) == ([5, 4], [True, True])
    assert np.array_equal(taken.residual("plain", 0), pairs.residual("plain", 0)[[2, 0]])
    swapped = pairs.swapped()
    assert swapped.label.tolist() == [False, True, False, False, True]
    assert np.array_equal(swapped.heads("plain", 2), pairs.heads("plain", 2)[:, ::-1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give at least one feature"),
        ({"residual": {"plain": np.zeros((5, 3, 4, 8))}}, r"residual, view plain has shape \(5, 3, 4, 8\)"),
        ({"residual": {"plain": np.zeros((5, 2, 8))}}, "needed are 4 axes"),
        ({"log_probability": np.zeros((5, 2)), "scored_tokens": np.zeros((4, 2))}, r"arrays of \[4, 5\] pairs"),
        ({"log_probability": np.zeros((5, 2)), "label": [True]}, r"arrays of \[1, 5\] pairs"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(given, message):
    with pytest.raises(DataError, match=message):
        ArrayPairs(**given)


def test_what_was_not_given_is_named():
    pairs = ArrayPairs(**features())
    with pytest.raises(DataError, match=r"no residual of view yes \(given: plain\)"):
        pairs.residual("yes", 0)
    with pytest.raises(DataError, match="no log_probability given"):
        pairs.log_probability()
    with pytest.raises(DataError, match="no heads given"):
        ArrayPairs(log_probability=np.zeros((2, 2))).layers("heads")
