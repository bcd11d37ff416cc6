"""Risk–coverage and best of n on planted probabilities and scores."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from scipy.stats import norm
from text_evaluations import pairs_of, row_of, run_of, scores_of

from genies.evaluation.best_of_n import Choices, best_of, choices
from genies.evaluation.draws import drawn_clusters, percentiles
from genies.evaluation.metrics import correctness
from genies.evaluation.scored import Scored
from genies.evaluation.selective import COVERAGES, accuracy_at, areas, influences
from genies.evaluation.tables.best_of_n import _of_choices
from genies.evaluation.tables.risk_coverage import _measured
from genies.evaluation.texts import once

SURER = np.linspace(0, 1, 20_001)[:-1] + 1 / 40_000
"""Ranks of confidence, from the least sure one on."""
RIGHT = norm.cdf(0.3 + 0.8 * SURER)
AREA, ACCURACY = float(np.mean(-RIGHT * np.log(1 - SURER))), float(np.mean(RIGHT))
"""Of the population that ``answered`` draws from; a pair counts at all coverages from its rank on."""


def answered(rng: np.random.Generator, cluster: np.ndarray) -> Scored:
    """Verdicts of which half of the variance is the prompt's, of how sure they are as of whether they are right."""
    prompts = int(cluster.max()) + 1
    own, shared = rng.standard_normal((2, len(cluster))), rng.standard_normal((2, prompts))[:, cluster]
    surer, luck = (own + shared) / np.sqrt(2)
    surer = norm.cdf(surer)
    correct = (luck < 0.3 + 0.8 * surer).astype(float)
    return Scored(correct, cluster, 0.5 + (correct - 0.5) * (0.01 + 0.98 * surer))


def area(correct: np.ndarray, confidence: np.ndarray) -> float:
    return float(areas(correct, confidence, np.arange(len(correct)), once(len(correct)))[0])


def test_the_area_is_the_mean_accuracy_of_the_k_surest_pairs():
    rng = np.random.default_rng(0)
    correct, confidence = rng.integers(0, 2, 50).astype(float), rng.random(50)
    surest = correct[np.argsort(-confidence)]
    by_hand = [surest[:k].mean() for k in range(1, 51)]
    assert area(correct, confidence) == pytest.approx(np.mean(by_hand), abs=1e-12)
    assert accuracy_at(correct, confidence) == pytest.approx([by_hand[round(50 * c) - 1] for c in COVERAGES])
    assert accuracy_at(correct, confidence, (0.03,)) == pytest.approx((by_hand[0] + 0.5 * surest[1]) / 1.5)


def test_equally_sure_pairs_count_with_the_mean_over_their_orders():
    correct, confidence = np.array([1.0, 0.0, 1.0, 0.5, 0.0]), np.array([0.4, 0.4, 0.4, 0.2, 0.2])
    rng, drawn = np.random.default_rng(0), []
    for _ in range(4000):
        drawn.append(area(correct, confidence + 1e-6 * rng.random(5)))
    assert area(correct, confidence) == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / np.sqrt(4000))
    assert area(correct, np.zeros(5)) == pytest.approx(correct.mean())


@pytest.mark.parametrize(("sure", "unsure"), [(0.7, 0.3), (0.8, 0.2), (expit(0.2), expit(-0.2))])
def test_probabilities_that_mirror_each_other_are_equally_sure(sure: float, unsure: float):
    """0.7 − 0.5 is less than 0.5 − 0.3 in floating point: all wrong pairs would be surer than all right ones."""
    assert sure - 0.5 != 0.5 - unsure
    probability = np.where(np.arange(40) < 28, sure, unsure)
    row = _measured(Scored(correctness(probability), np.arange(40), probability), once(40), np.ones((1, 1)))
    assert [row[f"accuracy_at_{percent}"] for percent in (10, 50, 100)] == pytest.approx([0.7, 0.7, 0.7])
    assert row["area"] == pytest.approx(0.7) and row["gain"] == pytest.approx(0, abs=1e-12)


def test_a_draw_is_the_pairs_that_were_drawn():
    rng = np.random.default_rng(1)
    correct, confidence, cluster = rng.integers(0, 2, 40).astype(float), rng.random(40).round(1), np.arange(40) // 2
    drawn = drawn_clusters("hard", 20, 0, 10)
    for found, weights in zip(areas(correct, confidence, cluster, drawn), drawn, strict=True):
        times = weights[cluster]
        assert found == pytest.approx(area(np.repeat(correct, times), np.repeat(confidence, times)), abs=1e-12)


