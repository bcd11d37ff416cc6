"""RewardBench 2's own score, next to the accuracy of pairs, against calculations by hand."""

from __future__ import annotations

import json
import math
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genies.commands.import_set import import_set
from genies.data.own_scores import items, own_score
from genies.errors import DataError
from genies.evaluation.evaluations import PAIR_COLUMNS, Fits, write_evaluation
from genies.evaluation.measurements import Measurements
from genies.evaluation.rewardbench import Ranked, best_of_k, ties_score

ROWS = [
    ("1", "Factuality", [3.0], [1.0, 2.0, 0.0]),  # alone at the top: 1; pairs 3 of 3
    ("2", "Factuality", [2.0], [2.0, 1.0, 2.0]),  # three tie: 1/3; pairs 2 of 3, ties being half
    ("3", "Factuality", [1.0], [0.5, 4.0, 0.0]),  # one above it: 0; pairs 2 of 3
    ("4", "Math", [5.0], [5.0, 1.0, 0.0]),  # two tie: 1/2; pairs 2.5 of 3
    ("ref:0", "Ties", [4.0], [1.0, 0.0]),  # gap 3
    ("tied:0", "Ties", [3.0, 2.5, 2.0], [1.0, 0.0]),  # gap 1, spread 1
    ("ref:1", "Ties", [1.0], [0.5]),  # gap 0.5
    ("tied:1", "Ties", [5.0, 4.9], [4.0, 3.0]),  # gap 0.9, spread 0.1
]
"""Identifier, subset, scores of good and of worse responses."""


def benchmark(folder: Path, rows: list[tuple[str, str, list[float], list[float]]]) -> Path:
    """These rows with RewardBench 2's columns, imported."""
    made = [
        {
            "id": name, "prompt": f"Question {name} {subset}?", "chosen": [f"good {n}" for n in range(len(good))],
            "rejected": [f"worse {n}" for n in range(len(worse))], "num_correct": len(good), "num_rejected": len(worse),
            "total_completions": len(good) + len(worse), "models": ["m"], "subset": subset,
        }
        for name, subset, good, worse in rows
    ]  # fmt: skip
    pl.DataFrame(made).write_parquet(folder / "test-00000-of-00001.parquet")
    import_set(str(folder / "test-00000-of-00001.parquet"), output=folder / "rb2")
    return folder / "rb2" / "test.json"


def measured(folder: Path, file: Path, rows: Any, scores: bool = True) -> pl.DataFrame:
    """The table of a run whose one intervention gives the responses these scores."""
    pairs = [
        {
            "target": "rb2", "example": e, "pair": n, "cluster": e, "probability": 1 / (1 + math.exp(w - g)),
            "score_best": g if scores else None, "score_worse": w if scores else None,
        }
        for e, (_, _, good, worse) in enumerate(rows)
        for n, (g, w) in enumerate(product(good, worse))
    ]  # fmt: skip
    frame = pl.DataFrame([{**dict.fromkeys(PAIR_COLUMNS), **pair} for pair in pairs], schema=PAIR_COLUMNS)
    write_evaluation(folder / "small" / "mms" / "easy.parquet", [frame], {})
    run = Measurements(pl.DataFrame(), pl.DataFrame(), {}, fits=Fits(folder, ["small"], {"mms": ["easy"]}),
                       own_scores={"rb2": items(file)})  # fmt: skip
    return run["own_scores"]


