"""The truthfulness framing asks whether a response is right: about two of each example, or as published about all."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from genies.data.distributions import Example
from genies.data.framing import frame
from genies.data.pairs import test_pairs as pairs_of
from genies.data.views import QUESTION

EXAMPLES = [Example("p ", ("a", "b", "c"), 1, (0, 2)), Example("q ", ("", "d"), 0, (1,))]


def test_as_published_each_response_becomes_a_question_whose_answer_is_yes_for_the_best_alone() -> None:
    framed = frame(EXAMPLES, "truthfulness_per_response", 0)
    assert [example.prompt for example in framed.examples] == [
        f"p a{QUESTION}", f"p b{QUESTION}", f"p c{QUESTION}", f"q {QUESTION}", f"q d{QUESTION}",
    ]  # fmt: skip
    answers = [framed.answer(pair) for pair in pairs_of(framed.examples)]
    assert answers == [example.responses[example.best] for example in framed.examples]
    assert answers == ["No", "Yes", "No", "Yes", "No"]


def test_results_are_placed_by_the_example_in_the_file() -> None:
    framed = frame(EXAMPLES, "truthfulness_per_response", 0)
    assert [framed.place(pair) for pair in pairs_of(framed.examples)] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    plain = frame(EXAMPLES, "response", 0)
    assert [plain.place(pair) for pair in pairs_of(plain.examples)] == [(0, 0), (0, 1), (1, 0)]
    assert [plain.answer(pair) for pair in pairs_of(plain.examples)] == [None] * 3


def test_texts_are_numbered_so_that_equal_numbers_within_an_example_are_one_text() -> None:
    plain = frame(EXAMPLES, "response", 0)
    assert [plain.texts(pair) for pair in pairs_of(plain.examples)] == [(1, 0), (1, 2), (0, 1)]
    framed = frame(EXAMPLES, "truthfulness_per_response", 0)
    assert [framed.texts(pair) for pair in pairs_of(framed.examples)] == [(1, 0), (2, 3), (5, 4), (0, 1), (3, 2)]


@st.composite
def splits(draw: st.DrawFn) -> list[Example]:
    sizes = draw(st.lists(st.integers(2, 5), min_size=1, max_size=8))
    prompts = [f"p{draw(st.integers(0, 3))}" for _ in sizes]
    best = [draw(st.integers(0, size - 1)) for size in sizes]
    return [
        Example(prompt, tuple(f"{n} {r}" for r in range(size)), right, tuple(r for r in range(size) if r != right))
        for n, (prompt, size, right) in enumerate(zip(prompts, sizes, best, strict=True))
    ]


@given(splits(), st.integers(0, 5))
def test_a_method_that_always_gives_one_answer_is_right_half_of_the_time(examples: list[Example], seed: int) -> None:
    framed = frame(examples, "truthfulness", seed)
    pairs = pairs_of(framed.examples)
    answers = Counter(framed.answer(pair) for pair in pairs)
    assert answers["Yes"] == answers["No"] == len(examples)
    by_example = Counter((framed.place(pair)[0], framed.answer(pair)) for pair in pairs)
    assert set(by_example.values()) == {1}, "one Yes item and one No item of each example"


@given(splits(), st.integers(0, 5))
def test_both_items_of_an_example_are_one_cluster(examples: list[Example], seed: int) -> None:
    framed = frame(examples, "truthfulness", seed)
    of_example = {}
    for index, cluster in enumerate(framed.clusters.tolist()):
        of_example.setdefault(framed.in_file(index), set()).add(cluster)
    assert all(len(found) == 1 for found in of_example.values())
