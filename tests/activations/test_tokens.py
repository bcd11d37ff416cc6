"""Tokens are ragged, whole, and the same whatever the order of work; what is too long is left out or shortened."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import save_model, write_distribution

from genies.data.distributions import read_split
from genies.data.options import Reading
from genies.data.reading import read_drawn
from genies.data.texts import Text, split_texts
from genies.data.views import VIEWS
from genies.engine.tokenization import tokenize
from genies.engine.tokens import indistinct_examples, select_tokens
from genies.errors import DataError, StoreError
from genies.files import write_json
from genies.models.describe import describe_model
from genies.models.load import load_tokenizer
from genies.stages.tokenize import tokenize_splits
from genies.store import splits
from genies.store.tokens import read_tokens, tokens_digest, tokens_path, write_tokens

TEXTS = [Text(0, 0, "what is red ?\n", "red ."), Text(0, 2, "what is red ?\n", ""), Text(3, 1, "", "blue")]


def test_the_response_begins_after_the_tokens_of_the_prompt_alone(model_folders: dict[str, Path]) -> None:
    tokenizer = load_tokenizer(model_folders["llama"])
    tokens = tokenize(tokenizer, TEXTS, VIEWS["plain"])
    for index, text in enumerate(TEXTS):
        ids = tokens.text(index)
        assert ids.tolist() == tokenizer(text.prompt_text + text.response_text)["input_ids"]
        assert ids[: tokens.prompt_tokens[index]].tolist() == tokenizer(text.prompt_text)["input_ids"]
    assert tokens.example.tolist() == [0, 0, 3]
    assert tokens.response.tolist() == [0, 2, 1]


def test_where_prompt_and_response_become_one_token_all_responses_count_from_before_it(tmp_path: Path) -> None:
    """A byte-pair tokenizer that joins "a" and "b": "b" is no token of its own after a prompt that ends in "a"."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    pieces = Tokenizer(models.BPE(vocab={"a": 0, "b": 1, "c": 2, "ab": 3}, merges=[("a", "b")]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces)
    texts = [Text(0, 0, "ca", "bc"), Text(0, 1, "ca", "cc"), Text(1, 0, "cc", "ab"), Text(1, 1, "cc", "b")]
    tokens = tokenize(tokenizer, texts, VIEWS["plain"])
    assert [tokens.text(row).tolist() for row in range(2)] == [[2, 3, 2], [2, 0, 2, 2]]
    assert tokens.prompt_tokens.tolist() == [1, 1, 2, 2]
    assert tokens.merged.tolist() == [True, False, False, False]
    assert select_tokens(tokens, [1, 2]).merged.tolist() == [False, False]


def test_parts_of_a_split_hold_examples_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "PART", 3)
    texts = [Text(example, response, "p", "r") for example in range(5) for response in range(2)]
    parts = splits._parts(texts)
    assert [text for part in parts for text in part] == texts
    assert [[text.example for text in part] for part in parts] == [[0, 0, 1, 1], [2, 2, 3, 3], [4, 4]]
    assert splits._parts([]) == [[]]


def test_responses_that_a_tokenizer_cannot_tell_apart_are_counted(model_folders: dict[str, Path]) -> None:
    tokenizer = load_tokenizer(model_folders["llama"])
    texts = [Text(0, 0, "what ?\n", "zebra"), Text(0, 1, "what ?\n", "giraffe"),  # neither is in its vocabulary
             Text(1, 0, "what ?\n", "red"), Text(1, 1, "what ?\n", "blue"), Text(2, 0, "what ?\n", "red")]  # fmt: skip
    assert indistinct_examples(tokenize(tokenizer, texts, VIEWS["plain"])) == 1