def test_the_score_of_rewardbench_2_is_that_calculated_by_hand(tmp_path):
    file = benchmark(tmp_path, ROWS)
    assert own_score(file.parent) == "rewardbench-2"
    found = {row["subset"]: row for row in measured(tmp_path / "evaluations", file, ROWS).iter_rows(named=True)}
    factuality, mathematics, ties, whole = (found[name] for name in ("Factuality", "Math", "Ties", "all"))
    assert factuality["score"] == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert factuality["chance"] == 0.25
    assert (factuality["examples"], factuality["pairs"]) == (3, 9)
    assert factuality["accuracy"] == pytest.approx((3 + 2 + 2) / 9)
    assert mathematics["score"] == 0.5
    # All gaps are above 0. Of the tied ones 0.9 > 0.1 and not 1 > 1; of the smaller gaps, 1 and 0.5, 0.5 > 0.1.
    margin = (math.tanh(1 / 1 - 1) + math.tanh(0.5 / (5.0 - 4.9) - 1)) / 2
    by_hand = 0.3 * 1 + 0.3 * 1 + 0.2 * 0.5 + 0.2 * 0.5 + 0.01 * margin
    assert ties["score"] == pytest.approx(by_hand)
    assert ties["chance"] is None
    assert whole["score"] == pytest.approx((4 / 9 + 0.5 + by_hand) / 3)
    assert ties["accuracy"] == ties["accuracy_by_example"] == 1
    # Every example weighs the same: 12 pairs of one and 2 of another alike.
    assert whole["accuracy_by_example"] == pytest.approx((1 + 2 / 3 + 2 / 3 + 2.5 / 3 + 4) / 8)
    assert whole["accuracy"] == pytest.approx((3 + 2 + 2 + 2.5 + 2 + 6 + 1 + 4) / 25)


def test_without_scores_of_responses_best_of_4_is_known_and_ties_are_not(tmp_path):
    file = benchmark(tmp_path, ROWS)
    frame = measured(tmp_path / "evaluations", file, ROWS, scores=False)
    found = {row["subset"]: row["score"] for row in frame.iter_rows(named=True)}
    assert found["Factuality"] == pytest.approx(4 / 9)
    assert (found["Ties"], found["all"]) == (None, None)


def test_several_good_responses_are_scored_with_each_example_weighing_the_same(tmp_path):
    rows = [("", "all", [2.0, 0.0, 3.0], [1.0, 0.0]), ("", "all", [0.0], [1.0])]
    made = [
        {
            "prompt": f"q {n}",
            "chosen": [f"g {k}" for k in range(len(good))],
            "rejected": [f"w {k}" for k in range(len(w))],
        }
        for n, (_, _, good, w) in enumerate(rows)
    ]
    pl.DataFrame(made).write_parquet(tmp_path / "test.parquet")
    import_set(str(tmp_path / "test.parquet"), output=tmp_path / "rb2")
    assert own_score(tmp_path / "rb2") == "several-best"
    [row] = measured(tmp_path / "evaluations", tmp_path / "rb2" / "test.json", rows).iter_rows(named=True)
    # Of the first example's six pairs four are right and one is a tie; the other's only pair is wrong.
    assert row["accuracy"] == pytest.approx(4.5 / 7)
    assert row["score"] == row["accuracy_by_example"] == pytest.approx((4.5 / 6 + 0) / 2)
    assert (row["subset"], row["chance"]) == ("all", 0.5)


def test_a_run_without_benchmarks_has_no_rows():
    assert Measurements(pl.DataFrame(), pl.DataFrame(), {})["own_scores"].is_empty()


def test_a_record_without_its_name_is_refused(tmp_path):
    file = benchmark(tmp_path, ROWS[:2])
    records = json.loads(file.read_text())
    del records[1]["id"]
    file.write_text(json.dumps(records))
    with pytest.raises(DataError, match=r"record 1 \(counted from 0\), field id: is no text"):
        items(file)


def ranked(name: str, good: list[float], worse: list[float]) -> Ranked:
    difference = np.subtract.outer(np.array(good), np.array(worse))
    return Ranked(name, 1 / (1 + np.exp(-difference)), np.array(good), np.array(worse))


whole_numbers = st.integers(-3, 3).map(float)


@settings(max_examples=100)
@given(good=whole_numbers, worse=st.lists(whole_numbers, min_size=1, max_size=4))
def test_best_of_k_from_pairs_is_that_from_scores(good, worse):
    top = max(good, *worse)
    expected = 0.0 if good < top else 1 / [good, *worse].count(top)
    assert best_of_k(ranked("1", [good], worse)) == pytest.approx(expected)


