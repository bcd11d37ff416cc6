"""Files are whole or absent."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from genies import files
from genies.errors import StoreError
from genies.files import PARTIAL, partial_folder, read_json, read_sealed, whole_file, write_json, write_sealed


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


def test_what_a_killed_process_left_is_swept_and_what_a_live_one_writes_is_not(tmp_path: Path) -> None:
    path, other = tmp_path / "a.json", tmp_path / "b.json"
    for target in (path, other):
        program = f"from genies.files import whole_file\nimport os, pathlib\nwith whole_file(pathlib.Path({str(target)!r})):\n    os._exit(9)"  # noqa: E501
        assert subprocess.run([sys.executable, "-c", program]).returncode == 9
    assert len(list(tmp_path.glob(f"{PARTIAL}*"))) == 2
    with whole_file(path) as first:
        write_json(path, {"second": True})
        assert first.exists()
        first.write_text("{}")
    assert read_json(path) == {}
    assert len(list(tmp_path.glob(f"{PARTIAL}*"))) == 1  # the other file's, until it is written


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_another_writer_sweeps_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    lock, swept = files.lock, []

    def late(handle: int, *, wait: bool = False) -> bool | None:
        if wait and not swept:
            swept.extend(tmp_path.glob(f"{PARTIAL}*"))
            shutil.rmtree(swept[0]) if kind == "folder" else swept[0].unlink()
        return lock(handle, wait=wait)

    monkeypatch.setattr(files, "lock", late)
    with (whole_file if kind == "file" else partial_folder)(tmp_path / "a") as partial:
        assert partial.exists() and partial not in swept
    assert len(swept) == 1 and not list(tmp_path.glob(f"{PARTIAL}*"))


def test_a_folder_that_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    target = tmp_path / "data"
    program = f"from genies.files import partial_folder\nimport os, pathlib\nwith partial_folder(pathlib.Path({str(target)!r})) as f:\n    (f / 'x').touch()\n    os._exit(9)"  # noqa: E501
    assert subprocess.run([sys.executable, "-c", program]).returncode == 9
    (left,) = tmp_path.iterdir()
    with partial_folder(target) as folder, partial_folder(target) as another:
        assert not left.exists()
        assert folder.exists() and another.exists()
    assert list(tmp_path.iterdir()) == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


objects = st.dictionaries(st.text().filter(lambda key: key != "seal"), json_values, max_size=4)


@settings(max_examples=200)
@given(objects, st.integers(0), st.integers(1, 255))
def test_a_sealed_file_is_read_back_and_any_other_byte_is_found(
    tmp_path_factory, value: dict, place: int, change: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "sealed.json"
    write_sealed(path, value)
    assert read_sealed(path) == value
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= change
    path.write_bytes(content)
    with pytest.raises(StoreError, match="sealed.json"):
        read_sealed(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match="sealed.json"):
        read_sealed(path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS], ids=errno.errorcode.get)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_without_locks_what_is_old_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: str
) -> None:
    def flock(handle: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    write = whole_file if kind == "file" else partial_folder
    with write(tmp_path / "a") as first:
        left = first.with_name(f"{first.name[:-1]}~")
        shutil.copytree(first, left) if kind == "folder" else left.touch()
        with write(tmp_path / "a") as second:
            assert left.exists() and first.exists() and second.exists()
        os.utime(left, (0, time.time() - files.LEFTOVER_SECONDS - 1))
        with write(tmp_path / "a") as second:
            assert not left.exists()
            assert first.exists() and second.exists()


def test_a_file_that_a_library_puts_in_place_can_be_read_by_others(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a") as partial:
        save_file({"x": np.ones(1)}, partial)
    plain = tmp_path / "plain"
    plain.touch()
    assert (tmp_path / "a").stat().st_mode == plain.stat().st_mode
