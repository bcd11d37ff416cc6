"""The tests' own ways: how programs are run, and what hypothesis tries."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import project
import psutil
import pytest
from hypothesis import settings

GENIES = Path(sys.executable).with_name("genies")
PROGRAM = """
import atexit, os, sys, threading, time
before = "torch" in sys.modules
def late():
    time.sleep(0.2)
    print("a thread")
def main():
    if sys.argv[1:] == ["fail"]:
        atexit.register(print, "at exit")
        threading.Thread(target=late).start()
        raise ValueError("wrong")
    if sys.argv[1:] == ["say"]:
        return "said"
    if sys.argv[1:] == ["interrupt"]:
        raise KeyboardInterrupt
    if sys.argv[1:] == ["sleep"]:
        print(os.getpid(), flush=True)
        time.sleep(600)
    print("imported before:", before)
    print(sys.argv[1:], os.environ["WORD"], os.getcwd(), sys.stdin.read(), file=sys.stderr)
    return 7
"""


def test_a_program_that_hangs_is_ended_and_what_it_printed_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "HANG_SECONDS", 3)
    with pytest.raises(AssertionError, match="not at its end after 3 s:\nout\nerr\n"):
        project.run_to_end(["sh", "-c", "echo out; echo err >&2; exec sleep 600"], cwd=tmp_path, env=dict(os.environ))


def test_hypothesis_tries_the_same_examples_in_every_run_however_slow() -> None:
    assert settings.default.derandomize and settings.default.deadline is None


@pytest.fixture
def warm(tmp_path: Path) -> dict[str, str]:
    """The environment of programs that are forks of the server; ``genies`` in it is made for the test."""
    (tmp_path / "genies").mkdir()
    (tmp_path / "genies/__init__.py").touch()
    (tmp_path / "genies/cli.py").write_text(PROGRAM)
    paths = f"{tmp_path}{os.pathsep}{project.WARM}"
    return {**os.environ, "PYTHONPATH": paths, "GENIES_WARM": project.warm_server(), "WORD": "blue"}


def test_a_warm_program_has_the_arguments_environment_and_streams_of_its_client(
    warm: dict[str, str], tmp_path: Path
) -> None:
    cold = {name: value for name, value in warm.items() if name != "GENIES_WARM"}
    told = [
        subprocess.run(
            [sys.executable, GENIES, "a b", "--c=é"],
            input="text",
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
        )
        for env in (warm, cold)
    ]
    assert told[0].stdout == "imported before: True\n" and told[1].stdout == "imported before: False\n"
    assert told[0].stderr == told[1].stderr == f"['a b', '--c=é'] blue {tmp_path} text\n"
    assert told[0].returncode == told[1].returncode == 7


@pytest.mark.parametrize("word", ["fail", "say", "interrupt"])
def test_a_warm_program_ends_as_a_cold_one(warm: dict[str, str], word: str) -> None:
    cold = {name: value for name, value in warm.items() if name != "GENIES_WARM"}
    own, told = (
        subprocess.run([sys.executable, GENIES, word], env=env, capture_output=True, text=True) for env in (warm, cold)
    )
    assert (own.returncode, own.stdout) == (told.returncode, told.stdout)
    assert own.stderr.splitlines()[-1] == told.stderr.splitlines()[-1]
    assert told.stdout == ("a thread\nat exit\n" if word == "fail" else "")


def test_a_warm_program_dies_with_its_client_and_the_client_as_the_program(warm: dict[str, str]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        client = subprocess.Popen([sys.executable, GENIES, "sleep"], env=warm, stdout=subprocess.PIPE, text=True)
        fork = int(client.stdout.readline())
        assert fork != client.pid
        client.send_signal(number)
        assert client.wait() == -number
        while psutil.pid_exists(fork):
            time.sleep(0.01)
