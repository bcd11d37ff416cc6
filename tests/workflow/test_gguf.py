"""A model in a GGUF file goes through the whole workflow, and is converted by the rule ``model`` alone, once."""

from __future__ import annotations

from pathlib import Path

import pytest
from gguf_files import write_gguf
from project import Project

from genies.cli import main


def test_a_gguf_file_is_converted_once_and_everything_follows_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path)
    write_gguf(tmp_path / "tiny.Q4_1.gguf")
    project.config |= {"models": ["tiny.Q4_1.gguf"]}
    jobs = project.jobs()
    assert jobs["model"] == jobs["extract"] == jobs["report"] == 1
    results, (conversion,) = tmp_path / "results/mini", (tmp_path / "cache/models").glob("[!.]*/")
    log = results / "logs/model/tiny.Q4_1.log"
    assert "converting to safetensors, once" in log.read_text()
    others = [file for file in (results / "logs").rglob("*.log") if file != log]
    assert others and not any("GGUF" in file.read_text() for file in others)
    weights = (conversion / "model.safetensors").stat().st_mtime_ns

    log.unlink()
    assert project.jobs("--forcerun", "model", "--until", "model") == {"model": 1}
    assert "converting" not in log.read_text()
    assert (conversion / "model.safetensors").stat().st_mtime_ns == weights

    monkeypatch.chdir(tmp_path)
    assert main(["cache", "gc", "--yes"]) == 0
    assert main(["cache", "verify"]) == 0
    assert (conversion / "model.safetensors").exists()

    (tmp_path / "tiny.Q4_1.gguf").write_bytes(b"")
    refused = project.run()
    assert refused.returncode != 0
    assert "tiny.Q4_1.gguf: no GGUF file (it is empty); download it again" in refused.stderr
