"""Another workflow uses this one as a module: real Snakemake, in a folder of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml
from project import Project, cold, run_to_end, warm

OTHER = """
# Names that the module has too are this workflow's own.
plan = "best.txt"
shell.prefix("set -u; ")


configfile: "settings.yaml"


rule all:
    input:
        plan,


module genies:
    snakefile:
        {snakefile}
    config:
        config["genies"]


use rule * from genies as genies_*


rule best:
    input:
        page=rules.genies_report.output.page,
        leaderboard=rules.genies_metrics.output.leaderboard,
    output:
        plan,
    shell:
        "head -2 {{input.leaderboard}} | tail -1 > {{output}}"
"""


@pytest.fixture
def elsewhere(finished: Project, tmp_path: Path) -> Path:
    """A folder with data, a model and a configuration that has the module's as a part."""
    for name in ("data", "tiny-llama"):
        shutil.copytree(finished.folder / name, tmp_path / name)
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(finished.shifts))
    settings = {"genies": {**finished.config, "shifts": ["own.yaml"]}, "models": "not the module's"}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "workflow").mkdir()
    return tmp_path


def use(
    package: Path, folder: Path, snakefile: str, *options: str, found: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run the other workflow with the package in a folder; ``found`` says whether it is there."""
    (folder / "workflow/Snakefile").write_text(OTHER.format(snakefile=snakefile))
    return run_to_end(
        [sys.executable, "-m", "snakemake", "--quiet=host", "--cores", "2", *options],
        cwd=folder,
        env={**(warm if found else cold)(package), "XDG_CACHE_HOME": str(folder / "cache")},
        stderr=subprocess.STDOUT,
    )


def test_a_workflow_that_uses_this_one_as_a_module_runs_to_the_end_in_its_own_folder(
    finished: Project, elsewhere: Path
) -> None:
    before = sorted(finished.folder.rglob("*"))
    result = use(finished.folder, elsewhere, f'"{finished.folder}/workflow/Snakefile"')
    assert result.returncode == 0, result.stdout
    assert "rule genies_report" in result.stdout
    table = pl.read_csv(elsewhere / "results/mini/leaderboard.csv")
    assert (elsewhere / "best.txt").read_text().split(",")[:2] == [*table.row(0)[:2]]
    assert sorted(path for path in finished.folder.rglob("*") if "__pycache__" not in path.parts) == [
        path for path in before if "__pycache__" not in path.parts
    ]
    assert (
        use(finished.folder, elsewhere, f'"{finished.folder}/workflow/Snakefile"').stdout.count("Nothing to be done")
        == 1
    )


@pytest.mark.torture
def test_the_top_level_snakefile_is_a_module_too_where_it_is_a_local_file(finished: Project, elsewhere: Path) -> None:
    result = use(finished.folder, elsewhere, f'"{finished.folder}/Snakefile"', "--dry-run")
    assert result.returncode == 0, result.stdout
    assert "rule genies_report" in result.stdout


@pytest.mark.torture
def test_a_tag_of_a_repository_is_a_module(finished: Project, elsewhere: Path) -> None:
    repository = elsewhere / "repository"
    repository.mkdir()
    shutil.copy(finished.folder / "Snakefile", repository)
    shutil.copytree(finished.folder / "workflow", repository / "workflow")
    git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "all"], ["tag", "v1"]):
        subprocess.run([*git, *command], check=True)
    source = f'gitfile("{repository}", path="workflow/Snakefile", tag="v1")'
    result = use(finished.folder, elsewhere, source, "--dry-run")
    assert result.returncode == 0, result.stdout
    assert "rule genies_report" in result.stdout


def test_a_plain_name_of_a_shift_list_means_the_list_of_the_package_in_any_folder(
    finished: Project, elsewhere: Path
) -> None:
    settings = {"genies": {**finished.config, "shifts": ["genies15"], "data_archive": "archive.tar"}}
    (elsewhere / "settings.yaml").write_text(yaml.safe_dump(settings))
    (elsewhere / "archive.tar").touch()
    result = use(finished.folder, elsewhere, f'"{finished.folder}/workflow/Snakefile"', "--dry-run")
    assert result.returncode == 0, result.stdout
    assert "genies/data/lists/genies15.yaml" in result.stdout


def test_a_mistake_in_the_modules_configuration_is_one_line(finished: Project, elsewhere: Path) -> None:
    settings = {"genies": {**finished.config, "shifs": ["own.yaml"]}}
    (elsewhere / "settings.yaml").write_text(yaml.safe_dump(settings))
    result = use(finished.folder, elsewhere, f'"{finished.folder}/workflow/Snakefile"', "--dry-run")
    assert result.returncode != 0
    assert "unknown key shifs; did you mean shifts" in result.stdout
    assert "Traceback" not in result.stdout


def test_a_module_without_its_package_is_one_line_that_says_what_to_install(
    finished: Project, elsewhere: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    hiding = tmp_path_factory.mktemp("hiding")
    (hiding / "sitecustomize.py").write_text("import sys\n\nsys.modules['genies'] = None\n")
    result = use(hiding, elsewhere, f'"{finished.folder}/workflow/Snakefile"', "--dry-run", found=False)
    assert result.returncode != 0
    assert "install the package genies where Snakemake runs" in result.stdout
    assert "Traceback" not in result.stdout
