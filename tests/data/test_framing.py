"""The truthfulness framing asks about every response whether it is right."""

from __future__ import annotations

from genies.data.distributions import Example
from genies.data.framing import Framed, truthfulness
from genies.data.pairs import test_pairs as pairs_of
from genies.data.views import QUESTION

EXAMPLES = [Example("p ", ("a", "b", "c"), 1, (0, 2)), Example("q ", ("", "d"), 0, (1,))]


def test_each_response_becomes_a_question_whose_answer_is_yes_for_the_best_alone() -> None:
    framed = truthfulness(EXAMPLES)
    assert [example.prompt for example in framed.examples] == [
        f"p a{QUESTION}", f"p b{QUESTION}", f"p c{QUESTION}", f"q {QUESTION}", f"q d{QUESTION}",
    ]  # fmt: skip
    answers = [example.responses[example.best] for example in framed.examples]
    assert answers == ["No", "Yes", "No", "Yes", "No"]


def test_results_are_placed_by_the_example_in_the_file() -> None:
    framed = truthfulness(EXAMPLES)
    assert [framed.place(pair) for pair in pairs_of(framed.examples)] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    plain = Framed(EXAMPLES)
    assert [plain.place(pair) for pair in pairs_of(plain.examples)] == [(0, 0), (0, 1), (1, 0)]
