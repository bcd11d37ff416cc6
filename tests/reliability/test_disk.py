"""A disk that is full, or fails to flush or to rename, leaves nothing that looks complete."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from figures import tell
from verbs import Verbs, contents

from genies import files
from genies.errors import DiskError, disk_full
from genies.files import read_json
from genies.store.activations import is_complete

SIZES = (1, 600, 3000, 12_000, 60_000)
"""Bytes that a file may have, in turn: each stops another kind of file."""


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let writes past ``size`` bytes fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


VERBS = (
    "model",
    "tokenize",
    "extract",
    "fit mms",
    "tune",
    "gather",
    "evaluate",
    "overlap",
    "metrics",
    "records",
    "provenance",
    "costs",
    "report",
)
CACHED = {"model": "models", "tokenize": "tokens", "extract": "activations"}


def cached(run: Verbs, verb: str) -> list[Path]:
    """Folders in the cache that a verb has made."""
    if verb in ("fit mms", "tune"):
        fits = read_json(Path(run.made[verb][0]), "fits")["fits"]
        return [Path("cache/interventions", digest) for digest in fits.values()]
    return [Path("cache", CACHED[verb])] if verb in CACHED else []


@pytest.mark.parametrize(
    "sizes", [SIZES[::2], pytest.param(SIZES, marks=pytest.mark.torture)], ids=lambda sizes: f"{len(sizes)} sizes"
)
@pytest.mark.parametrize("verb", VERBS)
def test_a_full_disk_has_a_status_of_its_own_and_leaves_nothing_that_looks_complete(
    run: Verbs, verb: str, sizes: tuple[int, ...], capsys: pytest.CaptureFixture
) -> None:
    # What is remembered of files names their paths, which are others in this copy.
    right = {name: content for name, content in contents(Path()).items() if not name.startswith("cache/models")}
    stopped = 0
    for size in sizes:
        for folder in cached(run, verb):
            shutil.rmtree(folder)
        for file in run.made[verb]:
            Path(file).unlink()
        with files_of_at_most(size):
            status = run.run(verb)
        assert status in (0, 3)
        if status == 3:
            stopped += 1
            assert "make room" in capsys.readouterr().err
            left = contents(Path())
            assert not all(file in left for file in run.made[verb])
            assert all(right.get(name, left[name]) == left[name] for name in left if ".partial-" not in name)
        assert run.run(verb) == 0
        now = contents(Path())
        assert {name: now[name] for name in right} == right
        assert not [name for name in now if ".partial-" in name]
    assert stopped
    tell(f"disk full in `genies {verb}`: {stopped} of {len(sizes)} sizes of files stopped it with status 3, none left "
         "anything that looks complete, and all went on to the same bytes")  # fmt: skip


@pytest.mark.parametrize("text", ["No space left on device (os error 28)", "unable to write (errno = 28, message)"])
def test_what_libraries_say_of_a_full_disk_is_understood(text: str) -> None:
    try:
        try:
            raise RuntimeError(text)
        except RuntimeError as error:
            raise ValueError("cannot save") from error
    except ValueError as error:
        assert isinstance(disk_full(error), DiskError)
    assert disk_full(ValueError("no such thing")) is None
    assert "a.json: File too large" in str(disk_full(OSError(errno.EFBIG, os.strerror(errno.EFBIG), "a.json")))


def failing(call: Callable, number: int) -> Callable:
    """The function, whose call of this number (from 0) fails with an input/output error."""
    calls = iter(range(1_000_000))

    def instead(*arguments, **options):
        if next(calls) == number:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return call(*arguments, **options)

    return instead


def counting(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, action: Callable[[], None]) -> int:
    """How often ``action`` calls a function."""
    calls: list[int] = []
    function = getattr(owner, name)
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, lambda *args, **options: (calls.append(1), function(*args, **options))[1])
        action()
    return len(calls)


@pytest.mark.parametrize("tried", [2, pytest.param(100, marks=pytest.mark.torture)])
@pytest.mark.parametrize(("owner", "name"), [(os, "fsync"), (Path, "replace")])
def test_a_flush_or_a_rename_that_fails_anywhere_in_an_extraction_leaves_no_complete_store(
    run: Verbs,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    owner: object,
    name: str,
    tried: int,
) -> None:
    right = contents(Path("cache/activations"))

    def extract() -> None:
        shutil.rmtree("cache/activations")
        assert run.run("extract") == 0

    extract()  # once, hashes of the model's files at their new place are written
    calls = counting(monkeypatch, owner, name, extract)
    failed = range(0, calls, max(1, calls // tried))
    for number in failed:
        shutil.rmtree("cache/activations")
        Path(run.activations).unlink()
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, failing(getattr(owner, name), number))
            try:
                assert run.run("extract") == 0
            except OSError as error:
                assert "Input/output" in str(error)
                assert not Path(run.activations).exists()
            else:  # what cannot be noted of time and memory stops nothing
                assert "what was spent could not be noted" in capsys.readouterr().err
        for folder in Path("cache/activations").glob("[!.]*"):
            assert is_complete(folder.parent, folder.name)
        assert run.run("extract") == 0
        assert contents(Path("cache/activations")) == right
    tell(f"{name} failing at {len(failed)} of the {calls} calls of an extraction: nothing incomplete became visible")


@pytest.mark.parametrize(("owner", "name"), [(os, "fsync"), (Path, "replace")])
def test_a_flush_or_a_rename_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, name: str
) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"old": True})
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, failing(getattr(owner, name), 0))
        with pytest.raises(OSError):
            files.write_json(path, {"old": False})
    assert files.read_json(path) == {"old": True}
    assert list(tmp_path.iterdir()) == [path]
