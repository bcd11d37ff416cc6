"""Pairs of texts: how they are taken from examples, and that their parts agree."""

from __future__ import annotations

import numpy as np
import pytest

from genies.data.distributions import Example
from genies.data.pairs import test_pairs as pairs_of_test_split
from genies.data.records import Turn
from genies.errors import DataError
from genies.interventions.text import TextPairs


def test_the_order_of_responses_is_the_callers():
    examples = [Example("p", ("w", "b"), 1, (0,)), Example("q", ("best", "worse", "worst"), 0, (1, 2))]
    pairs = pairs_of_test_split(examples)
    texts = TextPairs.of(examples, pairs, np.array([True, False, True]))
    assert texts.prompt == ("p", "q", "q")
    assert texts.first == ("b", "worse", "best")
    assert texts.second == ("w", "best", "worst")
    assert texts.example.tolist() == [0, 1, 1]
    assert texts.label.tolist() == [True, False, True]
    assert TextPairs.of(examples, pairs, np.ones(3, bool), labelled=False).label is None


def test_each_text_of_an_example_is_read_once_whatever_the_order():
    from genies.interventions.training.rewards import distinct_texts

    pairs = TextPairs(("p", "p", "q"), ("c", "a", "a"), ("a", "b", "c"), np.array([4, 4, 2]))
    texts, rows = distinct_texts(pairs)
    assert texts == {4: [("p", "a"), ("p", "b"), ("p", "c")], 2: [("q", "a"), ("q", "c")]}
    assert rows.tolist() == [[2, 0], [0, 1], [3, 4]]


def test_what_is_said_before_responses_is_a_conversation_or_one_turn():
    turns = (Turn("system", "yes"), Turn("user", "q"))
    examples = [Example("[p]", ("w", "b"), 1, (0,)), Example("[q]", ("b", "w"), 0, (1,), conversation=turns)]
    pairs = TextPairs.of(examples, pairs_of_test_split(examples), np.ones(2, bool), published=["p", "q"])
    assert pairs.prompt == ("[p]", "[q]") and pairs.published == ("p", "q")
    assert pairs.turns(0) == (Turn("user", "p"),) and pairs.turns(1) == turns
    assert pairs.rows([1]).turns(0) == turns and pairs.rows([1]).plain_prompt(0) == "q"
    single = TextPairs.of(examples[:1], pairs_of_test_split(examples[:1]), np.ones(1, bool))
    assert single.conversation == single.published == ()
    assert single.turns(0) == (Turn("user", "[p]"),)


def test_parts_of_unequal_length_are_refused():
    with pytest.raises(DataError, match="parts of 1, 2, 1, 1 pairs"):
        TextPairs(("p",), ("a", "b"), ("c",), np.zeros(1, int))
    with pytest.raises(DataError, match="parts of 1, 1, 1, 1, 2 pairs"):
        TextPairs(("p",), ("a",), ("c",), np.zeros(1, int), published=("p", "q"))
