"""Snakemake itself is killed in the middle: the same command again, after at most --unlock, completes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from figures import tell
from project import Project, cold

TRIES = 3
"""A moment is short: on a busy machine it may be over before it is seen."""

KEPT = ("models", "tokens")
"""What is there before a try: without libraries that were imported before, each job takes long."""


def an_extraction_is_going_on(folder: Path) -> bool:
    done = any(path.is_dir() for path in (folder / "cache/activations").glob("[!.]*"))
    return done and not (folder / "results/mini/activations/tiny-llama/0.json").exists()


def a_source_is_fitted(folder: Path) -> bool:
    return any((folder / "cache/interventions").glob("*/intervention.json"))


def a_checkpoint_is_written(folder: Path) -> bool:
    return any((folder / "cache/interventions").glob("*/checkpoint.safetensors"))


def start(project: Project) -> subprocess.Popen[bytes]:
    """Start Snakemake in a process group of its own."""
    project.write_config()
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "config.yaml"],
        cwd=project.folder,
        env=cold(project.folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def killed_at(moment: Callable[[Path], bool], project: Project, whole_group: bool) -> bool:
    """Start Snakemake anew and kill it at a moment; whether that came before it ended by itself."""
    for folder in ("cache", "results/mini"):
        for left in (project.folder / folder).iterdir():
            if left.name not in KEPT:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
    program = start(project)
    while not moment(project.folder) and program.poll() is None:
        time.sleep(0.002)
    if program.poll() is None:
        os.killpg(program.pid, signal.SIGKILL) if whole_group else os.kill(program.pid, signal.SIGKILL)
    return program.wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("moment", "intervention", "whole_group"),
    [
        (an_extraction_is_going_on, "mms", True),
        pytest.param(an_extraction_is_going_on, "mms", False, marks=pytest.mark.torture),
        pytest.param(a_source_is_fitted, "mms", True, marks=pytest.mark.torture),
        pytest.param(a_checkpoint_is_written, "lora", True, marks=pytest.mark.torture),
        pytest.param(a_checkpoint_is_written, "lora", False, marks=pytest.mark.torture),
    ],
)
def test_after_snakemake_was_killed_the_same_command_completes(
    project: Project, moment: Callable[[Path], bool], intervention: str, whole_group: bool
) -> None:
    """With ``whole_group`` its jobs die too, as at the end of a session; without, they go on without it."""
    project.config["interventions"] = [intervention]
    project.config["capability_interventions"] = []
    project.config["intervention_parameters"] = {
        "lora": {"steps": 300, "pairs_per_step": 2, "rank": 2, "checkpoint_steps": 1}
    }
    assert any(killed_at(moment, project, whole_group) for _ in range(TRIES)), "it ended before it could be killed"
    result = project.run("--unlock")
    assert result.returncode == 0, result.stderr
    result = project.run()
    assert result.returncode == 0, result.stderr
    assert (project.folder / "results/mini/report.html").is_file()
    assert not list((project.folder / "cache").rglob("*checkpoint*"))
    assert "Nothing to be done" in project.run("-n").stdout
    tell(f"Snakemake killed {'with' if whole_group else 'without'} its jobs when {moment.__name__.replace('_', ' ')}: "
         "completed by the same command")  # fmt: skip
