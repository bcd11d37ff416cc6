"""A miniature project with the real workflow, run by real Snakemake."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import psutil
import yaml
from filelock import FileLock
from helpers import save_model, write_distribution

REPOSITORY = Path(__file__).parents[1]
WARM = Path(__file__).with_name("warm")
"""See ``warm/server.py``."""
SHARED = "GENIES_TESTS"
"""Environment variable with the folder that all processes of a run of the tests have in common."""
BYTECODE = """
import compileall, pathlib
from genies.cli import VERBS
from genies.digests import code_digest
compileall.compile_dir("genies", quiet=1)
code_digest(
    *(verb.place.partition(":")[0] for verb in VERBS.values()),
    *(f"genies.interventions.{file.stem}" for file in pathlib.Path("genies/interventions").glob("[!_]*.py")),
)
"""
HANG_SECONDS = 1800
"""Longer than any program of the tests takes on a slow machine: what runs on by then hangs."""


class Project:
    """A copy of the workflow and the package, so that both can be edited, with a small configuration.

    Attributes:
        server: socket of the server of which Snakemake and its jobs are forks, if not of that of all tests.
    """

    server: str | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(package(), folder, dirs_exist_ok=True)
        for number, name in enumerate(("north", "south", "west")):
            write_distribution(folder / "data" / name, offset=31 * number)
        save_model(folder / "tiny-llama", "llama")
        self.config = {
            "run": "mini",
            "models": ["tiny-llama"],
            "distributions": ["data/north", "data/south", "data/west"],
            "shifts": ["shifts.yaml"],
            "interventions": ["random", "zero_shot", "mms"],
            "capability_interventions": ["mms"],
        }
        self.shifts = [{"source": "north", "target": "south", "label": "extreme", "category": "place"}]

    def write_config(self) -> None:
        """Write what ``--configfile config.yaml`` reads."""
        (self.folder / "config.yaml").write_text(yaml.safe_dump(self.config))
        (self.folder / "shifts.yaml").write_text(yaml.safe_dump(self.shifts))

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        self.write_config()
        return self.snakemake("--configfile", "config.yaml", *options)

    def snakemake(self, *options: str) -> subprocess.CompletedProcess[str]:
        return run_to_end(
            # The profile keeps quiet of what each job reads and writes; tests read it.
            [sys.executable, "-m", "snakemake", "--quiet=host", "--cores", "2", *options],
            cwd=self.folder,
            env=self.environment,
        )

    @property
    def environment(self) -> dict[str, str]:
        """What programs find in their environment. Bytecode is written, which later programs and copies take."""
        return {**warm(self.folder, self.server), "PYTHONDONTWRITEBYTECODE": ""}

    def jobs(self, *options: str) -> Counter[str]:
        """Run to the end; which jobs were executed, as rule or rule:intervention."""
        return executed(self.run(*options))

    def planned(self) -> Counter[str]:
        """Which jobs a dry run announces, named likewise."""
        result = self.run("-n")
        assert result.returncode == 0, result.stderr
        return executed(subprocess.CompletedProcess(result.args, 0, stderr=result.stdout + result.stderr))

    def forward_passes(self) -> int:
        log = (self.folder / "results/mini/logs/extract/tiny-llama/0.log").read_text()
        return int(re.findall(r"tiny-llama: (\d+) forward passes", log)[-1])


@cache
def package() -> Path:
    """A copy of the workflow and the package, with all bytecode, from which every project begins."""
    folder, partial = shared_folder() / "package", shared_folder() / "package.partial"
    with FileLock(shared_folder() / "package.lock"):
        if not folder.exists():
            for name in ("workflow", "profiles", "genies", "config"):
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(REPOSITORY / name, partial / name, ignore=ignored)
            shutil.copy2(REPOSITORY / "Snakefile", partial)
            made = run_to_end(
                [sys.executable, "-c", BYTECODE], cwd=partial, env={**cold(partial), "PYTHONDONTWRITEBYTECODE": ""}
            )
            assert made.returncode == 0, made.stderr
            partial.rename(folder)
    return folder


def cold(package: Path) -> dict[str, str]:
    """An environment in which programs start as for users, with the package in a folder."""
    return {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}


def warm(package: Path, server: str | None = None) -> dict[str, str]:
    """The same, but Snakemake and ``genies`` are forks of a process that has imported the libraries already.

    It saves most of the time that small jobs take. Where processes themselves are tested, they start as for users.
    """
    paths = f"{package}{os.pathsep}{WARM}"
    return {**cold(package), "PYTHONPATH": paths, "GENIES_WARM": server or warm_server()}


def warm_code(package: Path) -> dict[str, str]:
    """An environment in which ``python -c`` is such a fork, too."""
    return {**warm(package), "GENIES_WARM_PROGRAM": "-c"}


def warm_program(program: Path) -> dict[str, str]:
    """An environment in which a program of the tests is such a fork, too, and imports what this process may."""
    paths = os.pathsep.join([str(WARM), *filter(None, sys.path)])
    return {**warm(program.parent), "PYTHONPATH": paths, "GENIES_WARM_PROGRAM": str(program)}


@cache
def shared_folder() -> Path:
    """A folder that all processes of a run of the tests have in common (see ``conftest.py``)."""
    if SHARED not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="genies-")
        atexit.register(folder.cleanup)
        return Path(folder.name)
    return Path(os.environ[SHARED])


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """A folder that one process of a run of the tests makes for all of them; what it holds may be copied, not changed.

    Args:
        name: of the folder.
        make: writes into the folder, which exists and is empty.
    """
    folder, finished = shared_folder() / name, shared_folder() / f"{name}.finished"
    with FileLock(shared_folder() / f"{name}.lock"):
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            finished.touch()
    return folder


def drawn() -> Path:
    """Folder of what a run of the tests has drawn (see ``warm/drawings.py``)."""
    return shared_folder() / "drawn"


@cache
def warm_server() -> str:
    """The socket of the server of this run of the tests, which is started when first asked for."""
    place, server = shared_folder() / "socket", begin_server()
    while not place.exists():
        assert psutil.pid_exists(server) and psutil.Process(server).status() != psutil.STATUS_ZOMBIE, (
            "tests/warm/server.py has ended"
        )
        time.sleep(0.05)
    return str(place)


def begin_server() -> int:
    """Start the server of this run of the tests, unless it has been; its process id. It ends with the tests."""
    begun = shared_folder() / "server"
    with FileLock(shared_folder() / "server.lock"):
        if not begun.exists():
            # The workers of pytest-xdist are children of the process that outlives them.
            until = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
            environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            server = subprocess.Popen(
                [sys.executable, WARM / "server.py", shared_folder() / "socket", str(until), drawn()],
                env={**environment, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
            begun.write_text(str(server.pid))
    return int(begun.read_text())


def run_to_end(
    command: Sequence[str | Path], cwd: Path, env: Mapping[str, str], stderr: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    """Run a program and capture what it prints.

    Raises:
        AssertionError: it hangs; with what it printed until then.
    """
    try:
        return subprocess.run(
            command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=HANG_SECONDS
        )
    except subprocess.TimeoutExpired as hang:
        said = (hang.stdout or b"") + (hang.stderr or b"")
        raise AssertionError(f"not at its end after {hang.timeout} s:\n{said.decode(errors='replace')}") from None


def executed(result: subprocess.CompletedProcess[str]) -> Counter[str]:
    """Which jobs a call of Snakemake that ended well has executed, as rule or rule:intervention."""
    assert result.returncode == 0, result.stderr
    jobs: Counter[str] = Counter()
    for block in re.split(r"\n(?=(?:local)?rule )", result.stderr):
        if rule := re.match(r"(?:local)?rule (\w+):", block):
            intervention = re.search(r"wildcards: .*intervention=([\w@]+)", block)
            jobs[rule[1] + (f":{intervention[1]}" if intervention else "")] += 1
    del jobs["all"]
    return jobs
