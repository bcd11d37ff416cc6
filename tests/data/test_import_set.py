"""A preference set becomes a distribution: what comes in, what is dropped or moved, and why."""

from __future__ import annotations

import json
import random
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preference_sets import PKU, assistant, system, user, written

from genies.cli import main
from genies.commands.import_set import import_set
from genies.data.distributions import read_split, validate_folder
from genies.data.minhash import jaccard
from genies.data.preferences import near
from genies.errors import DataError

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("lan", "rit", "mos", "vek", "dun")]


def sentence(number: int, words: int = 30) -> str:
    drawn = random.Random(number)
    return " ".join(drawn.choice(WORDS) for _ in range(words))


def conversation(number: int) -> list[dict[str, str]]:
    """Of one turn or of three, some with a system prompt; each different from all others."""
    turns = [user(sentence(number))]
    if number % 3 == 0:
        turns = [user(sentence(number, 8)), assistant(sentence(-number)), user(sentence(number + 10**6))]
    return [system("Be brief."), *turns] if number % 5 == 0 else turns


def row(number: int, **changed: Any) -> dict[str, Any]:
    made = {
        "context": conversation(number),
        "response1": f"better {number}",
        "response2": f"worse {number}",
        "overall_preference": -1 - number % 3,
        "domain": "general",
    }
    return {**made, **changed}


def nearly(number: int) -> list[dict[str, str]]:
    """The conversation of another row, one word changed in its last turn."""
    turns = conversation(number)
    return [*turns[:-1], user(turns[-1]["content"].rpartition(" ")[0] + " zzz")]


PLANTED = {
    "ties: no response is preferred": 150,
    "repeats of an earlier row": 90,
    "a preference is no number": 40,
    "no prompt": 30,
    "a row is not JSON": 20,
    "a prompt that does not end with the user's turn": 10,
    "both responses are the same": 25,
    "a text holds a lone surrogate": 5,
}


def planted() -> list[str]:
    """2,000 lines: 1,560 examples, 70 near-duplicates of them, and what ``PLANTED`` counts."""
    good = [row(n) for n in range(1560)]
    rows: list[Any] = [*good, *(row(n, context=nearly(n), response1=f"other {n}") for n in range(70))]
    rows += [row(3000 + n, overall_preference=0) for n in range(150)]
    rows += good[100:190]
    rows += [row(4000 + n, overall_preference=["<b>1</b>", None, [1], True][n % 2 * 2]) for n in range(40)]
    rows += [{**row(5000 + n), "context": None} for n in range(30)]
    rows += [row(6000 + n, context=[user("q"), assistant("a")]) for n in range(10)]
    rows += [row(7000 + n, response2=f"better {7000 + n}") for n in range(25)]
    rows += [row(8000 + n, response2="\udfff") for n in range(5)]
    lines = [json.dumps(one) for one in rows] + ['{"context": [', "[1, 2"] * 10
    random.Random(1).shuffle(lines)
    return lines


def test_a_set_of_2000_conversations_says_what_came_in_and_what_was_dropped(tmp_path, capsys):
    lines = planted()
    assert len(lines) == 2000
    source = tmp_path / "set.jsonl"
    source.write_text("\n".join(lines), encoding="utf-8")
    assert main(["import", str(source), "--output", str(tmp_path / "made"), "--licence", "cc-by-4.0"]) == 0
    stated = json.loads((tmp_path / "made" / "metadata.json").read_text(encoding="utf-8"))
    assert stated["counts"]["dropped"] == PLANTED
    counts = validate_folder(tmp_path / "made")
    assert (counts.train.examples, counts.test.examples) == (
        stated["counts"]["examples"]["train"],
        stated["counts"]["examples"]["test"],
    )
    assert counts.train.examples + counts.test.examples == 1630
    # A fifth, with a standard deviation of 0.01; near-duplicates go to the training side.
    assert 0.14 < counts.test.examples / 1630 < 0.23
    assert list(stated["counts"]["moved_to_train"]) == ["near-duplicates of a prompt of train.json"]
    told = capsys.readouterr().out.splitlines()
    assert told[0] == (
        f"{tmp_path / 'made'}: 1,630 examples of 2,000 rows "
        f"({counts.train.examples:,} in train.json, {counts.test.examples} in test.json)"
    )
    assert len(told) == 2
    assert told[1].startswith("dropped 370 (150 ties: no response is preferred, 90 repeats of an earlier row, ")
    for reason, number in PLANTED.items():
        assert f"{number} {reason}" in told[1]


