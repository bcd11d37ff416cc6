"""The tests' own ways: how programs are run, and what hypothesis tries."""

from __future__ import annotations

import os
from pathlib import Path

import project
import pytest
from hypothesis import settings


def test_a_program_that_hangs_is_ended_and_what_it_printed_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "HANG_SECONDS", 3)
    with pytest.raises(AssertionError, match="not at its end after 3 s:\nout\nerr\n"):
        project.run_to_end(["sh", "-c", "echo out; echo err >&2; exec sleep 600"], cwd=tmp_path, env=dict(os.environ))


def test_hypothesis_tries_the_same_examples_in_every_run_however_slow() -> None:
    assert settings.default.derandomize and settings.default.deadline is None