def test_a_text_without_a_token_is_an_error_that_names_its_record(tmp_path: Path) -> None:
    tokenizer = save_model(tmp_path / "bare", "llama") / "tokenizer.json"
    tokenizer.write_text(json.dumps({**json.loads(tokenizer.read_text()), "post_processor": None}))  # so that no BOS
    write_json(tmp_path / "bare.json", describe_model(str(tokenizer.parent), None, tmp_path / "sha256.json"))
    file = tmp_path / "cities/test.json"
    file.parent.mkdir()
    records = [{"prompt": "red ", "responses": {"": 1, "blue": 0}}, {"prompt": "", "responses": {"red": 1, "": 0}}]
    file.write_text(json.dumps(records))
    with pytest.raises(DataError, match=r"cities/test\.json: record 1 .*no token to the tokenizer"):
        tokenize_splits(model=tmp_path / "bare.json", test=[file], cache=tmp_path, output=tmp_path / "tokens.json")
    assert not (tmp_path / "tokens.json").exists()


def test_files_give_back_what_was_written_and_damage_is_named(model_folders: dict[str, Path], tmp_path: Path) -> None:
    tokens = tokenize(load_tokenizer(model_folders["llama"]), TEXTS, VIEWS["yes"])
    path = tmp_path / "a.h5"
    write_tokens(path, tokens, {"view": "yes"})
    for name, array in vars(read_tokens(path)).items():
        np.testing.assert_array_equal(array, getattr(tokens, name))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(StoreError, match=r"a\.h5"):
        read_tokens(path)


def test_the_digest_changes_with_each_thing_that_decides_the_tokens() -> None:
    first, fields = tokens_digest("t", TEXTS, VIEWS["plain"])
    others = [
        tokens_digest("u", TEXTS, VIEWS["plain"]),
        tokens_digest("t", TEXTS, VIEWS["yes"]),
        tokens_digest("t", TEXTS[:2], VIEWS["plain"]),
        tokens_digest("t", [Text(1, 0, *("what is red ?\n", "red .")), *TEXTS[1:]], VIEWS["plain"]),
    ]
    assert len({first, *(digest for digest, _ in others)}) == 5
    assert (first, fields) == tokens_digest("t", list(TEXTS), VIEWS["plain"])


@pytest.fixture
def short_model(tmp_path: Path) -> Path:
    """Manifest of a model whose context holds the short examples only."""
    folder = save_model(tmp_path / "short", "llama", context=90)
    write_json(tmp_path / "short.json", describe_model(str(folder), None, tmp_path / "sha256.json"))
    return tmp_path / "short.json"


def long_distribution(folder: Path, long: tuple[int, ...], response_long: tuple[int, ...] = ()) -> Path:
    write_distribution(folder)
    records = json.loads((folder / "test.json").read_text())
    for index in long:
        records[index]["prompt"] = "red " * 60 + records[index]["prompt"]
    for index in response_long:
        records[index]["responses"]["blue " * 60] = 0
    (folder / "test.json").write_text(json.dumps(records))
    return folder / "test.json"


@pytest.mark.parametrize(
    ("overlong", "left_out", "shortened"), [("leave_out", [1, 4, 5], []), ("shorten", [5], ["1", "4"])]
)
def test_examples_over_the_context_are_left_out_or_shortened(
    short_model: Path, tmp_path: Path, overlong: str, left_out: list[int], shortened: list[str]
) -> None:
    file = long_distribution(tmp_path / "cities", (1, 4), (5,))
    output = tmp_path / "tokens.json"
    views = {"test_views": ["plain", "lat_template"]}
    reading = Reading(overlong=overlong)
    tokenize_splits(model=short_model, test=[file], **views, reading=reading, cache=tmp_path, output=output)
    manifest = json.loads(output.read_text())
    assert manifest["left_out"] == {"cities/test": left_out}
    assert sorted(manifest["shortened"]["cities/test"]) == shortened
    for entry in manifest["tokens"]:
        tokens = read_tokens(tokens_path(tmp_path, entry["digest"]))
        assert np.diff(tokens.offsets).max() <= 90
        assert sorted(set(tokens.example.tolist())) == [e for e in range(8) if e not in left_out]