def test_near_duplicates_are_on_one_side_and_those_moved_are_counted(tmp_path):
    rows = [row(n) for n in range(400)] + [row(n, context=nearly(n)) for n in range(400)]
    import_set(str(written(tmp_path / "set.jsonl", rows)), output=tmp_path / "made", test_share=0.5)
    sides = {}
    for split in ("train", "test"):
        for example in read_split(tmp_path / "made" / f"{split}.json"):
            sides.setdefault(example.responses[0], set()).add(split)
    assert len(sides) == 400
    assert all(len(where) == 1 for where in sides.values())
    moved = json.loads((tmp_path / "made" / "metadata.json").read_text())["counts"]["moved_to_train"]
    # Half of the 400 pairs were drawn to two sides, with a standard deviation of 10.
    assert 150 < moved["near-duplicates of a prompt of train.json"] < 250


@pytest.mark.parametrize("split", ["prompt", "auto"])
def test_a_question_under_another_system_prompt_is_on_the_same_side(tmp_path, split):
    rows = [row(n // 2, context=[system(sentence(-n)), user(sentence(n // 2))]) for n in range(300)]
    folder = tmp_path / "set"
    written(folder / "train.jsonl", rows[:200] + rows[200:240:2])
    written(folder / "test.jsonl", rows[201:240:2] + rows[240:])
    import_set(str(folder), output=tmp_path / "made", split=split)
    asked = [
        {example.conversation[-1].content for example in read_split(tmp_path / "made" / f"{name}.json")}
        for name in ("train", "test")
    ]
    assert len(asked[1]) >= 15 and not asked[0] & asked[1]


def test_a_long_system_prompt_that_some_prompts_share_makes_no_near_duplicates(tmp_path):
    personas = [" ".join(sentence(-n - k) for k in range(20)) for n in range(0, 800, 20)]
    rows = [row(n, context=[system(personas[n % 40]), user(sentence(n))]) for n in range(200)]
    import_set(str(written(tmp_path / "set.jsonl", rows)), output=tmp_path / "made", test_share=0.5)
    assert json.loads((tmp_path / "made" / "metadata.json").read_text())["counts"]["moved_to_train"] == {}


def test_one_text_in_two_forms_of_unicode_is_on_one_side(tmp_path):
    texts = [f"Où est né {n} ?" for n in range(100)]
    rows = [
        row(n, context=[user(unicodedata.normalize(form, texts[n]))]) for n in range(100) for form in ("NFC", "NFD")
    ]
    import_set(str(written(tmp_path / "set.jsonl", rows)), output=tmp_path / "made", test_share=0.5)
    train, test = (
        {unicodedata.normalize("NFC", e.prompt) for e in read_split(tmp_path / "made" / f"{name}.json")}
        for name in ("train", "test")
    )
    assert len(train | test) == 100 and not train & test


def test_examples_that_contradict_each_other_are_kept_and_counted(tmp_path, capsys):
    rows = [row(n) for n in range(60)] + [row(n, overall_preference=1 + n % 3) for n in range(20)]
    rows += [row(n, response2=f"another worse {n}") for n in range(40, 50)] + [row(50)]
    import_set(str(written(tmp_path / "set.jsonl", rows)), output=tmp_path / "made")
    assert "kept 40 that contradict another example of the same prompt and responses" in capsys.readouterr().out
    assert json.loads((tmp_path / "made" / "metadata.json").read_text())["counts"]["contradicted"] == 40


def test_order_of_rows_plays_no_part_in_who_goes_where(tmp_path):
    rows = [row(n) for n in range(60)] + [row(n, context=nearly(n)) for n in range(20)]
    written(tmp_path / "a.jsonl", rows)
    written(tmp_path / "b.jsonl", rows[::-1])
    found = []
    for name in ("a", "b"):
        import_set(str(tmp_path / f"{name}.jsonl"), output=tmp_path / f"made_{name}", test_share=0.5)
        splits = (read_split(tmp_path / f"made_{name}" / f"{split}.json") for split in ("train", "test"))
        found.append([sorted((e.prompt, e.responses) for e in split) for split in splits])
    assert found[0] == found[1]


def test_own_splits_are_kept_and_no_prompt_is_in_both(tmp_path):
    train = [row(n) for n in range(30)]
    test = [row(n) for n in range(100, 110)] + [row(3, response1="another answer"), row(4, context=nearly(4))]
    folder = tmp_path / "set"
    written(folder / "train-00000-of-00001.jsonl", train)
    written(folder / "test-00000-of-00001.jsonl", test)
    import_set(str(folder), output=tmp_path / "made")
    counts = validate_folder(tmp_path / "made")
    assert (counts.train.examples, counts.test.examples) == (32, 10)
    stated = json.loads((tmp_path / "made" / "metadata.json").read_text())
    assert stated["counts"]["moved_to_train"] == {
        "prompts of train.json that the set's test split has as well": 1,
        "near-duplicates of a prompt of train.json": 1,
    }
    prompts = [{e.prompt for e in read_split(tmp_path / "made" / f"{split}.json")} for split in ("train", "test")]
    assert not prompts[0] & prompts[1]


def test_metadata_say_what_the_set_was_and_how_it_was_read(tmp_path, capsys):
    source = written(tmp_path / "set.jsonl", [{**PKU, "prompt": sentence(n)} for n in range(40)])
    import_set(str(source), output=tmp_path / "made", columns={"label": "safer_response_id"}, seed=3)
    stated = json.loads((tmp_path / "made" / "metadata.json").read_text())
    assert (stated["layout"], stated["columns"]["label"], stated["licence"]) == ("better-id", "safer_response_id", None)
    assert stated["options"] == {"split": "auto", "test_share": 0.2, "examples": None, "seed": 3}
    assert list(stated["inputs"]) == ["set.jsonl"] and len(stated["inputs"]["set.jsonl"]) == 64
    assert "licence: not known; state it with --licence" in capsys.readouterr().out


def test_fewer_examples_are_drawn_by_their_texts(tmp_path):
    source = written(tmp_path / "set.jsonl", [row(n) for n in range(100)])
    import_set(str(source), output=tmp_path / "made", examples=30)
    counts = validate_folder(tmp_path / "made")
    assert counts.train.examples + counts.test.examples == 30


def unpaired(count: int) -> list[dict[str, Any]]:
    """Two rows for each of some prompts, one good and one worse; and for some more one alone."""
    rows = [
        {"prompt": sentence(n), "completion": f"{word} {n}", "label": word == "good"}
        for n in range(count)
        for word in ("good", "worse")
    ]
    return rows + [{"prompt": sentence(10**5 + n), "completion": "good", "label": True} for n in range(7)]


def test_fewer_examples_of_unpaired_rows_are_drawn_by_prompt(tmp_path):
    rows = unpaired(50)
    found = []
    for name, ordered in (("a", rows), ("b", rows[::-1])):
        source = written(tmp_path / name / "test.jsonl", ordered)
        import_set(str(source), output=tmp_path / f"made_{name}", examples=20)
        examples = read_split(tmp_path / f"made_{name}" / "test.json")
        assert len(examples) == 20
        stated = json.loads((tmp_path / f"made_{name}" / "metadata.json").read_text())
        assert stated["counts"]["dropped"] == {"no worse response": 7, "rows beyond --examples": 60}
        found.append({(example.prompt, frozenset(example.responses)) for example in examples})
    assert found[0] == found[1]


def test_drawing_unpaired_prompts_leaves_their_sides_to_chance(tmp_path):
    source = written(tmp_path / "rows.jsonl", unpaired(200))
    import_set(str(source), output=tmp_path / "made", examples=100, test_share=0.5)
    test = json.loads((tmp_path / "made" / "metadata.json").read_text())["counts"]["examples"]["test"]
    # Half, with a standard deviation of 5.
    assert 30 < test < 70


def test_a_prompt_that_makes_no_example_moves_none(tmp_path):
    row = {"prompt": sentence(1), "completion": "a", "label": True}
    near = {**row, "prompt": sentence(1).rpartition(" ")[0] + " zzz"}
    others = [{**row, "prompt": sentence(n), "label": label, "completion": str(label)} for n in range(2, 9)
              for label in (True, False)]  # fmt: skip
    written(tmp_path / "set" / "train.jsonl", [row, *others])
    written(tmp_path / "set" / "test.jsonl", [near, {**near, "completion": "b", "label": False}])
    import_set(str(tmp_path / "set"), output=tmp_path / "made")
    stated = json.loads((tmp_path / "made" / "metadata.json").read_text())
    assert stated["counts"]["moved_to_train"] == {}
    assert stated["counts"]["examples"] == {"train": 7, "test": 1}


@pytest.mark.parametrize("name", ["data/x.jsonl", "folder/below/x.json.gz", "folder/x.parquet"])
def test_a_mistyped_path_is_no_data_set_of_the_hub(tmp_path, monkeypatch, name):
    (tmp_path / "folder" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="no such local file"):
        import_set(name, output=tmp_path / "made")


@pytest.mark.parametrize("values", [(1, 2), (0, 1), (1, 2, 3), (1.0, 2.0)], ids=str)
def test_preferences_that_are_never_negative_are_refused_until_it_is_said_how_they_are_meant(tmp_path, values):
    rows = [
        {"prompt": f"q {n}", "response_1": "a", "response_2": "b", "preference": values[n % len(values)]}
        for n in range(12)
    ]
    source = str(written(tmp_path / "set" / "test.jsonl", rows))
    with pytest.raises(DataError, match=r"preference is never negative.*--layout preference.*1-or-2") as caught:
        import_set(source, output=tmp_path / "made")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("made/*.json"))
    import_set(source, output=tmp_path / "made", layout="preference")
    assert {e.responses[e.best] for e in read_split(tmp_path / "made" / "test.json")} == {"b"}


def test_one_negative_preference_shows_that_all_have_a_sign(tmp_path):
    rows = [
        {"prompt": f"q {n}", "response1": "a", "response2": "b", "preference": 1 if n else -1} for n in range(9)
    ]  # fmt: skip
    import_set(str(written(tmp_path / "test.jsonl", rows)), output=tmp_path / "made")
    best = [e.responses[e.best] for e in read_split(tmp_path / "made" / "test.json")]
    assert (best.count("a"), best.count("b")) == (1, 8)


def test_what_is_there_is_not_overwritten_and_a_name_must_be_one(tmp_path):
    source = str(written(tmp_path / "set.jsonl", [row(n) for n in range(20)]))
    import_set(source, output=tmp_path / "made")
    with pytest.raises(DataError, match="holds a distribution already"):
        import_set(source, output=tmp_path / "made")
    with pytest.raises(DataError, match="is no name of a distribution"):
        import_set(source, output=tmp_path / "a name")


@settings(max_examples=25)
@given(
    texts=st.lists(st.text(st.sampled_from("abcdefgh "), min_size=30, max_size=80), min_size=1, max_size=8, unique=True)
)
def test_clusters_of_near_duplicates_agree_with_all_pairs_compared(texts):
    """The bands propose; with so few prompts every pair can be compared outright."""
    clusters = near.near_duplicates(lambda: iter(texts), len(texts), texts.__getitem__)
    pieces = near.Pieces(iter(texts), len(texts))
    parent = list(range(len(texts)))
    for a in range(len(texts)):
        for b in range(a):
            if jaccard(pieces.of([texts[b]]), pieces.of([texts[a]])).item() >= near.JACCARD:
                low, high = sorted((parent[a], parent[b]))
                parent = [low if p == high else p for p in parent]
    assert clusters.tolist() == parent


def test_wording_that_a_whole_set_shares_makes_no_near_duplicates():
    frame = "Read the following passage with care and answer the question at its end in one sentence: "
    prompts = [frame + sentence(n, 4) for n in range(200)]
    clusters = near.near_duplicates(lambda: iter(prompts), len(prompts), prompts.__getitem__)
    assert clusters.tolist() == list(range(200))


def test_prompts_without_a_piece_are_no_duplicates():
    prompts = ["", "a", "bcd", "你好吗"]
    assert near.near_duplicates(lambda: iter(prompts), 4, prompts.__getitem__).tolist() == [0, 1, 2, 3]


def test_the_verb_is_listed(tmp_path: Path, capsys):
    assert main(["import", str(tmp_path / "none.jsonl"), "--output", str(tmp_path / "made")]) == 2
    assert "no such file or folder" in capsys.readouterr().err
