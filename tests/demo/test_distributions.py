"""The demo's own distributions: what each folder promises."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from genies.data.distributions import SPLITS, Example, read_split, validate_folder
from genies.demo.place import DISTRIBUTIONS_FOLDER

FOLDERS = sorted(folder for folder in DISTRIBUTIONS_FOLDER.iterdir() if folder.is_dir())
SMALLEST = {"train": 120, "test": 80}
LONGEST_TEXT = 600
RARE = 3
"""A word in fewer prompts than this is taken for a template's filling."""
BEST_IS_LONGER = {"long_correct": (0.9, 1.0), "long_wrong": (0.0, 0.1)}
"""Share of pairs whose best response is the longer one, where length is what the distribution is about."""

pytestmark = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def read(folder: Path) -> dict[str, list[Example]]:
    return {split: read_split(folder / f"{split}.json") for split in SPLITS}


def words(prompt: str) -> list[str]:
    return re.findall(r"\w+(?:['’]\w+)*|[^\w\s]|\n", prompt)


def template(prompt: str, rare: set[str]) -> str:
    """The prompt with "_" for names, numbers and rare words; adjacent ones become a single "_"."""
    shown: list[str] = []
    starts_sentence = True
    for word in words(prompt):
        is_name = word[0].isupper() and not starts_sentence
        filling = is_name or any(character.isdigit() for character in word) or word.lower() in rare
        if not (filling and shown[-1:] == ["_"]):
            shown.append("_" if filling else word.lower())
        # Quotes open a sentence only where one begins anyway.
        if word[0].isalnum() or word in ".?!:\n¿¡":
            starts_sentence = not word[0].isalnum()
    return " ".join(shown)


def rare_words(prompts: Iterable[str]) -> set[str]:
    counts = Counter(word for prompt in prompts for word in {word.lower() for word in words(prompt)})
    return {word for word, count in counts.items() if count < RARE and word[0].isalnum()}


def test_is_valid_and_large_enough(folder):
    summary = validate_folder(folder)
    assert summary.train.examples >= SMALLEST["train"]
    assert summary.test.examples >= SMALLEST["test"]


def test_no_prompt_occurs_twice(folder):
    prompts = Counter(example.prompt for examples in read(folder).values() for example in examples)
    assert [prompt for prompt, count in prompts.items() if count > 1] == []


def test_texts_are_short(folder):
    for examples in read(folder).values():
        for example in examples:
            assert len(max(example.prompt, *example.responses, key=len)) <= LONGEST_TEXT, example.prompt


def test_length_says_nothing_about_the_best_response(folder):
    """Pairs of equal length count half. Two distributions are about length, and there it says all."""
    low, high = BEST_IS_LONGER.get(folder.name, (0.35, 0.65))
    for split, examples in read(folder).items():
        lengths = [(len(e.responses[e.best]), len(e.responses[worse])) for e in examples for worse in e.worse]
        longer = sum(1.0 if best > worse else 0.5 if best == worse else 0.0 for best, worse in lengths)
        assert low <= longer / len(lengths) <= high, split


def test_neither_does_its_place(folder):
    for split, examples in read(folder).items():
        pairs = [example.best == 0 for example in examples if len(example.responses) == 2]
        assert 0.35 <= sum(pairs) / len(pairs) <= 0.65, split


def test_half_of_the_test_prompts_come_from_no_template_of_training(folder):
    """Rare words are counted over both splits, so that one word is masked in both or in neither."""
    prompts = {split: [example.prompt for example in examples] for split, examples in read(folder).items()}
    rare = rare_words(prompts["train"] + prompts["test"])
    known = {template(prompt, rare) for prompt in prompts["train"]}
    new = [prompt for prompt in prompts["test"] if template(prompt, rare) not in known]
    assert len(new) >= len(prompts["test"]) / 2
