"""The cache after a run: who uses what, what is sound, what may go."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
from project import Project, run_to_end

from genies.cli import main
from genies.demo.place import distribution_names
from genies.errors import StoreError
from genies.files import read_json
from genies.store import cache

YOUNG_TOO = ("--age", "0")


@pytest.fixture
def everything(project: Project, monkeypatch: pytest.MonkeyPatch) -> list[cache.Entry]:
    monkeypatch.chdir(project.folder)
    # Of the project that this one is a copy of.
    assert [record.unlink() for record in Path("cache/users").glob("*.json")] == [None]
    return cache.entries(Path("cache"), Path("results"))


@pytest.mark.parametrize(
    ("target", "changed"),
    [
        (distribution_names()[0], {}),
        ("mixed", {"mixtures": {"mixed": {"source": "north", "other": "south", "percent": 50}}}),
    ],
    ids=["demo", "mixture"],
)
def test_what_adopting_says_to_make_first_can_be_made(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    target: str,
    changed: dict[str, object],
) -> None:
    monkeypatch.chdir(project.folder)
    project.config |= {**changed, "capability_interventions": []}
    project.shifts = [{"source": "north", "target": target}]
    project.write_config()
    assert main(["cache", "adopt", "--configfile", "config.yaml"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    missing, command = said.removeprefix("genies: error: ").split(": not there yet; have it made first: snakemake ")
    assert Path(missing).parent.name == target and not Path(missing).exists()
    made = project.snakemake(*shlex.split(command))
    assert made.returncode == 0, made.stderr
    assert Path(missing).is_file()


def stores(everything: list[cache.Entry]) -> list[cache.Entry]:
    return [entry for entry in everything if entry.kind == "activations"]


def test_everything_of_a_run_is_used_and_sound(everything: list[cache.Entry], capsys: pytest.CaptureFixture) -> None:
    assert {entry.kind for entry in everything} == set(cache.KINDS) - {"models"}  # the model is a folder
    assert {entry.users for entry in everything} == {("mini",)}
    assert main(["cache", "list"]) == 0
    assert "tiny-llama: north test, plain (8 examples, heads, log_probability)" in capsys.readouterr().out
    assert main(["cache", "verify"]) == 0
    assert f"{len(everything)} verified" in capsys.readouterr().out


@pytest.mark.parametrize("pattern", ["activations/*/data.zarr/heads/c/0/0/0/0", "interventions/*/weights.safetensors"])
def test_a_flipped_bit_is_found(everything: list[cache.Entry], capsys: pytest.CaptureFixture, pattern: str) -> None:
    file = next(path for path in sorted(Path("cache").glob(pattern)) if path.stat().st_size > 40)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert main(["cache", "verify"]) == 2
    assert str(file.relative_to("cache").parts[1]) in capsys.readouterr().out


def test_what_no_manifest_names_is_shown_and_then_removed(
    project: Project, everything: list[cache.Entry], capsys: pytest.CaptureFixture
) -> None:
    for manifest in (project.folder / "results/mini/interventions").rglob("mms.json"):
        manifest.unlink()
    assert main(["cache", "gc", *YOUNG_TOO]) == 0
    assert "Nothing was deleted" in capsys.readouterr().out
    assert len(cache.entries(Path("cache"), Path("results"))) == len(everything)
    lock = project.folder / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.touch()  # as Snakemake has while it runs
    assert main(["cache", "gc", "--yes", *YOUNG_TOO]) == 2
    assert len(cache.entries(Path("cache"), Path("results"))) == len(everything)
    lock.unlink()
    assert main(["cache", "gc", "--yes", *YOUNG_TOO]) == 0
    left = cache.entries(Path("cache"), Path("results"))
    assert {entry.about for entry in everything} - {entry.about for entry in left} == {"mms"}
    assert main(["cache", "verify"]) == 0


def test_fields_that_differ_are_explained(everything: list[cache.Entry], capsys: pytest.CaptureFixture) -> None:
    plain = [entry for entry in stores(everything) if ", plain (" in entry.about]
    names = [name for name, _, _ in cache.explain(*plain[:2])]
    assert names == ["texts"]
    tokens = [entry for entry in everything if entry.kind == "tokens"]
    assert main(["cache", "explain", tokens[0].digest[:10], tokens[1].digest[:10]]) == 0
    assert capsys.readouterr().out.startswith("texts: ")
    with pytest.raises(StoreError, match="compare two of one kind"):
        cache.explain(tokens[0], plain[0])
    assert main(["cache", "explain", "nothing-begins-so", tokens[0].digest]) == 2


def test_after_an_edit_of_the_engine_adopted_stores_need_no_pass(project: Project) -> None:
    decoder = project.folder / "genies/engine/decoder.py"
    decoder.write_text(decoder.read_text() + "\nEDITED = True\n")
    project.write_config()
    command = [sys.executable, "-m", "genies", "cache", "adopt", "--configfile", "config.yaml"]
    adopted = run_to_end(command, cwd=project.folder, env=project.environment)
    assert adopted.returncode == 0 and "4 adopted, 0 without" in adopted.stdout, adopted.stderr
    jobs = project.jobs()
    assert jobs["extract"] == jobs["probe:mms"] == jobs["provenance"] == 1 and not jobs["tokenize"]
    assert project.forward_passes() == 0
    (stated,) = read_json(project.folder / "results/mini/provenance.json")["adopted"]
    assert {sample["largest_difference"] for sample in stated["which"].values()} == {0.0} and len(stated["which"]) == 4
    assert project.planned() == {}


def test_a_store_that_is_being_written_is_not_removed(everything: list[cache.Entry]) -> None:
    from filelock import FileLock

    store = stores(everything)[0]
    with FileLock(store.path.parent / ".locks" / store.digest), pytest.raises(StoreError, match="is being written"):
        cache.remove(store)
    assert store.path.is_dir()
