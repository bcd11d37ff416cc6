"""Real Snakemake plans every ready configuration, from a folder of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from project import REPOSITORY, package, run_to_end, warm

from genies.models.find import model_name

READY = sorted((REPOSITORY / "config").glob("*.yaml"))


def plan(folder: Path, configuration: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--dry-run",
        "--quiet=host",
        "--cores",
        "2",
        "--snakefile",
        package() / "Snakefile",
    ]
    return run_to_end(
        [*command, "--configfile", configuration, *options],
        cwd=folder,
        env=warm(package()),
    )


@pytest.mark.parametrize("configuration", READY, ids=lambda path: path.stem)
def test_every_ready_configuration_plans_once_its_data_and_models_are_there(
    configuration: Path, tmp_path: Path
) -> None:
    (tmp_path / "archive.tar").touch()
    values = yaml.safe_load(configuration.read_text())
    for model in values["models"]:
        if model.startswith("./"):
            folder = tmp_path / model
            folder.mkdir(parents=True)
            for name in ("config.json", "model.safetensors", "tokenizer.json"):
                (folder / name).touch()
    result = plan(tmp_path, configuration, "--config", "data_archive=archive.tar")
    assert result.returncode == 0, result.stderr
    said = result.stdout + result.stderr
    assert f"results/{values['run']}/report.html" in said
    for model in values["models"]:
        assert f"results/{values['run']}/models/{model_name(model)}.json" in said


def test_weights_that_are_not_free_are_asked_for_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "archive.tar").touch()
    result = plan(tmp_path, REPOSITORY / "config/llama_cluster.yaml", "--config", "data_archive=archive.tar")
    assert result.returncode != 0
    said = result.stdout + result.stderr
    assert "models/llama-7b: model folder not found; give an existing folder" in said
    assert "Traceback" not in said
