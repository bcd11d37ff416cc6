"""Which cue a method follows, by accuracies where a rival rule agrees with the intended one and where it does not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genies.evaluation.metrics import correctness
from genies.evaluation.scored import Scored
from genies.evaluation.tables.cues import TABLE, cues, split_by_rule


def of(probability) -> Scored:
    probability = np.asarray(probability, float)
    return Scored(correctness(probability), np.arange(len(probability)), probability)


def shift(intervention: str) -> dict[str, str]:
    return {"model": "m", "intervention": intervention, "source": "a", "target": "b"}


def test_a_probe_that_follows_a_planted_cue_is_right_where_the_cue_is_and_wrong_where_it_is_not():
    rng = np.random.default_rng(1)
    cue = np.where(rng.random(400) < 0.6, 0.9, 0.1)  # right on 60 % of the pairs
    follower = np.where(rng.random(400) < 0.95, cue, 1 - cue)
    honest = np.where(rng.random(400) < 0.8, 0.8, 0.2)
    scores = {("m", name, "a", "b"): of(p) for name, p in
              (("mms", follower), ("lora", honest), ("length", cue))}  # fmt: skip
    metrics = pl.DataFrame([shift("mms"), shift("lora"), shift("random")])
    found = {row["intervention"]: row for row in cues(metrics, scores, ["length", "zero_shot"]).iter_rows(named=True)}
    assert list(found) == ["mms", "lora"]
    learned, intended = found["mms"], found["lora"]
    assert learned["agree_pairs"] + learned["conflict_pairs"] == 400 and learned["undecided_pairs"] == 0
    assert learned["follows_low"] > 0.9 and learned["agree_low"] > 0.9 and learned["conflict_high"] < 0.15
    assert intended["agree_low"] < 0.8 < intended["agree_high"]
    assert intended["conflict_low"] < 0.8 < intended["conflict_high"]


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.sampled_from([0.0, 0.5, 1.0])), min_size=2))
def test_parts_add_up(drawn):
    probability, rule = (np.array(column) for column in zip(*drawn, strict=True))
    own = of(probability)
    row = split_by_rule(own, rule)
    agree, conflict, undecided = row["agree_pairs"], row["conflict_pairs"], row["undecided_pairs"]
    assert agree + conflict + undecided == len(drawn)
    total = agree * row.get("agree_accuracy", 0) + conflict * row.get("conflict_accuracy", 0)
    assert total + own.correct[rule == 0.5].sum() == pytest.approx(own.correct.sum())
    if agree + conflict:
        alike = agree * row.get("agree_accuracy", 0) + conflict * (1 - row.get("conflict_accuracy", 0))
        assert row["follows"] == pytest.approx(alike / (agree + conflict))
    TABLE.frame([row])


def test_pairs_that_are_not_the_same_are_not_compared():
    scores = {("m", "mms", "a", "b"): of([0.9, 0.1]), ("m", "length", "a", "b"): of([0.9, 0.1, 0.2])}
    assert not len(cues(pl.DataFrame([shift("mms")]), scores, ["length"]))