def test_a_calibrated_confidence_gains_what_theory_says_and_a_random_one_nothing():
    """Of probabilities uniform over [½, 1] the surest share c has the mean 1 − c/4, over all coverages ⅞."""
    rng = np.random.default_rng(2)
    probability = rng.uniform(0.5, 1, 20_000)
    correct = (rng.random(20_000) < probability).astype(float)
    expected = [1 - c / 4 for c in COVERAGES]
    assert accuracy_at(correct, probability - 0.5) == pytest.approx(expected, abs=0.02)
    assert area(correct, probability - 0.5) == pytest.approx(7 / 8, abs=0.01)
    assert area(correct, rng.random(20_000)) == pytest.approx(correct.mean(), abs=0.015)


def frames(probability: np.ndarray) -> list[pl.DataFrame]:
    score = np.zeros((len(probability), 2))
    return [pairs_of(name, score, None, probability) for name in ("easy", "hard")]


def test_the_interval_of_the_gain_leaves_out_0_for_a_calibrated_confidence_alone(tmp_path: Path):
    rng = np.random.default_rng(3)
    stated = rng.uniform(0.5, 1, 300)
    calibrated = np.where(rng.random(300) < stated, stated, 1 - stated)
    right = rng.random(300) < 0.7
    blind = np.where(right, 0.5, -0.5) * rng.random(300) + 0.5
    contrary = np.where(right, 0.55, 0.05)
    run = run_of(tmp_path, calibrated=frames(calibrated), blind=frames(blind), contrary=frames(contrary))
    found = {name: row_of(run["risk_coverage"], name) for name in ("calibrated", "blind", "contrary")}
    assert found["calibrated"]["gain_low"] > 0 > found["contrary"]["gain_high"]
    assert found["blind"]["gain_low"] < 0 < found["blind"]["gain_high"]
    for row in found.values():
        assert row["area_low"] < row["area"] < row["area_high"] and row["area"] <= row["area_at_best"]
        assert row["gain"] == pytest.approx(row["area"] - row["accuracy_at_100"])


def test_the_influence_of_a_pair_is_what_leaving_it_out_changes():
    rng = np.random.default_rng(5)
    for confidence in (rng.random(400), rng.random(400).round(1)):
        correct = (rng.random(400) < 0.4 + 0.5 * confidence).astype(float)
        without = areas(correct, confidence, np.arange(400), 1 - np.eye(400))
        left_out = 399 * (area(correct, confidence) - without)
        found = influences(correct, confidence)
        assert np.corrcoef(found, left_out)[0, 1] > 0.999
        assert found.std() == pytest.approx(left_out.std(), rel=0.02) and abs(found.mean()) < 1e-12


@pytest.mark.parametrize("prompts", [6, 20])
def test_intervals_hold_area_and_gain_where_few_prompts_have_all_pairs(prompts: int):
    """What is right, and how sure it is, goes together within a prompt; percentiles alone do not hold."""
    cluster, trials, held = np.repeat(np.arange(prompts), 60 // prompts), 200, np.zeros(3)
    for trial in range(trials):
        scored = answered(np.random.default_rng(trial), cluster)
        drawn = drawn_clusters(f"{trial}", prompts, 0, 200)
        row = _measured(scored, drawn, np.ones((200, 1)))
        confidence = np.abs(scored.probability - 0.5)
        low, high = percentiles(areas(scored.correct, confidence, cluster, drawn))
        held += [row["area_low"] <= AREA <= row["area_high"], row["gain_low"] <= AREA - ACCURACY <= row["gain_high"],
                 low <= AREA <= high]  # fmt: skip
    assert (held[:2] / trials >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / trials)).all(), held
    assert held[2] / trials < 0.9


def test_where_no_pair_is_wrong_area_and_gain_have_intervals_of_a_width(tmp_path: Path):
    """Of 40 pairs that are all right, one in 20 others may be wrong; a point would hold no such area."""
    stated = np.random.default_rng(8).uniform(0.6, 1, 40)
    row = row_of(run_of(tmp_path, mms=frames(stated))["risk_coverage"], "mms")
    assert (row["area"], row["area_high"], row["gain"]) == (1, 1, 0)
    assert row["area_low"] < 0.95 and row["gain_low"] < -0.05 and row["gain_high"] > 0.05


def test_where_the_best_of_n_is_always_the_good_one_the_gap_has_an_interval_of_a_width(tmp_path: Path):
    score = np.zeros((30, 3)) + np.array([3.0, 0.0, -1.0])
    score[:, 0] += np.random.default_rng(9).random(30)
    (row,) = (
        run_of(tmp_path, mms=[pairs_of("easy", score), pairs_of("hard", score)])["best_of_n"]
        .filter(target="hard", n=3)
        .to_dicts()
    )
    assert row["accuracy"] == 1 and row["gap"] == pytest.approx(row["promised"] - 1)
    # The accuracy's own interval says how much lower it may be, and the promise be broken by as much.
    assert row["gap_high"] == pytest.approx(row["promised"] - row["accuracy_low"], abs=0.01) and row["gap_high"] > 0.05


