"""Files are whole or absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from genies.errors import StoreError
from genies.files import read_json, whole_file, write_json


def test_a_failure_leaves_the_old_file_and_no_leftovers(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": True})
    with pytest.raises(RuntimeError), whole_file(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"old": True}
    assert list(tmp_path.iterdir()) == [path]


def test_equal_values_give_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a", {"x": 1, "y": 2})
    write_json(tmp_path / "b", {"y": 2, "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_not_a_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "a", float("nan"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", [None, "{", "\udcff"])
def test_missing_and_damaged_files_are_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "a.json"
    if text is not None:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(StoreError, match="a.json"):
        read_json(path)
