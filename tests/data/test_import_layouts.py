"""Layouts of preference sets: what a row of each says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preference_sets import (
    FOLLOW_UP,
    HISTORY,
    NECTAR,
    PKU,
    QUESTION,
    REWARDBENCH,
    SINGLE,
    TRANSCRIPT,
    ULTRAFEEDBACK,
    assistant,
    record,
    responses,
    system,
    user,
    written,
)

from genies.commands.import_set import import_set
from genies.data.distributions import read_split, validate_folder
from genies.data.preferences.layouts import reader
from genies.data.preferences.reading import record_of_row
from genies.data.preferences.turns import Broken, LeftOut, Turn, turns_of
from genies.data.records import problems
from genies.errors import DataError


@pytest.mark.parametrize("row", SINGLE.values(), ids=SINGLE)
def test_every_layout_says_which_response_is_better(row):
    made = record(row)
    assert responses(made) == (["Aris"], ["Borum"])
    assert made["prompt"] == f"{QUESTION}\n\n"
    assert made["conversation"] == [user(QUESTION)]
    assert list(problems(made, False)) == []


@pytest.mark.parametrize("suffix", ["jsonl", "json", "parquet"])
@pytest.mark.parametrize("row", SINGLE.values(), ids=SINGLE)
def test_a_file_of_every_layout_becomes_a_target(tmp_path, row, suffix):
    source = written(tmp_path / f"rows.{suffix}", [row])
    # A lone row does not show that its number may be negative.
    layout = "preference" if "overall_preference" in row else None
    import_set(str(source), output=tmp_path / "made", split="test", layout=layout)
    [example] = read_split(tmp_path / "made" / "test.json")
    assert example.prompt == f"{QUESTION}\n\n"
    assert example.responses[example.best] == "Aris"
    assert example.conversation == (Turn("user", QUESTION),)


MULTI_TURN = {
    "explicit prompt": {"prompt": HISTORY, "chosen": "Borum.", "rejected": "Aris."},
    "whole conversations with their prompt": {
        "prompt": HISTORY, "chosen": [*HISTORY, assistant("Borum.")], "rejected": [*HISTORY, assistant("Aris.")],
    },
    "whole conversations with their last question": {
        "prompt": FOLLOW_UP, "chosen": [*HISTORY, assistant("Borum.")], "rejected": [*HISTORY, assistant("Aris.")],
    },
    "implicit prompt": {"chosen": [*HISTORY, assistant("Borum.")], "rejected": [*HISTORY, assistant("Aris.")]},
    "transcripts": {"chosen": f"{TRANSCRIPT} Borum.", "rejected": f"{TRANSCRIPT} Aris."},
    "transcripts with their prompt": {
        "prompt": TRANSCRIPT, "chosen": f"{TRANSCRIPT} Borum.", "rejected": f"{TRANSCRIPT} Aris.",
    },
    "transcripts with their first question": {
        "prompt": QUESTION, "chosen": f"{TRANSCRIPT} Borum.", "rejected": f"{TRANSCRIPT} Aris.",
    },
    "transcripts with their prompt as messages": {
        "prompt": HISTORY, "chosen": f"{TRANSCRIPT} Borum.", "rejected": f"{TRANSCRIPT} Aris.",
    },
}  # fmt: skip


@pytest.mark.parametrize("row", MULTI_TURN.values(), ids=MULTI_TURN)
def test_conversations_keep_their_turns_and_a_prompt_is_not_repeated(row):
    made = record(row)
    assert made["conversation"] == HISTORY
    assert responses(made) == (["Borum."], ["Aris."])
    assert made["prompt"] == f"User: {QUESTION}\n\nAssistant: Aris.\n\nUser: {FOLLOW_UP}\n\nAssistant: "


def test_answers_that_begin_alike_are_cut_at_the_turn():
    rows = {"chosen": [user("q"), assistant("I think so.")], "rejected": [user("q"), assistant("I think not.")]}
    assert responses(record(rows)) == (["I think so."], ["I think not."])


def test_a_plain_prompt_is_not_repeated_where_responses_are_transcripts():
    made = record({
        "prompt": f"{QUESTION}\n", "chosen": f"\n\nHuman: {QUESTION}\n\nAssistant: Aris",
        "rejected": f"\n\nHuman: {QUESTION}\n\nAssistant: Borum",
    })  # fmt: skip
    assert made["conversation"] == [user(QUESTION)]
    assert responses(made) == (["Aris"], ["Borum"])


def test_a_response_that_is_a_transcript_of_something_else_stays_whole():
    said = "Human: Who are you?\n\nAssistant: Nobody."
    made = record({"prompt": "Write a dialogue.", "chosen": said, "rejected": "No."})
    assert responses(made) == ([said], ["No."])


def test_a_plain_response_that_repeats_its_prompt_stays_whole():
    assert responses(record({"prompt": "Hi", "chosen": "Hi there", "rejected": "Hi"})) == (["Hi there"], ["Hi"])


def test_a_system_prompt_is_a_turn_wherever_it_is():
    turns = [system("Be brief."), user("q")]
    ends = {"chosen": [assistant("a")], "rejected": [assistant("b")]}
    rows = [
        {"prompt": turns, **ends},
        {"system": "Be brief.", "prompt": "q", "chosen": "a", "rejected": "b"},
        {"prompt": turns, "chosen": [user("q"), assistant("a")], "rejected": [user("q"), assistant("b")]},
        {"chosen": [*turns, assistant("a")], "rejected": [*turns, assistant("b")]},
    ]
    for row in rows:
        assert record(row)["conversation"] == turns


def test_several_rejected_and_several_good_responses():
    made = record({"prompt": "q", "chosen": "a", "rejected": ["b", "c", "b"]})
    assert responses(made) == (["a"], ["b", "c"])
    lists = {"prompt": "q", "chosen": [[assistant("a")], [assistant("d")]], "rejected": [[assistant("b")]]}
    made = record(lists)
    assert responses(made) == (["a", "d"], ["b"])
    assert made["several_best"] is True


def test_scores_rank_a_list_of_responses():
    made = record(ULTRAFEEDBACK)
    assert responses(made) == (["Aris"], ["Borum", "Cetis"])
    assert made["strength"] == 5.0
    assert responses(record(ULTRAFEEDBACK, score="fine-grained_score")) == (["Borum"], ["Aris", "Cetis"])
    assert responses(record(NECTAR)) == (["Aris"], ["Borum", "Cetis"])
    parallel = {"prompt": "q", "responses": ["a", "b", "c"], "scores": [2, 5, 5]}
    assert responses(record(parallel)) == (["b", "c"], ["a"])


def test_the_user_chooses_which_label_of_two_is_meant(tmp_path):
    with pytest.raises(DataError, match=r'several columns .*"better_response_id"} or .*"safer_response_id"}'):
        record(PKU)
    assert responses(record(PKU, label="better_response_id")) == (["Aris"], ["Borum"])
    assert responses(record(PKU, label="safer_response_id")) == (["Borum"], ["Aris"])


def test_rows_of_one_prompt_are_joined_where_each_has_one_response(tmp_path):
    rows = [
        {"prompt": "q", "completion": "a", "label": True},
        {"prompt": "r", "completion": "x", "label": False},
        {"prompt": "q", "completion": "b", "label": False},
        {"prompt": "q", "completion": "c", "label": True},
    ]
    import_set(str(written(tmp_path / "rows.jsonl", rows)), output=tmp_path / "made", split="test")
    [example] = read_split(tmp_path / "made" / "test.json")
    assert [example.responses[n] for n in example.good] == ["a", "c"]
    assert [example.responses[n] for n in example.worse] == ["b"]
    stated = json.loads((tmp_path / "made" / "metadata.json").read_text())
    assert stated["counts"]["dropped"] == {"no good response": 1}


def test_the_number_of_the_better_response_is_read_where_the_user_names_its_layout():
    row = {"prompt": "q", "response1": "a", "response2": "b", "preference": 1}
    assert responses(record(row, "1-or-2")) == (["a"], ["b"])
    assert responses(record({**row, "preference": 2}, "1-or-2")) == (["b"], ["a"])
    named = {"first": "response1", "second": "response2", "label": "preference"}
    assert responses(record(row, "better-id", **named)) == (["b"], ["a"])
    for other in (0, 3, "1", True, 1.5):
        with pytest.raises(Broken, match="neither 1 nor 2"):
            record({**row, "preference": other}, "1-or-2")


@pytest.mark.parametrize("key", ["several_best", "conversation", "responses", "prompt"])
def test_keys_with_a_meaning_of_their_own_cannot_be_kept(key):
    row = {**SINGLE["margin"], key: "x"}
    with pytest.raises(DataError, match=f"keep: {key} has a meaning of its own in records") as caught:
        reader("set", row, None, {}, [key])
    assert "\n" not in str(caught.value)


def test_what_a_set_knows_besides_is_kept(tmp_path):
    row = {**SINGLE["HelpSteer3, first is better"], "extra": {"deep": [1]}}
    source = written(tmp_path / "rows.jsonl", [row])
    import_set(str(source), output=tmp_path / "made", split="test", keep=["extra"])
    [made] = json.loads((tmp_path / "made" / "test.json").read_text())
    kept = {name: made[name] for name in ("domain", "language", "individual_preference", "strength", "extra")}
    assert kept == {
        "domain": "general",
        "language": "english",
        "individual_preference": [{"score": -2, "reasoning": "r"}],
        "strength": 2,
        "extra": {"deep": [1]},
    }


def test_columns_by_other_names_are_named_by_role():
    row = {"q": "q", "yes": "a", "no": "b"}
    with pytest.raises(DataError, match=r"no layout fits its columns q, yes, no; pairs needs prompt, chosen, rejected"):
        record(row)
    assert responses(record(row, prompt="q", chosen="yes", rejected="no")) == (["a"], ["b"])


def test_rewardbench_2_is_recognized_and_only_a_target(tmp_path, capsys):
    source = written(tmp_path / "set" / "test-00000-of-00001.parquet", [REWARDBENCH])
    import_set(str(source), output=tmp_path / "rb2")
    [example] = read_split(tmp_path / "rb2" / "test.json")
    assert (len(example.good), len(example.worse)) == (1, 3)
    assert not (tmp_path / "rb2" / "train.json").exists()
    assert json.loads((tmp_path / "rb2" / "metadata.json").read_text())["own_score"] == "rewardbench-2"
    assert "it can be a target, not a source" in capsys.readouterr().out
    assert validate_folder(tmp_path / "rb2").train.examples == 0


@pytest.mark.parametrize(("examples", "own"), [(3, "rewardbench-2"), (2, None)])
def test_a_part_of_rewardbench_2_has_no_score_of_its_own(tmp_path, examples, own):
    rows = [{**REWARDBENCH, "id": str(n), "prompt": f"{QUESTION} {n}"} for n in range(3)]
    import_set(str(written(tmp_path / "test.jsonl", rows)), output=tmp_path / "rb2", examples=examples)
    assert json.loads((tmp_path / "rb2" / "metadata.json").read_text()).get("own_score") == own


texts = st.text(st.characters(codec="utf-8"), max_size=8)
messages = st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system", "tool"]),
                                           "content": texts | st.none()}), max_size=4)  # fmt: skip
anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-3, 3) | texts | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=5,
)
values = texts | messages | st.lists(texts, max_size=3) | st.lists(messages, max_size=2) | anything
LAYOUT_ROWS = [*SINGLE.values(), ULTRAFEEDBACK, NECTAR, REWARDBENCH]


@settings(max_examples=300)
@given(data=st.data(), base=st.sampled_from(LAYOUT_ROWS))
def test_any_row_gives_a_valid_record_or_a_reason(data, base):
    read = reader("set", base, None, {}, ())
    row = {**base, **{column: data.draw(values) for column in data.draw(st.sets(st.sampled_from(sorted(base))))}}
    try:
        made = record_of_row(read(row), {})
    except (Broken, LeftOut) as error:
        assert "\n" not in str(error)
    else:
        assert list(problems(json.loads(json.dumps(made)), False)) == []


turns = st.lists(st.tuples(texts, texts), min_size=1, max_size=3)


@settings(max_examples=60)
@given(said=turns)
def test_transcripts_are_read_back_turn_by_turn(said):
    clean = [tuple(text.replace("\n", " ").strip() for text in pair) for pair in said]
    transcript = "".join(f"\n\nHuman: {asked}\n\nAssistant: {answered}" for asked, answered in clean)
    expected = [turn for asked, answered in clean for turn in (Turn("user", asked), Turn("assistant", answered))]
    assert list(turns_of(transcript)) == expected


def test_a_path_is_never_taken_for_a_pattern(tmp_path: Path):
    source = written(tmp_path / "a[b]*.parquet", [SINGLE["margin"]])
    import_set(str(source), output=tmp_path / "made", split="test")
    assert len(read_split(tmp_path / "made" / "test.json")) == 1
