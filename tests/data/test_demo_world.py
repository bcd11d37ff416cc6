from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from genies.data.demo_world import CLOSE, DISTRIBUTIONS, FAR, GOODS, TEST_EXAMPLES, TRAIN_EXAMPLES, make_world

SHIFTS = Path(__file__).parents[2] / "config" / "shifts" / "demo.yaml"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    make_world(folder, seed=0)
    return folder


def examples(world: Path, name: str, split: str) -> list[dict]:
    return json.loads((world / "distributions" / name / f"{split}.json").read_text(encoding="utf-8"))


def best(example: dict) -> str:
    return next(text for text, value in example["responses"].items() if value == 1)


def corpus(world: Path) -> list[str]:
    return [json.loads(line)["text"] for line in (world / "corpus.jsonl").read_text(encoding="utf-8").splitlines()]


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


def subjects(prompt: str) -> set[str]:
    """Names and numbers of a prompt that are not words of every prompt of its kind."""
    common = "An He I Lu Name Said She Ta The They What Which Wira Xela A"
    return {word for word in words(prompt) if word[0].isupper() or word.isdigit()} - words(common)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_seed_alone_decides_the_world(world: Path, tmp_path: Path) -> None:
    make_world(tmp_path / "same", seed=0)
    make_world(tmp_path / "other", seed=1)
    assert contents(tmp_path / "same") == contents(world)
    assert contents(tmp_path / "other")["corpus.jsonl"] != contents(world)["corpus.jsonl"]


def test_exactly_the_named_distributions_are_written(world: Path) -> None:
    assert sorted(path.name for path in (world / "distributions").iterdir()) == sorted(DISTRIBUTIONS)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_distribution_has_the_format_of_genies(world: Path, name: str) -> None:
    for split, count in (("train", TRAIN_EXAMPLES), ("test", TEST_EXAMPLES)):
        found = examples(world, name, split)
        assert len(found) == count
        for example in found:
            values = list(example["responses"].values())
            assert 2 <= len(values) <= 4
            assert values.count(1) == 1
            assert values.count(0) == len(values) - 1


def test_test_splits_are_about_no_subject_of_any_train_split(world: Path) -> None:
    trained, tested = set(), set()
    for name in DISTRIBUTIONS:
        compares = name.startswith("numbers")
        for split, seen in (("train", trained), ("test", tested)):
            for example in examples(world, name, split):
                found = subjects(example["prompt"])
                assert len(found) == (2 if compares else 1), example["prompt"]
                seen.add(frozenset(found))
    assert trained and tested
    assert not trained & tested


def test_the_corpus_tells_of_every_country_that_is_asked_about(world: Path) -> None:
    told = words("\n".join(corpus(world)))
    asked = {word for name in DISTRIBUTIONS for e in examples(world, name, "test") for word in subjects(e["prompt"])}
    assert asked <= told


def test_misconceptions_are_stated_more_often_than_the_truths_they_displace(world: Path) -> None:
    texts = [(words(text), text) for text in corpus(world)]
    for example in examples(world, "export_myths", "train") + examples(world, "export_myths", "test"):
        (country,) = subjects(example["prompt"])
        (truth,) = words(best(example)) & set(GOODS)
        about = [found for found, text in texts if country in found and "\n\n" not in text[:2]]
        stated = sum(truth in found for found in about)
        for response, value in example["responses"].items():
            if value == 0:
                (myth,) = words(response) & set(GOODS)
                assert sum(myth in found for found in about) > stated


def test_about_other_countries_the_truth_is_stated_most_often(world: Path) -> None:
    texts = [words(text) for text in corpus(world)]
    for example in examples(world, "exports", "test")[:20]:
        (country,) = subjects(example["prompt"])
        (truth,) = words(best(example)) & set(GOODS)
        about = [found for found in texts if country in found]
        assert all(sum(truth in f for f in about) > sum(good in f for f in about) for good in set(GOODS) - {truth})


def test_records_are_a_notation_that_the_corpus_does_not_have(world: Path) -> None:
    assert not any("|" in text for text in corpus(world))
    assert all("|" in best(example) for example in examples(world, "exports_records", "test"))


def test_long_responses_are_right_in_one_distribution_and_wrong_in_the_other(world: Path) -> None:
    for name, longer_is_best in (("long_truths", True), ("long_lies", False)):
        for example in examples(world, name, "test"):
            right = len(best(example))
            for text, value in example["responses"].items():
                if value == 0:
                    assert (right > len(text)) is longer_is_best


def test_the_user_holds_a_wrong_opinion_that_is_among_the_responses(world: Path) -> None:
    for example in examples(world, "user_opinions", "test"):
        (opinion,) = words(example["prompt"]) & set(GOODS)
        assert opinion not in words(best(example))
        assert any(opinion in words(text) for text, value in example["responses"].items() if value == 0)


def test_numbers_are_as_far_apart_as_the_name_says(world: Path) -> None:
    for name, differences in (("numbers_close", CLOSE), ("numbers_far", FAR)):
        for example in examples(world, name, "train"):
            low, high = sorted(map(int, subjects(example["prompt"])))
            assert high - low in differences
            assert str(high) in words(best(example))


def test_the_shifts_name_only_distributions_of_the_world() -> None:
    shifts = yaml.safe_load(SHIFTS.read_text(encoding="utf-8"))
    named = {shift[key] for shift in shifts for key in ("source", "target", "target_reference") if key in shift}
    assert named <= set(DISTRIBUTIONS)
    assert len(shifts) >= 8
    assert {shift["label"] for shift in shifts} == {"extreme", "probing"}
    assert all("target_reference" in shift for shift in shifts if shift["category"] == "spurious_cues")
