"""A mixed source holds the asked share of another distribution's training examples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import write_distribution

from genies.data.distributions import read_split
from genies.data.mixture import mix
from genies.errors import DataError


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Path, Path]:
    return (
        write_distribution(tmp_path / "north", train=40, test=5),
        write_distribution(tmp_path / "south", train=35, test=5, offset=500),
    )


@pytest.mark.parametrize(("percent", "count"), [(5, 2), (35, 14), (1.5, 1)])
def test_the_share_comes_from_the_other_distribution(
    parts: tuple[Path, Path], tmp_path: Path, percent: float, count: int
) -> None:
    mix(*parts, percent, 0, tmp_path / "mixed")
    source, other, mixed = (read_split(folder / "train.json") for folder in (*parts, tmp_path / "mixed"))
    replaced = [index for index, example in enumerate(mixed) if example != source[index]]
    assert len(mixed) == len(source)
    assert len(replaced) == count
    assert all(mixed[index] in other for index in replaced)
    assert (tmp_path / "mixed/test.json").exists()
    assert read_split(tmp_path / "mixed/test.json") == read_split(parts[0] / "test.json")


def test_the_draw_depends_on_the_seed_alone(parts: tuple[Path, Path], tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        mix(*parts, 20, seed, tmp_path / name)
    a, b, c = ((tmp_path / name / "train.json").read_bytes() for name in "abc")
    assert a == b != c


def test_the_order_of_responses_plays_no_part_in_the_draw(parts: tuple[Path, Path], tmp_path: Path) -> None:
    mix(*parts, 20, 0, tmp_path / "a")
    for file in (folder / "train.json" for folder in parts):
        examples = json.loads(file.read_text())
        file.write_text(json.dumps([e | {"responses": dict(reversed(e["responses"].items()))} for e in examples]))
    mix(*parts, 20, 0, tmp_path / "b")
    a, b = (json.loads((tmp_path / name / "train.json").read_text()) for name in "ab")
    assert a == b  # as mappings, whose order does not count


def test_more_than_the_other_distribution_has_is_refused(parts: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="choose another percentage"):
        mix(*parts, 100, 0, tmp_path / "mixed")
    assert not (tmp_path / "mixed").exists()
