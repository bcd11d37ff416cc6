"""Preference sets and rows that are not read: refused, left out, or counted as broken, each with its reason."""

from __future__ import annotations

import json

import pytest
from preference_sets import HISTORY, SINGLE, assistant, record, responses, system, user, written

from genies.commands.import_set import import_set
from genies.data.preferences.source import split_of
from genies.data.preferences.turns import Broken, LeftOut
from genies.errors import DataError


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**SINGLE["HelpSteer3, first is better"], "overall_preference": 0}, "ties: no response"),
        ({**SINGLE["Chatbot Arena"], "winner": "tie"}, "ties: no response"),
        ({**SINGLE["Chatbot Arena"], "winner": "tie (bothbad)"}, "ties: both responses are called bad"),
        ({"prompt": "q", "responses": ["a", "b"], "scores": [1, 1.0]}, "ties: no response"),
        ({**SINGLE["UltraFeedback, binarized"], "score_chosen": 2.0}, "ties: no response"),
        ({**SINGLE["implicit prompt"], "chosen_score": 1, "rejected_score": 2}, "the rejected response has the higher"),
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "both responses are the same"),
        ({"prompt": "q", "chosen": "a", "rejected": "a\n"}, "both responses are the same"),
        ({"prompt": "q", "chosen": "caf\u00e9", "rejected": "cafe\u0301"}, "both responses are the same"),
        ({"chosen": [*HISTORY, assistant("a")], "rejected": [user("q"), assistant("a")]}, "conversations that differ"),
    ],
)
def test_rows_that_prefer_nothing_are_left_out(row, reason):
    with pytest.raises(LeftOut, match=reason):
        record(row)


BROKEN = {
    "no prompt": ({"prompt": None, "chosen": "a", "rejected": "b"}, "no prompt"),
    "number": ({"prompt": "q", "chosen": 3, "rejected": "b"}, "neither a text nor a list"),
    "role": ({"prompt": [{"role": "tool", "content": "x"}], "chosen": "a", "rejected": "b"}, "another role"),
    "parts": ({"prompt": [{"role": "user", "content": [1]}], "chosen": "a", "rejected": "b"}, "no text"),
    "ends with an answer": ({"prompt": HISTORY[:2], "chosen": "a", "rejected": "b"}, "does not end with the user"),
    "late system": ({"prompt": [user("q"), system("s"), user("q")], "chosen": "a", "rejected": "b"}, "in the middle"),
    "another prompt": (
        {"prompt": "z", "chosen": [user("q"), assistant("a")], "rejected": [user("q"), assistant("b")]},
        "do not hold their prompt",
    ),
    "both": ({"prompt": "q", "chosen": ["a", "b"], "rejected": ["b"]}, "both good and worse"),
    "NaN score": ({"prompt": "q", "responses": ["a", "b"], "scores": [1.0, float("nan")]}, "a score is no number"),
    "fewer scores": ({"prompt": "q", "responses": ["a", "b"], "scores": [1]}, "more or fewer scores"),
    "preference": ({**SINGLE["HelpSteer3, first is better"], "overall_preference": "-1"}, "preference is no number"),
    "winner": ({**SINGLE["Chatbot Arena"], "winner": "<b>model_a</b>"}, "neither of the two"),
    "tool call": (
        {"prompt": "q", "chosen": [{**assistant("a"), "tool_calls": [{"name": "f"}]}], "rejected": [assistant("b")]},
        "a message calls a tool",
    ),
    "messages as text": ({"prompt": json.dumps(HISTORY), "chosen": "a", "rejected": "b"}, "as JSON in a text"),
    "conversations as text": (
        {"prompt": "q", **{key: json.dumps([user("q"), assistant(key)]) for key in ("chosen", "rejected")}},
        "as JSON in a text",
    ),
    "Arena, 55k": (
        {"prompt": '["q"]', "response_a": '["a"]', "response_b": '["b"]', "winner": "model_a"},
        "as JSON in a text",
    ),
    "scores of two kinds": (
        {"prompt": "q", "responses": [{"text": "a", "score": 0.9}, {"text": "b", "score": None, "rating": 5}]},
        "lacks the score that others have",
    ),
    "a rank and a score": (
        {"prompt": "q", "responses": [{"text": "a", "rank": 1}, {"text": "b", "score": 5}]},
        "lacks the score that others have",
    ),
    "system": ({"system": ["s"], "prompt": "q", "chosen": "a", "rejected": "b"}, "a system prompt is no text"),
    "two systems": (
        {"system": "s", "prompt": [system("t"), user("q")], "chosen": "a", "rejected": "b"},
        "two different system",
    ),
    "two systems of conversations": (
        {
            "system": "s",
            "prompt": "q",
            **{key: [system("t"), user("q"), assistant(key)] for key in ("chosen", "rejected")},
        },
        "two different system",
    ),
    "surrogate": ({"prompt": "q\ud800", "chosen": "a", "rejected": "b"}, "lone surrogate"),
}


