"""Which direction moved: a probe on a tuned model, next to the same probe on its base."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genies.evaluation.evaluations import PAIR_COLUMNS
from genies.evaluation.paired import paired_p
from genies.evaluation.scored import Scored, scored
from genies.evaluation.tables.moved import TABLE, moved, score_correlation

N = 240


def judged(right: np.ndarray, size: np.ndarray | None = None, cluster: np.ndarray | None = None) -> Scored:
    """What an evaluation says of pairs, ranked right where ``right``, with differences of scores of some size."""
    n = len(right)
    advantage = np.where(right, 1.0, -1.0) * (np.ones(n) if size is None else size)
    columns = {
        "target": ["b"] * n,
        "example": np.arange(n),
        "pair": np.zeros(n),
        "cluster": np.arange(n) if cluster is None else cluster,
        "probability": 1 / (1 + np.exp(-advantage)),
        "score_best": advantage + 3,
        "score_worse": np.full(n, 3.0),
    }
    absent = dict.fromkeys([name for name in PAIR_COLUMNS if name not in columns], [None] * n)
    return scored(pl.DataFrame({**columns, **absent}, schema_overrides=PAIR_COLUMNS).select(*PAIR_COLUMNS))


def metrics(*interventions: str) -> pl.DataFrame:
    return pl.DataFrame(
        [{"model": "tuned", "intervention": name, "source": "a", "target": "b"} for name in interventions]
    )


@pytest.fixture
def planted() -> dict[str, dict]:
    """Length is right on half of the pairs. On the base ``mms`` ranks by truth; on the tuned model it goes by length.

    ``ccs`` guesses on both; ``zero_shot`` ranks by truth on both.
    """
    rng = np.random.default_rng(3)
    length = rng.random(N) < 0.5
    truth, after = rng.random(N) < 0.85, np.where(rng.random(N) < 0.92, length, ~length)
    scores = {("base", "length", "a", "b"): judged(length)}
    for model, mms in (("base", truth), ("tuned", after)):
        scores[model, "mms", "a", "b"] = judged(mms, rng.uniform(0.5, 2, N))
        scores[model, "ccs", "a", "b"] = judged(rng.random(N) < 0.5)
        scores[model, "zero_shot", "a", "b"] = judged(truth, rng.uniform(0.5, 2, N))
    table = moved(metrics("random", "mms", "ccs", "zero_shot"), scores, {"tuned": "base"}, ["length", "zero_shot"])
    found: dict[str, dict] = {}
    for row in table.iter_rows(named=True):
        found.setdefault(row["intervention"], {})[row["rival"]] = row
    return found


def test_a_probe_that_follows_length_where_its_base_did_not_is_found(planted: dict[str, dict]) -> None:
    assert {name: set(rows) for name, rows in planted.items()} == {
        "mms": {None, "length", "zero_shot"}, "ccs": {None, "length", "zero_shot"}, "zero_shot": {None, "length"},
    }  # fmt: skip
    accuracy, length, likelihood = (planted["mms"][rival] for rival in (None, "length", "zero_shot"))
    assert accuracy["before"] == pytest.approx(0.85, abs=0.06) and accuracy["after"] == pytest.approx(0.5, abs=0.08)
    assert accuracy["difference_high"] < 0 and accuracy["verdict"] == "lower"
    assert length["before"] == pytest.approx(0.5, abs=0.08) and length["after"] > 0.88
    assert length["difference_low"] > 0.2 and length["verdict"] == "higher"
    # On the base it ranked every pair as likelihood does.
    assert likelihood["before"] == 1.0 and likelihood["verdict"] == "lower"
    assert accuracy["pairs"] == N and abs(accuracy["score_correlation"]) < 0.3
    for rival in (None, "length"):
        unmoved = planted["zero_shot"][rival]
        assert unmoved["difference"] == 0 and unmoved["verdict"] == "not distinguishable"
        assert planted["ccs"][rival]["verdict"] == "not distinguishable"
    assert planted["zero_shot"][None]["score_correlation"] > 0.8
    assert planted["mms"]["length"]["score_correlation"] is None  # said once


def test_a_single_difference_is_judged_as_the_paired_test_does() -> None:
    rng = np.random.default_rng(5)
    cluster = np.repeat(np.arange(60), 2)
    before, after = rng.random(120) < 0.75, rng.random(120) < 0.55
    scores = {(model, "mms", "a", "b"): judged(right, cluster=cluster) for model, right in
              (("base", before), ("tuned", after))}  # fmt: skip
    (row,) = moved(metrics("mms"), scores, {"tuned": "base"}, ["length"]).iter_rows(named=True)
    exact = paired_p(after.astype(float) - before, cluster)
    assert row["p_adjusted"] == pytest.approx(exact, abs=0.01) and 0.001 < exact < 0.3
    assert row["difference"] == pytest.approx(after.mean() - before.mean())
    middle = (row["difference_low"] + row["difference_high"]) / 2
    assert middle == pytest.approx(row["difference"])


def test_undecided_pairs_of_a_rival_do_not_count_and_other_pairs_are_not_compared() -> None:
    right = np.array([True, True, False, True])
    rule = judged(right, size=np.array([1.0, 0.0, 1.0, 1.0]))
    assert rule.correct.tolist() == [1, 0.5, 0, 1]
    scores = {(model, "mms", "a", "b"): judged(right) for model in ("base", "tuned")}
    scores["base", "length", "a", "b"] = rule
    rows = moved(metrics("mms"), scores, {"tuned": "base"}, ["length"]).to_dicts()
    assert [(row["rival"], row["pairs"], row["before"], row["after"]) for row in rows] == [
        (None, 4, 0.75, 0.75), ("length", 3, 1.0, 1.0),
    ]  # fmt: skip
    scores["tuned", "mms", "a", "b"] = judged(right[:3])
    assert not len(moved(metrics("mms"), scores, {"tuned": "base"}, ["length"]))
    assert not len(moved(metrics("mms"), scores, {}, ["length"]))


def test_a_rival_with_a_preference_on_few_pairs_is_not_tested_and_widens_no_interval() -> None:
    rng = np.random.default_rng(2)
    right = {"base": rng.random(60) < 0.9, "tuned": np.arange(60) % 2 > 0}
    scores = {(model, "mms", "a", "b"): judged(ranked) for model, ranked in right.items()}
    (alone,) = moved(metrics("mms"), scores, {"tuned": "base"}, []).to_dicts()
    scores["base", "first_word", "a", "b"] = judged(rng.random(60) < 0.5, size=(np.arange(60) < 3).astype(float))
    both, few = moved(metrics("mms"), scores, {"tuned": "base"}, ["first_word"]).to_dicts()
    assert both == alone and alone["verdict"] == "lower"
    assert (few["rival"], few["pairs"], few["verdict"], few["difference_low"]) == ("first_word", 3, "not tested", None)


def test_the_correlation_takes_pairs_in_both_orders() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 1, 50), rng.normal(1, 1, 50)
    one, other = (judged(values > 0, np.abs(values)) for values in (a, b))
    both = np.corrcoef(np.concatenate([a, -a]), np.concatenate([b, -b]))[0, 1]
    assert score_correlation(one, other) == pytest.approx(both)
    assert score_correlation(one, one) == pytest.approx(1)
    assert score_correlation(one, judged(a > 0, np.zeros(50))) is None


def test_without_a_tuned_model_the_table_is_empty() -> None:
    assert moved(metrics("mms"), {}, {}, []).schema == TABLE.frame().schema


def test_of_probes_that_did_not_move_few_are_said_to_have_where_one_prompt_has_a_third_of_the_pairs() -> None:
    """Half of the pairs of a prompt go together. Without the size of prompts one family in eight was wrong."""
    sizes = np.array([20] + [2] * 20)
    cluster, trials, wrong = np.repeat(np.arange(21), sizes), 150, 0
    rng = np.random.default_rng(4)
    for _ in range(trials):
        scores = {}
        for key in [
            (model, name, "a", "b") for model in ("base", "tuned") for name in ("mms", "ccs", "lora", "length")
        ]:
            level = np.where(rng.random(len(cluster)) < 0.5, rng.random(21)[cluster], rng.random(len(cluster)))
            scores[key] = judged(level < 0.65, cluster=cluster)
        found = moved(metrics("mms", "ccs", "lora"), scores, {"tuned": "base"}, ["length"])
        wrong += found["p_adjusted"].min() < 0.05
    assert wrong / trials <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)
