"""Which GPU a job takes; no GPU is needed to try it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import HANG_SECONDS

from genies import devices

HOLD = """
import logging, sys
from pathlib import Path
from genies.devices import claim_gpus
logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
print(*claim_gpus(sys.argv[2], Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


class Job:
    """A job that claims what the device asks for, prints it, and keeps it until it is killed."""

    def __init__(self, locks: Path, output: Path, device: str = "auto") -> None:
        self.output = output
        with output.open("wb") as stream:
            self.program = subprocess.Popen(
                [sys.executable, "-c", HOLD, str(locks), device],
                env={**os.environ, devices.VISIBLE: "0,GPU-5f"},
                stdin=subprocess.PIPE,
                stdout=stream,
            )

    def line(self, number: int) -> str:
        """Wait for a line of what it prints, counted from 0."""
        limit = time.monotonic() + HANG_SECONDS
        while (lines := self.output.read_text()).count("\n") <= number:
            assert self.program.poll() is None and time.monotonic() < limit, lines
            time.sleep(0.05)
        return lines.split("\n")[number]

    def kill(self) -> None:
        self.program.kill()
        self.program.communicate()


@pytest.fixture
def jobs() -> Iterator[list[Job]]:
    """Jobs that a test adds to, killed at its end."""
    started: list[Job] = []
    yield started
    for job in started:
        job.kill()


def test_jobs_take_different_gpus_and_the_third_of_two_waits(tmp_path: Path, jobs: list[Job]) -> None:
    (tmp_path / "locks").mkdir()
    jobs += [Job(tmp_path / "locks", tmp_path / f"{number}.txt") for number in range(2)]
    taken = [job.line(0) for job in jobs]
    assert sorted(taken) == ["0", "GPU-5f"]
    jobs.append(Job(tmp_path / "locks", tmp_path / "2.txt"))
    assert jobs[2].line(0) == "GPU 0, GPU-5f in use by other jobs; waiting for one"
    jobs[0].kill()  # a killed job gives its GPU back
    assert jobs[2].line(1) == taken[0]


def test_a_model_that_is_spread_waits_for_all_gpus_and_keeps_others_off_them(tmp_path: Path, jobs: list[Job]) -> None:
    (tmp_path / "locks").mkdir()
    for number, device in enumerate(("auto", "balanced")):
        jobs.append(Job(tmp_path / "locks", tmp_path / f"{number}.txt", device))
        told = jobs[-1].line(0)
    assert told == "GPU 0 in use by other jobs; waiting for one"
    jobs[0].kill()
    assert jobs[1].line(1) == "0 GPU-5f"
    jobs.append(Job(tmp_path / "locks", tmp_path / "2.txt"))
    assert jobs[2].line(0) == "GPU 0, GPU-5f in use by other jobs; waiting for one"
    jobs[1].kill()
    assert jobs[2].line(1) == "0"


def test_the_gpu_taken_is_the_only_one_that_torch_will_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(devices.VISIBLE, "2,3")
    assert devices.claim_gpus("cuda", tmp_path) == ["2"]
    assert os.environ[devices.VISIBLE] == "2"
    devices._held.pop().release()


@pytest.mark.parametrize(("device", "visible"), [("cpu", "0,1"), ("cuda:1", "0,1"), ("auto", "0"), ("auto", "")])
def test_where_there_is_nothing_to_choose_nothing_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, visible: str
) -> None:
    monkeypatch.setenv(devices.VISIBLE, visible)
    assert devices.claim_gpus(device, tmp_path) == []
    assert not list(tmp_path.iterdir()) and os.environ[devices.VISIBLE] == visible


def test_gpus_are_counted_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(devices.VISIBLE, raising=False)
    monkeypatch.setattr(devices, "DRIVER", tmp_path / "missing")
    assert devices.visible_gpus() == []
    for address in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / address).mkdir()
    monkeypatch.setattr(devices, "DRIVER", tmp_path)
    assert devices.visible_gpus() == ["0", "1"]
    monkeypatch.setenv(devices.VISIBLE, "-1")
    assert devices.visible_gpus() == []
