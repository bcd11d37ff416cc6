"""Doubtful labels: planted wrong ones come first, and correcting them restores what a method is worth."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from genies.evaluation.audit import CORRECTED, DOUBTS, corrected, doubts
from genies.evaluation.evaluations import PAIR_COLUMNS

PAIRS = 600


def evaluation(probability: np.ndarray) -> pl.DataFrame:
    n = len(probability)
    rows = {"target": ["t"] * n, "example": range(n), "pair": [0] * n, "cluster": range(n), "probability": probability}
    return pl.DataFrame(rows).select(
        pl.col(name).cast(kind) if name in rows else pl.lit(None, kind).alias(name)
        for name, kind in PAIR_COLUMNS.items()
    )


@pytest.fixture(scope="module")
def planted():
    """Four methods, right on 85 % of the true labels and surer where they are right; 5 % of labels are flipped."""
    rng = np.random.default_rng(3)
    turned = rng.permutation(PAIRS) < 30
    frames = []
    for _ in range(4):
        right = rng.random(PAIRS) < 0.85
        true = np.where(right, rng.uniform(0.6, 1.0, PAIRS), rng.uniform(0.3, 0.5, PAIRS))
        frames.append(evaluation(np.where(turned, 1 - true, true)))
    return frames, turned


def test_planted_wrong_labels_are_ranked_first(planted):
    frames, turned = planted
    found = doubts(frames)
    assert found.columns == list(DOUBTS) and found["doubt"].is_sorted(descending=True)
    assert roc_auc_score(turned[found["example"].to_numpy()], found["doubt"].to_numpy()) > 0.98
    assert turned[found["example"].head(30).to_numpy()].mean() > 0.85
    first = found.row(0, named=True)
    assert first["fits"] == 4 and first["against"] >= 3


def test_correcting_them_restores_accuracy_and_gives_the_ceiling(planted):
    frames, turned = planted
    top = doubts(frames).head(60)
    reviewed = top.select("target", "example", "pair").with_columns(wrong=pl.Series(turned[top["example"].to_numpy()]))
    cells = {("m", "mms", "s", "t"): frames[0], ("m", "mms", "s", "other"): frames[1].with_columns(target=pl.lit("u"))}
    (row,) = corrected(cells, reviewed).iter_rows(named=True)
    found = int(reviewed["wrong"].sum())
    assert list(row) == list(CORRECTED) and (row["pairs"], row["reviewed"], row["wrong"]) == (PAIRS, 60, found)
    assert row["ceiling"] == pytest.approx(1 - found / PAIRS)
    assert row["corrected_accuracy"] == pytest.approx(0.85, abs=0.04) and row["corrected_accuracy"] > row["accuracy"]


def test_of_several_seeds_accuracies_are_means():
    """Not that of the mean probability, which one very sure seed decides."""
    seeds = np.array([[0.9, 0.9, 0.1, 0.1], [0.4, 0.4, 0.4, 0.4], [0.4, 0.4, 0.4, 0.4]])
    judged = evaluation(seeds.mean(axis=0)).with_columns(
        repeated_over=pl.lit("seeds"), repeats=pl.Series(seeds.T.tolist(), dtype=pl.List(pl.Float64))
    )
    reviewed = judged.head(1).select("target", "example", "pair").with_columns(wrong=pl.lit(value=True))
    (row,) = corrected({("m", "ccs", "s", "t"): judged}, reviewed).iter_rows(named=True)
    assert row["accuracy"] == pytest.approx(2 / 12) and row["corrected_accuracy"] == pytest.approx(3 / 12)


def test_without_fits_there_is_no_doubt():
    assert doubts([]).columns == list(DOUBTS) and not len(doubts([]))
