"""Scores of single texts: AUROC, thresholds of the source, and the table of them, on planted scores."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve
from text_evaluations import EFFECT, pairs_of, row_of, run_of, scores_of

from genies.evaluation.draws import drawn_clusters
from genies.evaluation.evaluations import PAIR_COLUMNS, TEXT_COLUMNS, read_evaluation
from genies.evaluation.texts import Texts, auroc, auroc_interval, once, share_above, shares_above, thresholds


def test_each_text_counts_once_however_many_pairs_it_is_in():
    texts = Texts.of(pairs_of("hard", scores_of(0, examples=5, responses=4)))
    assert (np.sum(texts.good), np.sum(~texts.good), texts.clusters) == (5, 15, 5)
    # Two good responses and three worse ones of one example make six pairs of five texts.
    pairs = pairs_of("hard", np.array([[1.0, 0.0, 0.5, 0.25]])).with_columns(example=0)
    again = pairs.with_columns(best_text=pl.lit(9, pl.Int64), best_text_score=2.0, pair=pl.col("pair") + 3)
    texts = Texts.of(pl.concat([pairs, again]))
    assert sorted(texts.score[texts.good]) == [1.0, 2.0]
    assert sorted(texts.score[~texts.good]) == [0.0, 0.25, 0.5]


@pytest.mark.parametrize("decimals", [8, 0], ids=["distinct", "with ties"])
def test_the_auroc_is_that_of_scikit_learn_also_where_examples_are_drawn_again(decimals):
    texts = Texts.of(pairs_of("hard", scores_of(1).round(decimals)))
    assert auroc(texts, once(60))[0] == pytest.approx(roc_auc_score(texts.good, texts.score), abs=1e-12)
    drawn = drawn_clusters("hard", 60, 0, 5)
    expected = [roc_auc_score(texts.good, texts.score, sample_weight=weights[texts.cluster]) for weights in drawn]
    assert auroc(texts, drawn) == pytest.approx(np.array(expected), abs=1e-12)


def test_recall_and_false_positives_at_a_threshold_lie_on_the_curve_of_scikit_learn():
    texts = Texts.of(pairs_of("hard", scores_of(2).round(1)))
    false_positives, recall, values = roc_curve(texts.good, texts.score, drop_intermediate=False)
    for n in range(1, len(values) - 1):
        above = np.array([values[n + 1]])  # what is above it reaches the value before
        assert shares_above(texts, True, above, once(60))[0] == pytest.approx(recall[n])
        assert shares_above(texts, False, above, once(60))[0] == pytest.approx(false_positives[n])


@pytest.mark.parametrize(("negatives", "rate"), [(99, 0.01), (99, 0.05), (150, 0.05), (19, 0.05)])
def test_a_threshold_of_the_source_has_the_nominal_rate_of_false_positives_in_the_mean(negatives, rate):
    """Of new negatives of the same kind (n + 1 − k) / (n + 1) exceed the k-th of n."""
    rng, reached = np.random.default_rng(0), []
    for _ in range(200):
        worse = rng.standard_normal(negatives)
        texts = Texts(np.append(worse, 3.0), np.arange(negatives + 1) == negatives, np.zeros(negatives + 1, np.int64))
        [value] = thresholds(texts, once(1), rate)
        reached.append(norm.sf(value))
    k = math.ceil((negatives + 1) * (1 - rate) - 1e-9)
    expected = (negatives + 1 - k) / (negatives + 1)
    assert expected <= rate
    assert np.mean(reached) == pytest.approx(expected, abs=4 * np.std(reached) / np.sqrt(200))


def test_a_source_with_too_few_negatives_has_no_threshold():
    texts = Texts.of(pairs_of("easy", scores_of(3, examples=49)))  # 98 negatives
    assert np.isinf(thresholds(texts, once(49), 0.01)[0]) and np.isfinite(thresholds(texts, once(49), 0.05)[0])


def test_thresholds_of_draws_are_those_of_the_texts_that_were_drawn():
    texts, drawn = Texts.of(pairs_of("easy", scores_of(4))), drawn_clusters("easy", 60, 0, 20)
    found = thresholds(texts, drawn, 0.05)
    for value, weights in zip(found, drawn, strict=True):
        repeated = np.sort(np.repeat(texts.score[~texts.good], weights[texts.cluster[~texts.good]]))
        assert value == repeated[math.ceil((len(repeated) + 1) * 0.95 - 1e-9) - 1]


def test_the_table_states_scores_thresholds_and_the_rate_that_they_reach_on_the_target(tmp_path):
    easy, hard = scores_of(5, examples=60), scores_of(6, examples=40) + 1.0
    table = run_of(tmp_path, mms=[pairs_of("easy", easy), pairs_of("hard", hard)])["text_scores"]
    row, own = row_of(table, "mms"), row_of(table, "mms", "easy")
    assert row["auroc"] == pytest.approx(roc_auc_score(np.arange(120) % 3 == 0, hard.ravel()))
    assert row["auroc_low"] < row["auroc"] < row["auroc_high"]
    assert (row["good_texts"], row["worse_texts"], row["source_worse_texts"]) == (40, 80, 120)
    threshold = np.sort(easy[:, 1:].ravel())[math.ceil(121 * 0.95) - 1]
    assert row["threshold_5"] == threshold == own["threshold_5"]
    assert row["false_positives_5"] == np.mean(hard[:, 1:] > threshold) > 0.15
    assert row["recall_5"] == np.mean(hard[:, 0] > threshold)
    assert row["recall_5_low"] < row["recall_5"] < row["recall_5_high"]
    assert own["false_positives_5"] <= 0.05 and own["false_positives_5_low"] is own["false_positives_5_high"] is None
    assert row["false_positives_5_low"] < row["false_positives_5"] < row["false_positives_5_high"]
    pairs = hard[:, :1] > hard[:, 1:]
    assert row["pair_accuracy"] == row["pair_accuracy_of_texts"] == pytest.approx(pairs.mean())
    assert (row["comparable_across_prompts"], row["remark"]) == (True, None)
    assert row["threshold_1"] is row["recall_1"] is None  # the target has 80 worse responses, not 500


def test_one_percent_is_shown_from_99_and_500_worse_responses_on(tmp_path):
    def shown(source: int, target: int) -> bool:
        frames = [pairs_of("easy", scores_of(7, source, 2)), pairs_of("hard", scores_of(8, target, 2))]
        row = row_of(run_of(tmp_path / f"{source}-{target}", mms=frames)["text_scores"], "mms")
        assert row["recall_5"] is not None
        return row["recall_1"] is not None

    assert [shown(99, 500), shown(98, 500), shown(99, 499)] == [True, False, False]


def test_an_offset_of_each_prompt_spoils_the_auroc_and_no_pair_and_is_named(tmp_path):
    score = scores_of(9, effect=0.0, offset=50.0)
    score[:, 0] = score[:, 1:].max(axis=1) + 0.5
    frames = [pairs_of(name, score, "within a prompt") for name in ("easy", "hard")]
    row = row_of(run_of(tmp_path, mms=frames)["text_scores"], "mms")
    assert row["pair_accuracy"] == row["pair_accuracy_of_texts"] == 1
    assert row["auroc"] < 0.55
    assert row["comparable_across_prompts"] is False
    assert row["remark"] == "the score has a free offset for each prompt"


def test_what_has_no_scores_of_texts_says_why_also_in_an_evaluation_of_an_earlier_version(tmp_path):
    frames = [pairs_of(name, scores_of(10), None) for name in ("easy", "hard")]
    named = [frame.with_columns(no_text_scores=pl.lit("it prefers nothing")) for frame in frames]
    run = run_of(tmp_path, random=named, mms=frames)
    file = tmp_path / "small/mms/easy.parquet"
    pl.read_parquet(file).drop(*TEXT_COLUMNS).write_parquet(file)
    assert dict(read_evaluation(file).schema) == PAIR_COLUMNS
    table = run["text_scores"]
    assert row_of(table, "random")["remark"] == "no scores of texts: it prefers nothing"
    row = row_of(table, "mms")
    assert row["remark"] == "no scores of texts: an earlier version evaluated it"
    assert row["auroc"] is row["comparable_across_prompts"] is row["threshold_5"] is None
    assert row["pair_accuracy"] is not None
    assert not len(run["best_of_n"].filter(intervention="mms"))


def test_where_no_worse_response_is_ahead_the_interval_of_the_auroc_is_not_a_point():
    score = scores_of(11, examples=40, effect=100.0)
    texts = Texts.of(pairs_of("hard", score))
    low, high = auroc_interval(texts, drawn_clusters("hard", 40, 0, 200))
    assert high == 1 and 0.85 < low < 0.95  # of 40 independent clusters about 3/40 may be wrong


@pytest.mark.parametrize(("examples", "trials"), [
    (80, 100), *(pytest.param(examples, 300, marks=pytest.mark.torture) for examples in (20, 40, 80, 250)),
])  # fmt: skip
def test_intervals_hold_the_auroc_and_the_recall_of_the_population(examples: int, trials: int):
    """Pairs of an example go together by an offset; source and target are drawn anew. Shares are in docs/methods.md."""
    offset, held = 0.7, np.zeros(3)
    spread = np.sqrt(1 + offset**2)
    expected = norm.cdf(EFFECT / spread / np.sqrt(2))
    limit = norm.ppf(0.95) * spread
    for trial in range(trials):
        source, target = (
            Texts.of(pairs_of(name, scores_of(1000 * trial + k, examples, offset=offset)))
            for k, name in enumerate(("easy", "hard"))
        )
        of_source, drawn = (drawn_clusters(f"{name} {trial}", examples, 0, 300) for name in ("easy", "hard"))
        [value] = thresholds(source, once(examples), 0.05)
        found = [auroc_interval(target, drawn)]
        for good in (True, False):
            found.append(share_above(target, good, value, thresholds(source, of_source, 0.05), drawn)[1])
        wanted = (expected, norm.sf(limit - EFFECT, scale=spread), 0.05)
        held += [low <= true <= high for (low, high), true in zip(found, wanted, strict=True)]
    print(f"{examples} examples, {trials} runs: AUROC, recall, false positives in {held / trials}")
    assert (held / trials >= 0.95 - 4 * np.sqrt(0.95 * 0.05 / trials)).all(), held


@pytest.mark.parametrize("sizes", [[10] * 6, [60] + [4] * 10], ids=["few prompts", "one large prompt"])
def test_intervals_hold_the_auroc_where_few_prompts_have_most_texts(sizes: list[int]):
    """Each prompt moves its good and its worse responses by as much as texts vary; percentiles alone do not hold."""
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    expected, trials, held, by_percentiles = norm.cdf(EFFECT / 2), 150, 0, 0
    good = np.arange(len(cluster)) % 2 == 0
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        offset = rng.standard_normal((2, len(sizes)))
        score = rng.standard_normal(len(cluster)) + offset[good.astype(int), cluster] + EFFECT * good
        texts, drawn = Texts(score, good, cluster), drawn_clusters(f"{trial}", len(sizes), 0, 300)
        drawn = drawn[(drawn.sum(axis=1) > 0)]
        low, high = auroc_interval(texts, drawn)
        held += low <= expected <= high
        ends = np.quantile(auroc(texts, drawn), (0.025, 0.975))
        by_percentiles += ends[0] <= expected <= ends[1]
    assert held / trials >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / trials)
    assert by_percentiles / trials < 0.88


def test_a_single_prompt_says_nothing_of_the_auroc_of_others():
    rng = np.random.default_rng(0)
    texts = Texts(rng.standard_normal(40), np.arange(40) % 2 == 0, np.zeros(40, np.int64))
    assert auroc_interval(texts, once(1)) == (0, 1)
