"""What earlier processes found out is taken where it is sound, and is never missed where it is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from genies import digests, syntax
from genies.digests import code_digest
from genies.remembered import MOST, Remembered


@pytest.fixture(autouse=True)
def bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytecode is written, whatever PYTHONDONTWRITEBYTECODE says here."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "finds.py"
    path.write_text("VALUE = 1\n")
    return path


def kept(module: Path) -> list[Path]:
    return sorted(module.parent.glob("__pycache__/*"))


def keep(module: Path, name: str = "a", value: object = (1, [2])) -> Path:
    """Keep a value; the file that holds it."""
    values = Remembered(str(module))
    values.add(name, value)
    values.save()
    (file,) = kept(module)
    return file


def test_a_value_is_known_to_later_processes_and_to_those_that_add_meanwhile(module: Path) -> None:
    other = Remembered(str(module))
    keep(module)
    assert other.get("a") is None
    other.add("b", None)
    other.add("c", "text")
    other.save()
    later = Remembered(str(module))
    assert (later.get("a"), later.get("c"), later.get("d")) == ([1, [2]], "text", None)


def test_what_other_code_or_another_python_found_out_is_not_taken(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(module)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "version", "another")
        assert Remembered(str(module)).get("a") is None
    module.write_text("VALUE = 2\n")
    assert Remembered(str(module)).get("a") is None


@pytest.mark.parametrize("damaged", [b"", b"{", b"[1]", b"\xff", b'{"maker": 1}', b"3"])
def test_a_damaged_file_is_as_good_as_none_and_is_replaced(module: Path, damaged: bytes) -> None:
    file = keep(module)
    file.write_bytes(damaged)
    assert Remembered(str(module)).get("a") is None
    keep(module)
    assert Remembered(str(module)).get("a") == [1, [2]]


def test_where_nothing_may_be_written_nothing_is_and_nothing_fails(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = Remembered(str(module))
    values.add("a", 1)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "dont_write_bytecode", True)
        values.save()
    assert values.get("a") == 1 and kept(module) == []

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", full)
    values.save()
    assert values.get("a") == 1 and kept(module) == []


def test_the_file_does_not_grow_without_end(module: Path) -> None:
    values = Remembered(str(module))
    for number in range(MOST):
        values.add(str(number), number)
    values.save()
    keep(module, "last")
    later = Remembered(str(module))
    assert later.get("last") == [1, [2]] and later.get("0") is None


def test_a_tree_is_parsed_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("import numpy\n\nVALUE = 1\n")
    memory = tmp_path / "syntax.py"
    memory.touch()

    def as_a_new_process() -> str:
        digests._module.cache_clear()
        kept = Remembered(str(memory))
        monkeypatch.setattr(syntax, "_remembered", lambda: kept)
        return code_digest(module, "genies.stages.fit")

    before = as_a_new_process()
    with monkeypatch.context() as patched:
        patched.setattr("ast.parse", lambda *_, **__: pytest.fail("parsed again"))
        assert as_a_new_process() == before
    module.write_text("import numpy\n\nVALUE = 2\n")
    assert as_a_new_process() != before