def test_the_interval_of_the_gap_holds_where_few_prompts_have_all_examples():
    """A prompt's scores are to be trusted, say nothing or mislead; percentiles of 5 prompts hold 0.86."""

    def drawn(seed: int, prompts: int) -> Choices:
        rng, cluster = np.random.default_rng(seed), np.repeat(np.arange(prompts), 4)
        trust, score = rng.choice([-1.0, 0.0, 1.0], prompts)[cluster], 1.5 * rng.standard_normal((4 * prompts, 3))
        good, rows = np.argmax(trust[:, None] * score + rng.gumbel(size=score.shape), axis=1), np.arange(len(score))
        score[rows, 0], score[rows, good] = score[rows, good].copy(), score[rows, 0].copy()
        return Choices(score, True, cluster)

    truth, trials, held = [*_of_choices(drawn(0, 5_000), 1.0, once(5_000))][-1]["gap"], 300, 0
    for trial in range(1, trials + 1):
        row = [*_of_choices(drawn(trial, 5), 1.0, drawn_clusters(f"{trial}", 5, 0, 200))][-1]
        held += row["gap_low"] <= truth <= row["gap_high"]
    assert held / trials >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / trials)


def test_the_best_of_n_is_the_mean_over_all_choices_of_n():
    rng = np.random.default_rng(4)
    score, value = rng.integers(0, 3, (6, 5)).astype(float), rng.random((6, 5))
    for n in range(1, 6):
        by_hand = [
            np.mean(
                [np.mean(v[list(some)][s[list(some)] == s[list(some)].max()]) for some in combinations(range(5), n)]
            )
            for s, v in zip(score, value, strict=True)
        ]
        assert best_of(score, value, n) == pytest.approx(by_hand, abs=1e-12)


def test_scores_that_say_how_good_a_response_is_keep_their_promise_and_inflated_ones_do_not(tmp_path: Path):
    """The good response is drawn by Luce's axiom from the scores: at the source twice as sure as on the target."""
    rng = np.random.default_rng(5)

    def drawn(examples: int, trust: float) -> np.ndarray:
        score = rng.standard_normal((examples, 4)) * 2
        good = np.argmax(trust * score + rng.gumbel(size=score.shape), axis=1)
        rows = np.arange(examples)
        score[rows, 0], score[rows, good] = score[rows, good], score[rows, 0]
        return score

    honest = [pairs_of("easy", drawn(800, 1.0)), pairs_of("hard", drawn(800, 1.0))]
    inflated = [honest[0], pairs_of("hard", drawn(800, 0.1))]
    table = run_of(tmp_path, honest=honest, inflated=inflated)["best_of_n"].filter(target="hard")
    kept, broken = table.filter(intervention="honest"), table.filter(intervention="inflated")
    assert kept["n"].to_list() == [2, 3, 4] and set(kept["responses"]) == {4} and set(kept["examples"]) == {800}
    assert all(low < 0.02 and high > -0.02 for low, high in kept.select("gap_low", "gap_high").iter_rows())
    assert (broken["gap_low"] > 0.1).all() and broken["gap"].is_sorted()
    assert table["at_most"].to_list() == [0.5, 0.75, 1.0] * 2
    assert (table["accuracy"] <= table["at_most"]).all()


def test_where_there_are_no_scores_probabilities_of_pairs_choose_and_promise_nothing(tmp_path: Path):
    score = scores_of(6, examples=30, responses=4)
    with_scores = [pairs_of(name, score) for name in ("easy", "hard")]
    without = [pairs_of(name, score, None) for name in ("easy", "hard")]
    table = run_of(tmp_path, mms=with_scores, plugin=without)["best_of_n"].filter(target="hard")
    one, other = (table.filter(intervention=name) for name in ("mms", "plugin"))
    assert one["accuracy"].to_list() == pytest.approx(other["accuracy"].to_list())
    assert one["accuracy"][-1] == np.mean(score.argmax(axis=1) == 0)
    assert other["promised"].null_count() == other["gap"].null_count() == 3


def test_two_responses_several_good_ones_and_questions_are_no_choice_of_n():
    pairs = pairs_of("hard", scores_of(7, examples=20, responses=3))
    assert not list(choices(pairs_of("hard", scores_of(7, examples=19, responses=3))))
    assert [found.responses for found in choices(pairs)] == [3]
    assert not list(choices(pairs_of("hard", scores_of(7, responses=2))))
    assert not list(choices(pairs.with_columns(answer=pl.lit("Yes"))))
    assert not list(choices(pairs.with_columns(best_text=pl.col("pair") + 5)))
