"""Which pairs interventions are fitted on and tested on."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

# The module, not its functions: pytest would take test_pairs for a test.
from genies.data import pairs
from genies.data.distributions import Example


def example_of(prompt: str, best: str, worse: list[str], position: int = 0) -> Example:
    """An example whose best response stands at ``position`` among the worse ones."""
    responses = (*worse[:position], best, *worse[position:])
    return Example(prompt, responses, position, tuple(i for i in range(len(responses)) if i != position))


@st.composite
def examples(draw: st.DrawFn) -> Example:
    responses = draw(st.lists(st.text(max_size=4), min_size=2, max_size=5, unique=True))
    return example_of(draw(st.text(max_size=4)), responses[0], responses[1:], draw(st.integers(0, len(responses) - 1)))


def many(count: int, worse: int) -> list[Example]:
    return [example_of(f"prompt {n}", "best", [f"worse {n} {k}" for k in range(worse)]) for n in range(count)]


def drawn_texts(chosen: list[Example], seed: int) -> list[tuple[str, str, str]]:
    """The (prompt, best, worse) texts of the training pairs."""
    found = pairs.training_pairs(chosen, seed)
    return [(chosen[p.example].prompt, *(chosen[p.example].responses[i] for i in (p.best, p.worse))) for p in found]


def test_test_split_gives_every_pair_in_file_order():
    chosen = [example_of("p", "b", ["x", "y", "z"], position=1), example_of("q", "b", ["x"], position=1)]
    assert pairs.test_pairs(chosen) == [
        pairs.Pair(example=0, number=0, best=1, worse=0),
        pairs.Pair(example=0, number=1, best=1, worse=2),
        pairs.Pair(example=0, number=2, best=1, worse=3),
        pairs.Pair(example=1, number=0, best=1, worse=0),
    ]


@settings(max_examples=40)
@given(chosen=st.lists(examples(), max_size=6), seed=st.integers(0, 2**64))
def test_training_split_gives_one_pair_per_example_out_of_its_test_pairs(chosen, seed):
    found = pairs.training_pairs(chosen, seed)
    assert [pair.example for pair in found] == list(range(len(chosen)))
    assert set(found) <= set(pairs.test_pairs(chosen))


@settings(max_examples=40)
@given(chosen=st.lists(examples(), max_size=6), seed=st.integers(0, 2**64), data=st.data())
def test_order_of_records_plays_no_part_in_the_draw(chosen, seed, data):
    order = data.draw(st.permutations(range(len(chosen))))
    expected = drawn_texts(chosen, seed)
    assert drawn_texts([chosen[n] for n in order], seed) == [expected[n] for n in order]


@settings(max_examples=40)
@given(example=examples(), seed=st.integers(0, 2**64), data=st.data())
def test_order_of_responses_plays_no_part_in_the_draw(example, seed, data):
    best = example.responses[example.best]
    worse = data.draw(st.permutations([example.responses[n] for n in example.worse]))
    position = data.draw(st.integers(0, len(worse)))
    shuffled = example_of(example.prompt, best, list(worse), position)
    assert drawn_texts([shuffled], seed) == drawn_texts([example], seed)


def test_other_records_play_no_part_in_the_draw():
    chosen = many(50, worse=3)
    assert drawn_texts(chosen[20:30], seed=0) == drawn_texts(chosen, seed=0)[20:30]


def test_seed_decides_the_draw():
    chosen = many(300, worse=3)
    first, again, other = (drawn_texts(chosen, seed) for seed in (0, 0, 1))
    assert first == again
    # Two independent draws among three agree for 100 of 300 examples, with a standard deviation of 8.
    assert 60 <= sum(a == b for a, b in zip(first, other, strict=True)) <= 140


def test_every_worse_response_is_equally_likely():
    counts = Counter(pair.number for pair in pairs.training_pairs(many(900, worse=3), seed=7))
    # 300 each, with a standard deviation of 14.
    assert sorted(counts) == [0, 1, 2]
    assert all(240 <= count <= 360 for count in counts.values())


@pytest.mark.parametrize("other", [("a", "bc"), ("abc",), ("ab", "c", ""), ("ab", "d")])
def test_text_seed_tells_texts_apart_by_content_and_boundary(other):
    assert pairs.text_seed(0, "ab", "c") != pairs.text_seed(0, *other)
    assert pairs.text_seed(0, "ab", "c") == pairs.text_seed(0, "ab", "c")
    assert 0 <= pairs.text_seed(0, *other) < 2**64
