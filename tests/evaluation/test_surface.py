"""What surface baselines reach on shifts, and which leads over them are more than noise."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genies.evaluation.scored import Scored
from genies.evaluation.tables.comparisons import HIGHER, LOWER, NOT_DISTINGUISHABLE, NOT_TESTED
from genies.evaluation.tables.surface import TABLE, surface

PAIRS = 200


def measured(levels: dict[tuple[str, str], float], seed: int = 0, pairs: int = PAIRS):
    """Metrics and scores of interventions on shifts a → target: (intervention, target) to the chance of being right."""
    generator = np.random.default_rng(seed)
    rows, scores = [], {}
    for (name, target), level in levels.items():
        correct = (generator.random(pairs) < level).astype(float)
        one = Scored(correct, np.arange(pairs), np.where(correct == 1, 0.9, 0.1))
        scores["m", name, "a", target] = one
        low, high = one.interval
        rows.append({"model": "m", "intervention": name, "source": "a", "target": target,
                     "generalization_accuracy": one.correct.mean(), "generalization_accuracy_low": low,
                     "generalization_accuracy_high": high})  # fmt: skip
    return pl.DataFrame(rows), scores


LEVELS = {
    ("mms", "b"): 0.9, ("lora", "b"): 0.7, ("random", "b"): 0.5, ("length", "b"): 0.55, ("first_word", "b"): 0.6,
    ("mms", "c"): 0.6, ("lora", "c"): 0.65, ("random", "c"): 0.5, ("length", "c"): 0.95, ("first_word", "c"): 0.5,
    ("mms", "d"): 0.8, ("lora", "d"): 0.5, ("random", "d"): 0.5, ("length", "d"): 0.8, ("first_word", "d"): 0.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def table():
    metrics, scores = measured(LEVELS)
    of_baseline = pl.col("intervention").is_in(["length", "first_word"])
    return surface(metrics.filter(~of_baseline), metrics.filter(of_baseline), scores), metrics, scores


def test_the_best_method_is_compared_with_the_best_baseline_of_each_shift(table):
    found, metrics, _ = table
    assert found.columns == list(TABLE.columns) and len(found) == 6
    best = found.filter("best").select("target", "intervention", "other", "verdict").rows()
    assert best == [("b", "first_word", "mms", HIGHER), ("c", "length", "lora", LOWER),
                    ("d", "length", "mms", NOT_DISTINGUISHABLE)]  # fmt: skip
    accuracy = {(n, t): a for n, t, a in metrics.select("intervention", "target", "generalization_accuracy").rows()}
    for row in found.iter_rows(named=True):
        assert row["accuracy"] == accuracy[row["intervention"], row["target"]]
        if row["best"]:
            lead = accuracy[row["other"], row["target"]] - row["accuracy"]
            assert row["lead"] == pytest.approx(lead)
            assert (row["p_adjusted"] < 0.05) == (not row["lead_low"] <= 0 <= row["lead_high"])
        else:
            assert row["other"] is row["lead"] is row["verdict"] is None


def test_leads_are_not_tested_where_single_pairs_are_not_known(table):
    _, metrics, _ = table
    of_baseline = pl.col("intervention") == "length"
    found = surface(metrics.filter(~of_baseline), metrics.filter(of_baseline), {})
    assert found["verdict"].to_list() == [NOT_TESTED] * 3 and found["p_adjusted"].null_count() == 3


def test_with_no_method_a_baseline_is_the_best_and_leads_nothing(table):
    _, metrics, scores = table
    found = surface(metrics.clear(), metrics.filter(pl.col("intervention") == "length"), scores)
    assert found["best"].all() and found["lead"].null_count() == 3


@pytest.mark.parametrize(("methods", "baselines", "verdict"), [(6, 1, HIGHER), (1, 4, LOWER)])
def test_of_equally_good_ones_few_families_find_one_ahead(methods, baselines, verdict):
    """On four shifts: the best of several must not look better because it was chosen."""
    counting = [f"count{n}" for n in range(baselines)]
    false = 0
    for seed in range(60):
        levels = {(n, t): 0.7 for t in "bcde" for n in (*(f"method{i}" for i in range(methods)), *counting)}
        metrics, scores = measured(levels, seed, pairs=80)
        of_baseline = pl.col("intervention").is_in(counting)
        found = surface(metrics.filter(~of_baseline), metrics.filter(of_baseline), scores)
        false += verdict in found["verdict"].to_list()
    assert false <= 8  # of 60 at 5 %: 9 or more have a probability of 0.4 %
