"""Which examples a limit draws: by the seed and their own texts, smaller draws within larger ones."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
from helpers import write_distribution
from hypothesis import given, settings
from hypothesis import strategies as st

from genies.data.distributions import Example, read_split
from genies.data.limit import drawn
from genies.data.options import Limit, Reading
from genies.data.reading import read_drawn, read_test, read_training


@st.composite
def examples(draw: st.DrawFn) -> Example:
    responses = tuple(draw(st.lists(st.text(max_size=3), min_size=2, max_size=4, unique=True)))
    best = draw(st.integers(0, len(responses) - 1))
    return Example(draw(st.text(max_size=3)), responses, best, tuple(i for i in range(len(responses)) if i != best))


def texts(example: Example) -> tuple[str, str, frozenset[str]]:
    return example.prompt, example.responses[example.best], frozenset(example.responses)


@settings(max_examples=200)
@given(st.lists(examples(), max_size=12), st.integers(1, 12), st.integers(0, 6), st.integers(0, 2**32))
def test_a_larger_draw_contains_the_smaller_one(chosen: list[Example], limit: int, more: int, seed: int) -> None:
    smaller, larger = drawn(chosen, limit, seed), drawn(chosen, limit + more, seed)
    assert set(smaller) <= set(larger)
    assert len(smaller) == min(limit, len(chosen))
    assert smaller == sorted(set(smaller)) and larger == sorted(set(larger))


@settings(max_examples=200)
@given(st.lists(examples(), max_size=12), st.integers(1, 12), st.integers(0, 2**32), st.data())
def test_the_order_of_the_file_plays_no_part(chosen: list[Example], limit: int, seed: int, data: st.DataObject) -> None:
    moved = data.draw(st.permutations(chosen))
    before, after = (Counter(texts(order[i]) for i in drawn(order, limit, seed)) for order in (chosen, moved))
    assert before == after


def test_the_order_of_responses_plays_no_part() -> None:
    chosen = [Example(f"prompt {n}", ("b", f"x {n}", "y"), 0, (1, 2)) for n in range(30)]
    turned = [Example(e.prompt, e.responses[::-1], 2, (0, 1)) for e in chosen]
    assert drawn(turned, 10, 0) == drawn(chosen, 10, 0)


def test_no_limit_and_one_above_the_size_draw_everything() -> None:
    chosen = [Example(f"prompt {n}", ("b", "w"), 0, (1,)) for n in range(5)]
    assert drawn(chosen, None, 0) == drawn(chosen, 5, 0) == drawn(chosen, 99, 0) == [0, 1, 2, 3, 4]


def test_the_seed_decides_and_every_example_is_equally_likely() -> None:
    chosen = [Example(f"prompt {n}", ("b", "w"), 0, (1,)) for n in range(20)]
    times = Counter(index for seed in range(400) for index in drawn(chosen, 5, seed))
    # 100 each, with a standard deviation of 9.
    assert len(times) == 20 and all(60 <= count <= 140 for count in times.values())


def test_a_distribution_may_have_limits_of_its_own() -> None:
    limit = Limit(train=60, test=40, distributions={"north": {"train": 5}, "south": {"test": None}})
    places = [(name, split) for name in ("north", "south", "west") for split in ("train", "test")]
    assert [limit.of(*place) for place in places] == [5, 40, 60, None, 60, 40]


def test_pairs_are_those_of_the_examples_drawn_by_index_in_the_file(tmp_path: Path) -> None:
    folder = write_distribution(tmp_path / "north", train=20, test=20)
    limited = Reading(seed=3, limit=Limit(train=7, test=5))
    for read, split, count in ((read_training, "train", 7), (read_test, "test", 5)):
        file = folder / f"{split}.json"
        some, everything = read(file, limited, ()), read(file, Reading(seed=3), ())
        chosen = drawn(read_split(file), count, 3)
        assert chosen != list(range(count))
        kept = [n for n, pair in enumerate(everything.pairs) if pair.example in chosen]
        assert some.pairs == [everything.pairs[n] for n in kept]
        assert some.best_first.tolist() == everything.best_first[kept].tolist()
        assert {pair.example for pair in some.pairs} == set(chosen)
        left = read(file, limited, chosen[:2])
        assert {pair.example for pair in left.pairs} == set(chosen[2:])


def test_under_truthfulness_the_limit_counts_examples_of_the_file(tmp_path: Path) -> None:
    file = write_distribution(tmp_path / "north", train=20, test=20) / "test.json"
    reading = Reading(framing="truthfulness", limit=Limit(test=6))
    framed, indices = read_drawn(file, reading)
    chosen = drawn(read_split(file), 6, 0)
    assert {framed.origin[index][0] for index in indices} == set(chosen)
    assert len(indices) == 2 * len(chosen)
    asked = read_test(file, reading, ())
    assert {asked.framed.place(pair)[0] for pair in asked.pairs} == set(chosen)


@pytest.mark.parametrize("framing", ["response", "truthfulness"])
def test_a_reading_survives_its_manifest(framing: str) -> None:
    reading = Reading(2, framing, limit=Limit(60, None, {"north": {"test": 3}}))
    assert Reading.of(json.loads(json.dumps(asdict(reading)))) == reading
    assert "limit" not in reading.remembered() and reading.remembered()["seed"] == 2