@pytest.mark.parametrize(("row", "reason"), BROKEN.values(), ids=BROKEN)
def test_rows_that_break_their_layout_are_counted_by_reason(row, reason):
    with pytest.raises(Broken, match=reason):
        record(row)


@pytest.mark.parametrize(
    ("row", "role"),
    [
        ({"instruction": "Translate.", "input": "Haus", "chosen": "house", "rejected": "mouse"}, "prompt"),
        ({"prompt": "q", "context": "a document", "chosen": "a", "rejected": "b"}, "prompt"),
        ({"prompt": "q", "chosen": "a", "chosen_response": "c", "rejected": "b"}, "chosen"),
        ({"prompt": "q", "system": "s", "system_prompt": "t", "chosen": "a", "rejected": "b"}, "system"),
    ],
)
def test_columns_that_may_each_have_a_role_are_chosen_by_the_user(row, role):
    with pytest.raises(DataError, match=f"has several columns that can be the {role}; choose --columns"):
        record(row)


@pytest.mark.parametrize("named", [{"chosen": "rejected"}, {"chosen": "prompt"}, {"system": "prompt"}])
def test_one_column_has_one_role(named):
    with pytest.raises(DataError, match=r"columns: \w+ and \w+ are the same column; name one for each"):
        record(SINGLE["margin"], **named)


@pytest.mark.parametrize("named", [{"label": "margin"}, {"score": "margin"}])
def test_a_role_that_the_layout_lacks_is_refused(named):
    with pytest.raises(DataError, match=f"its layout is pairs, in which no column is the {next(iter(named))}"):
        record(SINGLE["margin"], **named)


@pytest.mark.parametrize("place", ["file", "file/below", "nowhere"])
def test_a_place_that_can_be_no_folder_is_refused(tmp_path, place):
    source = written(tmp_path / "test.jsonl", [SINGLE["margin"]])
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match=r"output: .* is no folder; name another place"):
        import_set(str(source), output=tmp_path / place)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("training.jsonl", "train"), ("data/evaluation-00000.parquet", "test"), ("testing.jsonl", "test"),
        ("train_val.jsonl", "test"), ("constrained.jsonl", None), ("latest.jsonl", None),
    ],
)  # fmt: skip
def test_files_name_their_split(name, split):
    assert split_of(name) == split


def test_an_instruction_and_its_input_are_read_as_they_are_named():
    row = {"instruction": "Translate.", "input": "Haus", "chosen": "house", "rejected": "mouse"}
    assert record(row, prompt="input", system="instruction")["conversation"] == [system("Translate."), user("Haus")]


def test_a_response_that_is_a_list_in_json_stays_a_text():
    assert responses(record({"prompt": "List two.", "chosen": '["a", "b"]', "rejected": "[1]"})) == (
        ['["a", "b"]'], ["[1]"],
    )  # fmt: skip


def test_files_of_different_layouts_are_refused(tmp_path, capsys):
    written(tmp_path / "set/test.jsonl", [{"prompt": "q", "completion": "a", "label": True}])
    written(tmp_path / "set/train.jsonl", [SINGLE["margin"]])
    with pytest.raises(DataError, match=r"train.jsonl: its layout is pairs, and unpaired that of another file"):
        import_set(str(tmp_path / "set"), output=tmp_path / "made")


def test_a_layout_that_is_not_clear_is_chosen_by_the_user():
    row = {**SINGLE["SHP"], "chosen": "a", "rejected": "b"}
    with pytest.raises(DataError, match="the layout may be pairs or first-is-better; name one with --layout"):
        record(row)
    assert responses(record(row, "first-is-better")) == (["Aris"], ["Borum"])


@pytest.mark.parametrize(
    ("layout", "columns", "message"),
    [
        ("pears", {}, "no layout is called pears; there are pairs,"),
        ("scores", {}, "no layout fits its columns prompt, chosen, rejected; scores needs prompt, completions"),
        (None, {"promt": "prompt"}, "promt is no role of a column; there are chosen,"),
        (None, {"prompt": "p"}, "has no column p; it has prompt, chosen, rejected"),
    ],
)
def test_what_the_user_names_wrongly_is_answered_in_one_line(layout, columns, message):
    with pytest.raises(DataError, match=message) as caught:
        record({"prompt": "q", "chosen": "a", "rejected": "b"}, layout, **columns)
    assert "\n" not in str(caught.value)


def test_scores_that_are_no_numbers_say_nothing_of_a_pair():
    row = SINGLE["UltraFeedback, binarized"]
    assert record(row)["strength"] == 6.0
    for score in (None, "9", float("nan"), [9.0]):
        assert "strength" not in record({**row, "score_rejected": score})