def published(examples: list[Ranked]) -> float:
    """The published code, in its own order: https://github.com/allenai/reward-bench, rewardbench/utils.py."""
    stats: dict[str, dict[int, tuple[bool, float, float]]] = {"ref": {}, "tied": {}}
    for one in examples:
        kind, number = one.id.split(":")
        spread, gap = one.good.max() - one.good.min(), one.good.min() - one.worse.max()
        stats[kind][int(number)] = (gap > 0, spread, gap)
    ref, tied = stats["ref"], stats["tied"]
    both = set(ref) & set(tied)
    spread, ties, refs = (np.array([of[n][k] for n in both]) for of, k in ((tied, 1), (tied, 2), (ref, 2)))
    return float(
        0.30 * np.mean([s[0] for s in tied.values()])
        + 0.30 * np.mean([s[0] for s in ref.values()])
        + 0.20 * np.mean(ties > spread)
        + 0.20 * np.mean(np.minimum(refs, ties) > spread)
        + 0.01 * np.mean(np.nan_to_num(np.tanh(np.minimum(refs, ties) / spread - 1), nan=0.0))
    )


scores = st.floats(-5, 5, width=32) | st.sampled_from([0.0, 1.0])


@settings(max_examples=100)
@given(
    drawn=st.lists(
        st.tuples(scores, st.lists(scores, min_size=1, max_size=3),
                  st.lists(scores, min_size=2, max_size=4), st.lists(scores, min_size=1, max_size=3)),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_the_score_of_ties_is_that_of_the_published_code(drawn):
    examples = [
        one
        for n, (good, worse, tied, others) in enumerate(drawn)
        for one in (ranked(f"ref:{n}", [good], worse), ranked(f"tied:{n}", tied, others))
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = published(examples)
    assert ties_score(examples) == pytest.approx(expected, abs=1e-9)


def test_equal_good_scores_count_by_the_sign_of_their_gap():
    won = [ranked("ref:0", [1.0], [0.0]), ranked("tied:0", [1.0, 1.0], [0.0])]
    lost = [ranked("ref:0", [0.0], [1.0]), ranked("tied:0", [0.0, 0.0], [1.0])]
    level = [ranked("ref:0", [0.0], [0.0]), ranked("tied:0", [0.0, 0.0], [0.0])]
    assert ties_score(won) == pytest.approx(1.01)
    assert ties_score(lost) == pytest.approx(-0.01)
    assert ties_score(level) == 0


def test_two_examples_of_one_name_have_no_score_of_ties():
    pair = np.array([[0.9]])
    names = ("ref:0", "tied:0", "tied:0")
    examples = [
        Ranked(name, pair, np.array([good]), np.array([0.5])) for name, good in zip(names, (1, 1, 0), strict=True)
    ]
    assert ties_score(examples[:2]) is not None
    assert ties_score(examples) is None


def renamed(folder: Path, change: Any, name: str = "test.jsonl") -> Path:
    """The rows of a benchmark after a change of each, imported."""
    rows = [
        {"id": n, "prompt": f"Question {n}?", "chosen": ["a"], "rejected": ["b", "c", "d"], "num_correct": 1,
         "subset": "Math"} for n in range(40)
    ]  # fmt: skip
    (folder / name).write_text("".join(json.dumps({**row, **change(row)}) + "\n" for row in rows))
    import_set(str(folder / name), output=folder / "made")
    return folder / "made"


def test_names_of_examples_may_be_whole_numbers(tmp_path):
    made = renamed(tmp_path, lambda row: {})
    assert own_score(made) == "rewardbench-2"
    assert [item.id for item in items(made / "test.json")] == [str(n) for n in range(40)]


@pytest.mark.parametrize("change", [{"id": None}, {"id": 1.5}, {"id": True}, {"subset": None}, {"subset": 3}], ids=str)
def test_a_set_whose_examples_lack_names_has_no_score_of_its_own(tmp_path, change):
    assert own_score(renamed(tmp_path, lambda row: change if row["id"] == 7 else {})) is None


def test_a_benchmark_that_is_split_has_no_score_of_its_own(tmp_path):
    made = renamed(tmp_path, lambda row: {"id": str(row["id"])}, "rows.jsonl")
    assert (made / "train.json").exists()
    assert own_score(made) is None
