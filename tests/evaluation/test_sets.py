"""What the choice of sets adds to the error of an accuracy, when each pair is judged by one of several drawn sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from helpers import write_evaluation

from genies.evaluation.scored import Scored, scored, variance_over_sets
from genies.evaluation.tables import sets
from genies.evaluation.uncertainty import clustered_variance

SETS, PAIRS, REPEATS = 8, 240, 400


def drawn(rng: np.random.Generator, deviation: float) -> tuple[np.ndarray, np.ndarray]:
    """How right pairs are ranked, and their sets, whose accuracies scatter around 0.7 by this deviation."""
    number = rng.integers(SETS, size=PAIRS)
    accuracy = np.clip(0.7 + deviation * rng.standard_normal(SETS), 0, 1)
    return (rng.random(PAIRS) < accuracy[number]).astype(float), number


@pytest.mark.long
@pytest.mark.parametrize("deviation", [0.0, 0.15])
def test_the_error_of_an_accuracy_holds_that_of_its_sets(deviation: float) -> None:
    rng = np.random.default_rng(0)
    cluster = np.arange(PAIRS)
    means, stated, of_pairs = [], [], []
    for _ in range(REPEATS):
        correct, number = drawn(rng, deviation)
        means.append(correct.mean())
        of_pairs.append(clustered_variance(correct, cluster))
        stated.append(of_pairs[-1] + variance_over_sets(correct, cluster, number))
    scatter = np.var(means, ddof=1)
    # The variance of 400 means is known to 7 %.
    assert np.mean(stated) > 0.85 * scatter
    if deviation:
        assert np.mean(stated) < 1.25 * scatter
        assert np.mean(of_pairs) < 0.7 * scatter
    else:
        # An estimate that may not be negative is too large on average.
        assert np.mean(stated) < 1.3 * np.mean(of_pairs)


@pytest.mark.long
@pytest.mark.parametrize("deviation", [0.0, 0.05, 0.1, 0.15])
def test_the_interval_of_an_accuracy_holds_the_spread_over_few_sets(deviation: float) -> None:
    rng = np.random.default_rng(1)
    cluster, covered = np.arange(PAIRS), 0
    for _ in range(REPEATS):
        correct, number = drawn(rng, deviation)
        low, high = Scored(correct, cluster, correct, drawn_set=number).interval
        covered += low <= 0.7 <= high
    assert covered >= REPEATS * 0.95 - 3.3 * np.sqrt(REPEATS * 0.95 * 0.05)


def test_one_set_or_sets_of_one_cluster_add_nothing() -> None:
    correct = np.array([1.0, 0.0, 1.0, 1.0])
    assert variance_over_sets(correct, np.arange(4), np.zeros(4, int)) == 0
    assert variance_over_sets(correct, np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1])) == 0


def test_sets_of_one_cluster_have_their_weight_in_the_mean() -> None:
    """Two large sets say how far sets differ; of the mean over all pairs they are but a part."""
    large = np.r_[np.ones(40), np.zeros(10), np.ones(15), np.zeros(35)]
    number, cluster = np.repeat([0, 1], 50), np.arange(100)
    alone = variance_over_sets(large, cluster, number)
    assert alone > 0
    correct, many = np.r_[large, np.tile([1.0, 0.0], 50)], np.r_[number, np.arange(2, 102)]
    found = variance_over_sets(correct, np.arange(200), many)
    # The large ones are half of the shares that they were, and a hundred single pairs have 1 / 200 each.
    assert found == pytest.approx(alone / 0.5 * (2 * 0.25**2 + 100 / 200**2))


def test_a_cell_has_the_accuracies_of_its_sets(tmp_path: Path) -> None:
    path = write_evaluation(tmp_path, "m", "few_shot", "a", {"b": [0.9, 0.8, 0.2, 0.1, 0.7, 0.6]})
    pairs = pl.read_parquet(path)
    assert sets.row(pairs) is None
    assert scored(pairs).drawn_set is None
    dealt = pairs.with_columns(drawn_set=pl.Series([0, 0, 3, 3, 3, 3]))
    row = sets.row(dealt)
    assert row is not None
    assert (row["sets"], row["fewest_pairs"]) == (2, 2)
    assert (row["accuracy_least"], row["accuracy_most"]) == (0.5, 1.0)
    assert row["accuracy"] == pytest.approx(4 / 6)
    assert scored(dealt).seed_variance == row["added_error"] ** 2
