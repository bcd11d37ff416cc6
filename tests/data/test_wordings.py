"""Wordings of views: the published ones stay as they are, further ones ask the same and take no more room."""

from __future__ import annotations

import pytest

from genies.data.views import QUESTION, VIEWS
from genies.data.wordings import MOST, WORDINGS, reworded, wording
from genies.engine.reads import Reads

READERS = ("yes", "no", "lat_template")


def test_published_templates_are_verbatim():
    """Names of stores hold them by value; a character more, and every run computes them anew."""
    assert QUESTION == "\n\n### Does the responder successfully follow the instruction?\n"
    assert [VIEWS[name].describe() for name in ("plain", *READERS)] == [
        {"name": "plain", "before": "", "after": ""},
        {"name": "yes", "before": "", "after": f"{QUESTION}Yes"},
        {"name": "no", "before": "", "after": f"{QUESTION}No"},
        {
            "name": "lat_template",
            "before": "Consider the extent to which the responder follows the instruction below.\n",
            "after": "\n\nThe probability that the responder followed the instruction",
        },
    ]


def test_every_view_that_asks_has_five_wordings_and_no_other_view_is_one():
    assert dict.fromkeys(READERS, 5) == WORDINGS and MOST == 5
    named = {wording(view, number) for view in READERS for number in range(MOST + 1)}
    assert {*VIEWS} == {"plain", *named} and len(named) == 18
    assert wording("plain", 3) == "plain" and wording("yes", 0) == "yes" and wording("yes", 2) == "yes_2"


@pytest.mark.parametrize("number", range(MOST + 1))
def test_a_wording_asks_one_question_with_both_answers_in_the_form_of_the_original(number: int):
    yes, no, lat = (VIEWS[wording(name, number)] for name in READERS)
    question = yes.after.removesuffix("Yes")
    assert no.after == f"{question}No" and yes.before == no.before == ""
    assert question.startswith("\n\n### ") and question.endswith("?\n") and question.count("\n") == 3
    assert lat.before.endswith(".\n") and lat.after.startswith("\n\n") and not lat.after.endswith((".", " "))
    others = [VIEWS[wording("yes", other)].after for other in range(MOST + 1) if other != number]
    assert yes.after not in others


@pytest.mark.parametrize("view", READERS)
def test_no_wording_has_more_words_or_characters_than_the_original(view: str):
    """With words that tokenizers know, such as these common ones, it then takes no more tokens either."""
    sizes = [
        (len(text.split()), len(text))
        for number in range(MOST + 1)
        for text in [VIEWS[wording(view, number)].text(" ", " ")]
    ]
    assert sizes[0] == tuple(map(max, zip(*sizes, strict=True)))


def test_wordings_are_read_for_what_reads_the_original_and_for_what_reads_them():
    read = {"plain": Reads(heads=True), "yes": Reads(heads=True), "yes_1": Reads(final=True)}
    assert reworded(read, 2) == {
        "plain": Reads(heads=True),
        "yes": Reads(heads=True),
        "yes_1": Reads(heads=True, final=True),
        "yes_2": Reads(heads=True),
    }
    assert reworded(read, 0) == read
