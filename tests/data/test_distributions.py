"""What a distribution's files must hold, and what is said about those that do not."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from helpers import tries
from hypothesis import given, settings
from hypothesis import strategies as st

from genies.data import strict
from genies.data.distributions import Example, SplitSummary, Summary, read_split, validate_folder, violations
from genies.errors import DataError

GOOD = {"prompt": "Capital of Norland?", "responses": {"Aris": 1, "Borum": 0}}


def write(path: Path, content: Any) -> Path:
    """Write bytes as they are, and any other value as JSON."""
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def message(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_split(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


def test_responses_keep_file_order_and_worse_ones_are_all_but_the_best(tmp_path):
    records = [GOOD, {"prompt": "p", "responses": {"c": 0, "a": 0, "b": 1, "d": 0}}]
    assert read_split(write(tmp_path / "train.json", records)) == [
        Example("Capital of Norland?", ("Aris", "Borum"), 0, (1,)),
        Example("p", ("c", "a", "b", "d"), 2, (0, 1, 3)),
    ]


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "p", "responses": {"a": 1.0, "b": 0.0}},
        {"prompt": "p", "responses": {"a": 1, "b": 0.0}},
        {"prompt": "p", "responses": {"": 1, "b": 0}},
        {"prompt": "p", "responses": {"a": 1, "": 0}},
        {"prompt": "", "responses": {"a": 1, "b": 0}},
        {"prompt": "p", "responses": {"a": 1, "b": 0}, "level": 5, "tags": [{"x": None}, True], "prompt_format": "p"},
        {"responses": {"a\u0000\u2028😀": 1, "b": 0}, "prompt": "línea\n"},
    ],
    ids=["floats", "mixed", "empty best", "empty worse", "empty prompt", "further keys", "any Unicode"],
)
def test_valid_variants_are_read(tmp_path, record):
    [example] = read_split(write(tmp_path / "train.json", [record]))
    assert example == Example(record["prompt"], tuple(record["responses"]), 0, (1,))


BROKEN_FILES = {
    "empty": (b"", "the file is empty"),
    "blank": (b" \n", "the file is empty"),
    "empty array": (b"[]", "the array is empty"),
    "object": (b"{}", "is an object, not an array"),
    "string": (b'"x"', "is a string, not an array"),
    "number": (b"3", "is a number, not an array"),
    "NaN": (b"NaN", "holds NaN, which is not JSON"),
    "repeated key": (b'{"a": 1, "a": 2}', "the key 'a' occurs twice"),
    "cut short": (b'[{"prompt": "p",\n "resp', "line 2, column 2: not JSON"),
    "two values": (b"[] []", "line 1, column 4: not JSON"),
    "Python": (b"[{'prompt': 'p'}]", "line 1, column 3: not JSON"),
    "Latin-1": ('[{"prompt": "é"}]'.encode("latin-1"), "byte 13 is not UTF-8"),
    "encoded surrogate": (b'["\xed\xa0\x80"]', "byte 2 is not UTF-8"),
    "UTF-16": (json.dumps([GOOD]).encode("utf-16"), "byte 0 is not UTF-8"),
    "byte order mark": (b"\xef\xbb\xbf[]", "not JSON (Unexpected UTF-8 BOM"),
    "deep": (b"[" * 200_000 + b"]" * 200_000, "nested too deeply"),
    "deep object": (b'{"a":' * 100_000, "nested too deeply"),
    "endless integer": (b"[" + b"9" * 5000 + b"]", "number with too many digits"),
}


@pytest.mark.parametrize(("content", "problem"), BROKEN_FILES.values(), ids=BROKEN_FILES)
def test_broken_file_is_named_with_what_is_wrong(tmp_path, content, problem):
    assert problem in message(write(tmp_path / "test.json", content))


def record_with(responses: str) -> str:
    return f'{{"prompt": "p", "responses": {responses}}}'


BROKEN_RECORDS = {
    "array": ("[]", ": is an array, not an object"),
    "null": ("null", ": is null, not an object"),
    "boolean": ("true", ": is true or false, not an object"),
    "NaN record": ("NaN", ": holds NaN"),
    "no prompt": ('{"responses": {"a": 1, "b": 0}}', ", field prompt: is missing"),
    "null prompt": ('{"prompt": null, "responses": {"a": 1, "b": 0}}', ", field prompt: is null, not a string"),
    "array prompt": ('{"prompt": ["p"], "responses": {"a": 1, "b": 0}}', ", field prompt: is an array, not a string"),
    "NaN prompt": ('{"prompt": NaN, "responses": {"a": 1, "b": 0}}', ", field 'prompt': holds NaN"),
    "surrogate prompt": (
        r'{"prompt": "x\ud800", "responses": {"a": 1, "b": 0}}',
        r", field prompt: 'x\ud800' holds a lone surrogate",
    ),
    "repeated prompt": (
        '{"prompt": "p", "prompt": "q", "responses": {"a": 1, "b": 0}}',
        ": the key 'prompt' occurs twice in one object",
    ),
    "no responses": ('{"prompt": "p"}', ", field responses: is missing"),
    "array responses": (record_with('["a", "b"]'), ", field responses: is an array, not an object"),
    "string responses": (record_with('"a"'), ", field responses: is a string, not an object"),
    "empty responses": (record_with("{}"), ", field responses: has 0 of the two responses needed"),
    "one response": (record_with('{"a": 1}'), ", field responses: has 1 of the two responses needed"),
    "no best": (record_with('{"a": 0, "b": 0.0}'), ", field responses: has no best response"),
    "two best": (record_with('{"a": 1, "b": 0, "c": 1.0}'), ", field responses: has 2 best responses"),
    "true": (record_with('{"a": true, "b": 0}'), ", field responses: response 'a' has true or false; write 1"),
    "string label": (record_with('{"a": 1, "b": "0"}'), ", field responses: response 'b' has a string; write 1"),
    "null label": (record_with('{"a": 1, "b": null}'), ", field responses: response 'b' has null; write 1"),
    "other integer": (record_with('{"a": 2, "b": 0}'), ", field responses: response 'a' has 2; write 1"),
    "fraction": (record_with('{"a": 0.9999999, "b": 0}'), ", field responses: response 'a' has 0.9999999; write 1"),
    "overflowing": (record_with('{"a": 1e999, "b": 0}'), ", field responses: response 'a' has inf; write 1"),
    "NaN label": (record_with('{"a": 1, "b": NaN}'), ", field 'responses': holds NaN"),
    "infinite label": (record_with('{"a": Infinity, "b": 0}'), ", field 'responses': holds Infinity"),
    "repeated response": (
        record_with(r'{"a": 1, "\u0061": 0, "b": 0}'),
        ", field 'responses': the key 'a' occurs twice in one object",
    ),
    "surrogate response": (
        record_with(r'{"a": 1, "\udfff": 0}'),
        r", field responses: response '\udfff' holds a lone surrogate",
    ),
    "NaN elsewhere": (
        '{"prompt": "p", "responses": {"a": 1, "b": 0}, "extra": {"deep": [1, {"x": -Infinity}]}}',
        ", field 'extra': holds -Infinity",
    ),
    "repeated key elsewhere": (
        '{"prompt": "p", "responses": {"a": 1, "b": 0}, "extra": [{"x": 1, "x": 1}]}',
        ", field 'extra': the key 'x' occurs twice in one object",
    ),
    "line breaks in a response": (
        record_with(r'{"a\nb": 5, "b": 0}'),
        r", field responses: response 'a\nb' has 5; write 1",
    ),
}


@pytest.mark.parametrize(("record", "problem"), BROKEN_RECORDS.values(), ids=BROKEN_RECORDS)
def test_broken_record_is_named_by_index_and_field(tmp_path, record, problem):
    path = write(tmp_path / "train.json", f"[{json.dumps(GOOD)}, {record}]".encode())
    assert message(path).startswith(f"record 1 (counted from 0){problem}")


def test_missing_file_and_folder_in_its_place_are_named(tmp_path):
    assert "file not found" in message(tmp_path / "train.json")
    assert "not a regular file" in message(tmp_path)


def test_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "train.json")
    assert "not a regular file" in message(tmp_path / "train.json")


def test_huge_file_is_refused_before_it_is_read(tmp_path):
    path = write(tmp_path / "train.json", b"")
    os.truncate(path, strict.MAX_FILE_BYTES + 1)  # sparse: takes no room on the disk
    assert f"{strict.MAX_FILE_BYTES + 1} bytes, more than" in message(path)


def test_long_texts_are_cut_in_messages(tmp_path):
    record = {"prompt": "p", "responses": {"x" * 10_000: 3, "b": 0}}
    assert len(message(write(tmp_path / "train.json", [record]))) < 300


def test_unprintable_path_stays_on_one_line(tmp_path):
    with pytest.raises(DataError, match=r"a\\nb\.json': file not found") as caught:
        read_split(tmp_path / "a\nb.json")
    assert "\n" not in str(caught.value)


def make_folder(folder: Path, train: Any, test: Any, metadata: Any = None) -> Path:
    folder.mkdir()
    for name, content in (("train", train), ("test", test), ("metadata", metadata)):
        if content is not None:
            write(folder / f"{name}.json", content)
    return folder


def test_summary_counts_each_split(tmp_path):
    three = {"prompt": "p", "responses": {"a": 0, "b": 1, "c": 0}}
    folder = make_folder(tmp_path / "capitals", [GOOD, three, three], [three], {"id": "another name", "note": [1]})
    expected = Summary("capitals", SplitSummary(3, 8, 5), SplitSummary(1, 3, 2))
    assert validate_folder(folder) == expected
    assert violations(folder) == []


def test_every_violation_of_a_folder_is_told(tmp_path):
    bad = {"prompt": 3, "responses": {"a": 1, "b": 2, "c": "x"}}
    folder = make_folder(tmp_path / "d", [bad, GOOD, {"responses": {"a": 0, "b": 0}}], b"[", b"[1]")
    found = violations(folder)
    assert [line.removeprefix(f"{folder}/").split("; ")[0] for line in found] == [
        "train.json: record 0 (counted from 0), field prompt: is a number, not a string",
        "train.json: record 0 (counted from 0), field responses: response 'b' has 2",
        "train.json: record 0 (counted from 0), field responses: response 'c' has a string",
        "train.json: record 2 (counted from 0), field prompt: is missing",
        "train.json: record 2 (counted from 0), field responses: has no best response",
        "test.json: line 1, column 2: not JSON (Expecting value)",
        "metadata.json: is an array, not an object",
    ]
    with pytest.raises(DataError) as caught:
        validate_folder(folder)
    assert str(caught.value) == found[0]


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [(b"{", "not JSON"), (b'{"a": NaN}', "holds NaN"), (b'{"a": 1, "a": 1}', "occurs twice"), (b"", "is empty")],
)
def test_broken_metadata_is_a_violation(tmp_path, metadata, problem):
    folder = make_folder(tmp_path / "d", [GOOD], [GOOD], metadata)
    [line] = violations(folder)
    assert line.startswith(f"{folder / 'metadata.json'}: ")
    assert problem in line


def test_missing_splits_and_folders_are_violations(tmp_path):
    folder = make_folder(tmp_path / "d", [GOOD], None)
    assert [line.split(";")[0] for line in violations(folder)] == [f"{folder}/test.json: file not found"]
    assert "no such folder" in violations(tmp_path / "none")[0]
    with pytest.raises(DataError, match="no such folder"):
        validate_folder(tmp_path / "none")


texts = st.text(max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-2, 2) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
finite = st.none() | st.integers(-2, 2) | st.lists(st.text(st.characters(codec="utf-8"), max_size=2), max_size=2)
unicode_texts = st.text(st.characters(codec="utf-8"), max_size=5)
right_responses = st.builds(
    lambda best, worse: {**dict.fromkeys(worse, 0.0), best: 1},
    unicode_texts,
    st.sets(unicode_texts, min_size=2, max_size=4),
)
right_records = st.fixed_dictionaries(
    {"prompt": unicode_texts, "responses": right_responses}, optional={"extra": finite}
)
conversations = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": unicode_texts}),
    max_size=3,
)
near_records = st.fixed_dictionaries(
    {},
    optional={
        "prompt": unicode_texts | st.just("\ud800") | values,
        "responses": right_responses
        | st.dictionaries(texts, st.sampled_from([0, 1, 0.0, 1.0]), max_size=4)
        | st.dictionaries(texts, values, max_size=2),
        "several_best": st.booleans() | values,
        "conversation": conversations | values,
        "extra": values,
    },
)
near_files = (
    st.lists(right_records, max_size=4) | st.lists(right_records | near_records, max_size=4) | st.lists(values) | values
)


@st.composite
def jsonish(draw: st.DrawFn) -> bytes:
    """JSON that is nearly a split's, often with some bytes cut out or put in."""
    data = json.dumps(draw(near_files), ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if draw(st.booleans()):
        start, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        data = data[:start] + draw(st.binary(max_size=4)) + data[end if end - start < 6 else start :]
    return data


def is_conversation(turns: Any) -> bool:
    roles = "".join({"system": "s", "user": "u", "assistant": "a"}[turn["role"]] for turn in turns)
    "".join(turn["content"] for turn in turns).encode()
    return isinstance(turns, list) and re.fullmatch("s?[ua]*u", roles) is not None


def obeys_format(data: bytes) -> bool:
    """The format once more, written with another aim: no messages, no single pass."""
    pairs: list[list[tuple[str, Any]]] = []

    def constant(name: str) -> None:
        raise ValueError(name)

    def mapping(items: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs.append(items)
        return dict(items)

    try:
        records = json.loads(data.decode(), object_pairs_hook=mapping, parse_constant=constant)
        assert isinstance(records, list) and records
        assert all(len(dict(items)) == len(items) for items in pairs)
        for record in records:
            chosen = list(record["responses"].values())
            assert all(type(label) in (int, float) for label in chosen)
            assert set(chosen) == {0, 1}
            assert chosen.count(1) == 1 or record["several_best"] is True
            assert type(record.get("several_best", True)) is bool
            assert "conversation" not in record or is_conversation(record["conversation"])
            assert isinstance(record["prompt"], str)
            "".join([record["prompt"], *record["responses"]]).encode()
    except (AssertionError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return True


@pytest.mark.long
@settings(max_examples=tries(300, 900))
@given(data=jsonish())
def test_any_bytes_give_valid_examples_or_a_data_error(tmp_path_factory, data):
    path = write(tmp_path_factory.getbasetemp() / "fuzz.json", data)
    if obeys_format(data):
        assert len(read_split(path)) == len(json.loads(data))
    else:
        message(path)


valid_examples = st.builds(
    lambda prompt, responses, best: (prompt, responses, best % len(responses)),
    unicode_texts,
    st.lists(unicode_texts, min_size=2, max_size=4, unique=True),
    st.integers(0, 3),
)


@settings(max_examples=60)
@given(examples=st.lists(valid_examples, min_size=1, max_size=4), escaped=st.booleans())
def test_whatever_is_written_in_the_format_is_read_back(tmp_path_factory, examples, escaped):
    records = [
        {"prompt": prompt, "responses": {text: int(number == best) for number, text in enumerate(responses)}}
        for prompt, responses, best in examples
    ]
    path = write(tmp_path_factory.getbasetemp() / "round.json", json.dumps(records, ensure_ascii=escaped).encode())
    assert [(e.prompt, list(e.responses), e.best) for e in read_split(path)] == examples
    for example in read_split(path):
        assert sorted((example.best, *example.worse)) == list(range(len(example.responses)))
