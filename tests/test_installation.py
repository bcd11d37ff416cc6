"""What `make` installs, with which Python, and what an installed genies is imported from."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]

STUB = """#!/bin/sh
case "$1 $2" in
  "-c "*) exec {interpreter} -c "import sys; sys.version_info = {version}; $2" ;;
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
esac
echo "{name} $*" >> "$LOG"
"""


def pinned() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    return {canonicalize_name(name): exact for name, exact in (line.split("==") for line in lines if line[0] != "#")}


@pytest.mark.parametrize("requirement", [*PROJECT["dependencies"], *EXTRAS["test"], *EXTRAS["quantization"]])
def test_a_requirement_states_its_lowest_version_and_has_one_exact_version_in_the_range(requirement: str) -> None:
    # `make oldest` reads the lowest version in this form.
    assert re.fullmatch(r"[\w-]+>=[\d.]+(,<[\d.]+)?", requirement)
    package = Requirement(requirement)
    assert package.specifier.contains(pinned()[canonicalize_name(package.name)])


def test_the_versions_that_these_tests_run_with_are_admitted() -> None:
    for package in map(Requirement, PROJECT["dependencies"]):
        assert package.specifier.contains(version(package.name)), package


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone called genies, with what an installation reads."""
    clone = tmp_path / "genies"
    shutil.copytree(REPOSITORY / "genies", clone / "genies", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "Makefile", "constraints.txt"):
        shutil.copy(REPOSITORY / name, clone)
    return clone


def test_a_clone_named_genies_does_not_hide_the_package_in_the_folder_around_it(clone: Path) -> None:
    environment = clone.parent / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "--quiet", "install"]
    subprocess.run([*pip, "--no-deps", "--editable", clone], check=True, capture_output=True)
    (installed,) = environment.glob("lib/python*/site-packages")
    # All else that genies imports; after the package's own entry, since entries are read by name.
    (installed / "zz_packages.pth").write_text(str(Path(find_spec("pydantic").origin).parents[1]))

    code = "import genies; genies.evaluate_shifts; print(genies.__file__)"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run([python, "-c", code], cwd=clone.parent, env=env, capture_output=True, text=True)
    assert (run.stdout, run.stderr) == (f"{clone / 'genies/__init__.py'}\n", "")


class Machine:
    """A machine with some programs called python, which write down how they are called, and with make."""

    def __init__(self, folder: Path, clone: Path) -> None:
        self.clone = clone
        self.programs = folder / "programs"
        self.log = folder / "log"
        self.programs.mkdir()
        for name in ("mkdir", "cp", "touch"):
            (self.programs / name).symlink_to(shutil.which(name))

    def add(self, name: str, *version: int) -> None:
        stub = STUB.format(name=name, interpreter=sys.executable, version=version)
        (self.programs / name).write_text(stub)
        (self.programs / name).chmod(0o755)

    def make(self, *arguments: str, target: str = ".installed") -> tuple[list[str], subprocess.CompletedProcess]:
        """What the Pythons were asked to do, and how make ended."""
        self.log.write_text("")
        env = {"PATH": str(self.programs), "LOG": str(self.log)}
        command = [shutil.which("make"), f".venv/{target}", *arguments]
        run = subprocess.run(command, cwd=self.clone, env=env, capture_output=True, text=True)
        return self.log.read_text().splitlines(), run


@pytest.fixture
def machine(tmp_path: Path, clone: Path) -> Machine:
    return Machine(tmp_path, clone)


def test_make_takes_the_first_python_that_is_new_enough_and_makes_environments(machine: Machine) -> None:
    machine.add("python3", 3, 10, 9)
    machine.add("python3.12", 3, 12, 0)
    machine.add("python3.11", 3, 11, 0)
    calls, run = machine.make()
    assert run.returncode == 0, run.stderr
    assert calls[0] == "python3.12 -m venv .venv"
    assert calls[1].endswith(" --constraint constraints.txt --editable .") and "--quiet" not in calls[1]


def test_make_takes_a_python_that_packages_are_compiled_for_only_if_there_is_no_other(machine: Machine) -> None:
    machine.add("python3", 3, 14, 0)
    assert machine.make()[0][0] == "python3 -m venv .venv"
    shutil.rmtree(machine.clone / ".venv")
    machine.add("python3.11", 3, 11, 0)
    assert machine.make()[0][0] == "python3.11 -m venv .venv"


def test_make_takes_the_python_that_it_is_given(machine: Machine) -> None:
    machine.add("python3", 3, 11, 0)
    machine.add("mine", 3, 14, 0)
    calls, _ = machine.make("PYTHON=mine")
    assert calls[0] == "mine -m venv .venv"


def test_make_without_a_suitable_python_says_so_in_one_line(machine: Machine) -> None:
    machine.add("python3", 3, 10, 9)
    calls, run = machine.make()
    assert not calls and run.returncode != 0
    reason, end = run.stderr.splitlines()
    assert reason == (
        "genies needs Python 3.11 or later with its module venv. "
        "Tried: python3 python3.13 python3.12 python3.11 python3.14. Name another: make PYTHON=..."
    )
    assert end.startswith("make: ***")


def test_make_installs_again_in_the_same_environment_when_the_versions_changed(machine: Machine) -> None:
    machine.add("python3", 3, 13, 0)
    first, _ = machine.make()
    assert machine.make()[0] == []
    later = (machine.clone / ".venv/.installed").stat().st_mtime + 10
    os.utime(machine.clone / "constraints.txt", (later, later))
    again, _ = machine.make()
    assert [call for call in again if "--editable" in call] == [call for call in first if "--editable" in call]
    assert not [call for call in again if "-m venv" in call]


def test_make_installs_what_tests_need_at_once_and_keeps_it(machine: Machine) -> None:
    machine.add("python3", 3, 13, 0)
    calls, run = machine.make(target=".installed-test")
    assert run.returncode == 0, run.stderr
    assert [call.split()[-1] for call in calls if "--editable" in call] == [".[test]"]
    assert machine.make()[0] == machine.make(target=".installed-test")[0] == []


def test_the_lowest_python_is_the_one_that_make_asks_for() -> None:
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert f"({lowest.replace('.', ', ')}) <= sys.version_info" in (REPOSITORY / "Makefile").read_text()
