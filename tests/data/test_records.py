"""Optional keys of a record: conversations, and more than one good response."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

# The module, not its functions: pytest would take test_pairs for a test.
from genies.data import pairs
from genies.data.distributions import read_split, validate_folder, write_split
from genies.data.framing import frame
from genies.data.limit import drawn
from genies.data.overlap import TrainingTexts, overlap
from genies.data.records import Example, Turn, record_of
from genies.data.texts import split_texts, texts_digest
from genies.digests import value_digest
from genies.errors import DataError

TURNS = [
    {"role": "system", "content": "Answer in one word."},
    {"role": "user", "content": "Capital of Norland?"},
    {"role": "assistant", "content": "Aris."},
    {"role": "user", "content": "And of Sudland?"},
]
GOOD = {"prompt": "And of Sudland?", "responses": {"Borum": 1, "Aris": 0}}


def written(path: Path, *records: Any) -> Path:
    path.write_text(json.dumps(records), encoding="utf-8")
    return path


def with_turns(turns: Any) -> dict[str, Any]:
    return {**GOOD, "conversation": turns}


def test_a_conversation_is_read_turn_by_turn(tmp_path):
    [example, plain] = read_split(written(tmp_path / "train.json", with_turns(TURNS), GOOD))
    assert example.conversation == (
        Turn("system", "Answer in one word."),
        Turn("user", "Capital of Norland?"),
        Turn("assistant", "Aris."),
        Turn("user", "And of Sudland?"),
    )
    assert plain == Example("And of Sudland?", ("Borum", "Aris"), 0, (1,))
    assert plain.conversation == ()


def test_several_good_responses_are_read_where_the_record_says_so(tmp_path):
    record = {"prompt": "p", "responses": {"x": 0, "a": 1, "y": 0, "b": 1.0}, "several_best": True}
    [example] = read_split(written(tmp_path / "train.json", record))
    assert (example.best, example.good, example.worse) == (1, (1, 3), (0, 2))


@pytest.mark.parametrize("several", [True, False])
def test_one_good_response_may_be_declared_either_way(tmp_path, several):
    [example] = read_split(written(tmp_path / "train.json", {**GOOD, "several_best": several}))
    assert example == Example("And of Sudland?", ("Borum", "Aris"), 0, (1,))
    assert example.good == (0,)


TWO_BEST = {"prompt": "p", "responses": {"a": 1, "b": 1, "c": 0}}
BROKEN = {
    "two best, undeclared": (TWO_BEST, ", field responses: has 2 best responses; write 1 for exactly one"),
    "two best, denied": ({**TWO_BEST, "several_best": False}, ", field responses: has 2 best responses"),
    "none worse": (
        {"prompt": "p", "responses": {"a": 1, "b": 1}, "several_best": True},
        ", field responses: has 2 best responses and no other; write 0 for at least one",
    ),
    "declared by a number": ({**TWO_BEST, "several_best": 1}, ", field several_best: is a number; write true"),
    "string": (with_turns("hi"), ", field conversation: is a string, not an array"),
    "null": (with_turns(None), ", field conversation: is null, not an array"),
    "empty": (with_turns([]), ", field conversation: has no turn"),
    "turn": (with_turns(["hi"]), ", field conversation: turn 0 (counted from 0) is a string, not an object"),
    "no role": (with_turns([{"content": "c"}]), ", field conversation: turn 0 (counted from 0) has no role"),
    "no content": (with_turns([{"role": "user"}]), ", field conversation: turn 0 (counted from 0) has no content"),
    "parts": (
        with_turns([{"role": "user", "content": [{"type": "text"}]}]),
        ", field conversation: turn 0 (counted from 0) has an array as content, not a string",
    ),
    "role": (
        with_turns([{"role": "tool", "content": "c"}]),
        ", field conversation: turn 0 (counted from 0) has the role 'tool'; write one of system, user, assistant",
    ),
    "surrogate": (
        with_turns([{"role": "user", "content": "\ud800"}]),
        ", field conversation: turn 0 (counted from 0) holds a lone surrogate",
    ),
    "late system": (
        with_turns([TURNS[1], TURNS[0], TURNS[1]]),
        ", field conversation: turn 1 (counted from 0) is the system's; only the first one may be",
    ),
    "ends with the assistant": (
        with_turns([TURNS[1], TURNS[2]]),
        ", field conversation: ends with a turn of the assistant; the last turn is the user's",
    ),
    "system alone": (with_turns(TURNS[:1]), ", field conversation: ends with a turn of the system"),
}


@pytest.mark.parametrize(("record", "problem"), BROKEN.values(), ids=BROKEN)
def test_a_broken_optional_key_is_named_with_record_and_field(tmp_path, record, problem):
    path = written(tmp_path / "train.json", GOOD, record)
    with pytest.raises(DataError) as caught:
        read_split(path)
    assert str(caught.value).startswith(f"{path}: record 1 (counted from 0){problem}")
    assert "\n" not in str(caught.value)


def test_a_folder_counts_every_pair_of_a_good_and_a_worse_response(tmp_path):
    record = {"prompt": "p", "responses": {"a": 1, "b": 1, "c": 0, "d": 0, "e": 0}, "several_best": True}
    for name in ("train.json", "test.json"):
        written(tmp_path / name, record, GOOD)
    counts = validate_folder(tmp_path).test
    assert (counts.examples, counts.responses, counts.pairs) == (2, 7, 7)


texts = st.text(st.characters(codec="utf-8"), max_size=4)
turns = st.builds(
    lambda system, before, last: tuple(
        [Turn("system", text) for text in system]
        + [turn for user, answer in before for turn in (Turn("user", user), Turn("assistant", answer))]
        + [Turn("user", last)]
    ),
    st.lists(texts, max_size=1),
    st.lists(st.tuples(texts, texts), max_size=2),
    texts,
)


@st.composite
def examples(draw: st.DrawFn) -> Example:
    responses = draw(st.lists(texts, min_size=2, max_size=6, unique=True))
    good = sorted(draw(st.sets(st.integers(0, len(responses) - 1), min_size=1, max_size=len(responses) - 1)))
    worse = tuple(n for n in range(len(responses)) if n not in good)
    return Example(draw(texts), tuple(responses), good[0], worse, tuple(good), draw(st.just(()) | turns))


@settings(max_examples=60)
@given(made=st.lists(examples(), min_size=1, max_size=4))
def test_whatever_is_written_is_read_back(tmp_path_factory, made):
    path = tmp_path_factory.getbasetemp() / "records.json"
    write_split(path, made)
    assert read_split(path) == made
    for example, record in zip(made, json.loads(path.read_text(encoding="utf-8")), strict=True):
        assert ("several_best" in record) == (len(example.good) > 1)
        assert ("conversation" in record) == bool(example.conversation)


@settings(max_examples=60)
@given(made=st.lists(examples(), max_size=4), seed=st.integers(0, 2**64))
def test_test_pairs_are_all_good_by_worse_and_training_draws_one_of_them(made, seed):
    found = pairs.test_pairs(made)
    expected = {(e, g, w) for e, example in enumerate(made) for g in example.good for w in example.worse}
    assert {(pair.example, pair.best, pair.worse) for pair in found} == expected
    assert len(found) == len(expected) == len({(pair.example, pair.number) for pair in found})
    trained = pairs.training_pairs(made, seed)
    assert [pair.example for pair in trained] == list(range(len(made)))
    assert set(trained) <= set(found)


@settings(max_examples=60)
@given(example=examples(), seed=st.integers(0, 2**64), data=st.data())
def test_order_of_responses_plays_no_part_in_a_draw(example, seed, data):
    order = data.draw(st.permutations(range(len(example.responses))))
    good, worse = (tuple(order.index(n) for n in part) for part in (example.good, example.worse))
    good, worse = tuple(sorted(good)), tuple(sorted(worse))
    shuffled = Example(example.prompt, tuple(example.responses[n] for n in order), good[0], worse, good)
    drawn_texts = [
        [(one.responses[pair.best], one.responses[pair.worse]) for pair in pairs.training_pairs([one], seed)]
        for one in (example, shuffled)
    ]
    assert drawn_texts[0] == drawn_texts[1]
    others = [Example(str(n), ("a", "b"), 0, (1,)) for n in range(9)]
    assert drawn([*others, example], 5, seed) == drawn([*others, shuffled], 5, seed)


def test_every_good_response_is_equally_likely_whatever_the_worse_one():
    made = [Example(f"{n}", ("x", "y", "a", "b", "c"), 2, (0, 1), (2, 3, 4)) for n in range(1200)]
    counts = Counter((pair.best, pair.worse) for pair in pairs.training_pairs(made, seed=5))
    # 200 each of six, with a standard deviation of 13.
    assert len(counts) == 6
    assert all(145 <= count <= 255 for count in counts.values())


def test_a_claim_about_any_good_response_is_true():
    example = Example("p ", ("a", "b", "c"), 0, (2,), (0, 1))
    framed = frame([example], "truthfulness_per_response", 0)
    assert [claim.responses[claim.best] for claim in framed.examples] == ["Yes", "Yes", "No"]


def test_overlap_knows_every_good_response():
    example = Example("p", ("a", "b", "c"), 0, (2,), (0, 1))
    training = TrainingTexts.of([example], [0])
    turned = Example("p", ("b", "x"), 1, (0,))
    assert overlap([turned], [0], training).other_label.tolist() == [True]
    assert overlap([example], [0], training).complete.tolist() == [True]


def test_digests_and_draws_of_records_without_these_keys_are_what_they_were():
    """As the commit before optional keys made them; so the published distributions keep their names and draws."""
    made = [Example(f"prompt {n}", ("b", f"x {n}", "y", "z"), 1, (0, 2, 3)) for n in range(20)]
    drawn_pairs = [[[p.example, p.number, p.best, p.worse] for p in pairs.training_pairs(made, s)] for s in (0, 1)]
    tested = [[p.example, p.number, p.best, p.worse] for p in pairs.test_pairs(made)]
    found = [
        value_digest(drawn_pairs),
        value_digest(tested),
        texts_digest(split_texts(made, "train", 3)),
        value_digest([drawn(made, 7, s) for s in (0, 1)]),
        value_digest([record_of(example) for example in made]),
    ]
    assert found == [
        "94eb23efbdd3303bc9bee7f04ec23452",
        "b110be7b16d37fbdff077ed4309163b1",
        "816f937e11b1aa6808db7f50892daac0",
        "427edb7324d832e8216b3d662e35e2d1",
        "bf1d7395458bb8f47ad640434cd8ef7e",
    ]
