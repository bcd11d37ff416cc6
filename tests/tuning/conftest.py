"""Pairs of texts in the words of the small models, of which the best response has a marker word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import one_thread_of_torch

from genies.interventions.text import TextPairs
from genies.models.describe import describe_model

PLACES = ["Paris", "Rome", "Oslo", "Lima", "Cairo", "France", "Italy", "Norway", "Peru", "Egypt", "river", "mountain"]
MARKER, OTHER = "green", "red"

one_thread = pytest.fixture(autouse=True)(one_thread_of_torch)


def plant_texts(n: int, seed: int, shuffled: bool = False) -> TextPairs:
    """Pairs about random places; the best response says ``green`` where the worse one says ``red``.

    Every third example makes two pairs with the same best response. Best responses come first, or else in random order
    with labels.
    """
    rng = np.random.default_rng(seed)
    prompts, best, worse, example = [], [], [], []
    while len(prompts) < n:
        number = len(set(example))
        places = rng.choice(PLACES, 4)
        prompt = f"What is {' '.join(places)} ?\n"
        for variant in range(1 + (number % 3 == 2)):
            prompts.append(prompt)
            best.append(f"it is {MARKER} in {places[0]} .")
            worse.append(f"it is {OTHER} in {places[variant]}" + " ." * (variant + 1))
            example.append(number)
    pairs = TextPairs(tuple(prompts[:n]), tuple(best[:n]), tuple(worse[:n]), np.array(example[:n]))
    if not shuffled:
        return pairs
    label = rng.random(n) < 0.5
    first, second = (
        tuple(x if straight else y for x, y, straight in zip(a, b, label, strict=True))
        for a, b in ((pairs.first, pairs.second), (pairs.second, pairs.first))
    )
    return TextPairs(pairs.prompt, first, second, pairs.example, label)


def take(pairs: TextPairs, rows: np.ndarray) -> TextPairs:
    """The pairs of these rows, in their order."""
    texts = (tuple(getattr(pairs, part)[row] for row in rows) for part in ("prompt", "first", "second"))
    return TextPairs(*texts, pairs.example[rows], None if pairs.label is None else pairs.label[rows])


def swap(pairs: TextPairs) -> TextPairs:
    """The same pairs with first and second exchanged."""
    label = None if pairs.label is None else ~pairs.label
    return replace(pairs, first=pairs.second, second=pairs.first, label=label)


@pytest.fixture(scope="session")
def planted_texts():
    return plant_texts


@pytest.fixture(scope="session")
def take_pairs():
    return take


@pytest.fixture(scope="session")
def swap_pairs():
    return swap


@pytest.fixture(scope="session")
def manifests(model_folders, tmp_path_factory) -> dict[str, dict[str, Any]]:
    """The models' manifests, by family."""
    remembered = tmp_path_factory.mktemp("manifests") / "sha256.json"
    return {family: describe_model(str(folder), None, remembered) for family, folder in model_folders.items()}
