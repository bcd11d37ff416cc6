"""Which GPU a job takes; no GPU is needed to try it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from genies import devices

HOLD = """
import sys
from pathlib import Path
from genies.devices import claim_gpus
print(*claim_gpus(sys.argv[2], Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def hold(locks: Path, visible: str, device: str = "auto") -> subprocess.Popen[str]:
    """A job that claims what the device asks for, prints it, and keeps it until its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(locks), device],
        env={**os.environ, devices.VISIBLE: visible},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_jobs_take_different_gpus_and_the_third_of_two_waits(tmp_path: Path) -> None:
    first, second = hold(tmp_path, "0,GPU-5f"), hold(tmp_path, "0,GPU-5f")
    taken = [first.stdout.readline(), second.stdout.readline()]
    assert sorted(taken) == ["0\n", "GPU-5f\n"]
    third = hold(tmp_path, "0,GPU-5f")
    time.sleep(1.0)
    assert third.poll() is None
    first.kill()  # a killed job gives its GPU back
    freed = third.stdout.readline()
    second.kill()
    third.kill()
    for job in (first, second, third):
        job.communicate()
    assert freed == taken[0]


def test_a_model_that_is_spread_waits_for_all_gpus_and_keeps_others_off_them(tmp_path: Path) -> None:
    first = hold(tmp_path, "0,1")
    assert first.stdout.readline() == "0\n"
    spread = hold(tmp_path, "0,1", "balanced")
    first.kill()
    assert spread.stdout.readline() == "0 1\n"
    last = hold(tmp_path, "0,1")
    spread.kill()
    assert last.stdout.readline() == "0\n"
    last.kill()
    for job in (first, spread, last):
        job.communicate()


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