@pytest.mark.parametrize("overlong", ["leave_out", "shorten"])
def test_only_views_that_are_read_take_room_of_a_context_that_is_nearly_full(tmp_path: Path, overlong: str) -> None:
    file = long_distribution(tmp_path / "cities", (1, 4))
    tokenizer = load_tokenizer(save_model(tmp_path / "any", "llama"))
    texts = split_texts(read_split(file), "test", 0)
    context = int(np.diff(tokenize(tokenizer, texts, VIEWS["plain"]).offsets).max()) + 2
    folder = save_model(tmp_path / "full", "llama", context=context)
    write_json(tmp_path / "full.json", describe_model(str(folder), None, tmp_path / "sha256.json"))

    def changed(*views: str) -> int:
        read, output = {"test_views": views}, tmp_path / "tokens.json"
        reading = Reading(overlong=overlong)
        tokenize_splits(
            model=tmp_path / "full.json", test=[file], **read, reading=reading, cache=tmp_path, output=output
        )
        manifest = json.loads(output.read_text())
        return sum(len(manifest[kind]["cities/test"]) for kind in ("left_out", "shortened"))

    assert changed("plain") == 0
    assert changed("plain", "yes") > 0


def test_prompts_are_shortened_until_they_fit_where_each_cut_brings_a_token(short_model: Path, tmp_path: Path) -> None:
    tokenizer = tmp_path / "short/tokenizer.json"
    prepend = {"type": "Prepend", "prepend": " "}  # as in Llama's: what remains gets a token in front
    tokenizer.write_text(json.dumps({**json.loads(tokenizer.read_text()), "normalizer": prepend}))
    write_json(short_model, describe_model(str(tokenizer.parent), None, tmp_path / "sha256.json"))
    file = long_distribution(tmp_path / "cities", (1, 4), (5,))
    reading = Reading(overlong="shorten")
    tokenize_splits(model=short_model, test=[file], reading=reading, cache=tmp_path, output=tmp_path / "t.json")
    manifest = json.loads((tmp_path / "t.json").read_text())
    assert manifest["left_out"] == {"cities/test": [5]}
    assert sorted(manifest["shortened"]["cities/test"]) == ["1", "4"]


def test_a_split_that_is_too_long_altogether_is_an_error(short_model: Path, tmp_path: Path) -> None:
    file = long_distribution(tmp_path / "cities", tuple(range(8)))
    with pytest.raises(DataError, match="context of 90 tokens"):
        tokenize_splits(model=short_model, test=[file], cache=tmp_path, output=tmp_path / "t.json")
    assert not (tmp_path / "t.json").exists()


def test_a_split_is_tokenized_in_parts_and_gives_the_same(
    tmp_path: Path, short_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a tokenizer says of 20,000 examples took gigabytes."""
    tokenizer = load_tokenizer(tmp_path / "short")
    calls = []

    class Watched:
        eos_token_id, name_or_path = tokenizer.eos_token_id, tokenizer.name_or_path

        def __call__(self, strings: list[str], **options: bool) -> dict[str, list[list[int]]]:
            calls.append(len(strings))
            return tokenizer(strings, **options)

    file = long_distribution(tmp_path / "cities", (1, 4))
    drawn = splits.DrawnSplit(*read_drawn(file, Reading()), "test", Reading())
    monkeypatch.setattr(splits, "PART", 3)
    for context in (90, None):
        calls.clear()
        shown = splits.show_split(Watched(), context, file, drawn)
        for view in ("plain", "lat_template"):
            parts, whole = shown.tokens(view), tokenize(tokenizer, shown.texts, VIEWS[view])
            assert len(parts) > 3
            for name, array in vars(whole).items():
                assert np.array_equal(getattr(parts, name), array) and getattr(parts, name).dtype == array.dtype, name
        assert max({*calls} - {len(VIEWS)}) <= 5, "a part is full at 3 texts, and its last example has 3 at most"


def test_training_splits_hold_two_responses_per_example(tmp_path: Path) -> None:
    examples = read_split(write_distribution(tmp_path / "cities") / "train.json")
    texts = split_texts(examples, "train", 0)
    assert [text.example for text in texts] == sorted([*range(12), *range(12)])
