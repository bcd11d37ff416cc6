"""How sources are grouped into training jobs decides nothing but the jobs; by real Snakemake."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from project import Project

from genies.spent import SPENT_FILE

SOURCES = ("north", "south", "west")
TUNED = ("few_shot", "lora")


def trained(folder: Path) -> dict[str, bytes]:
    """Fits, tests and what is gathered of them, by path."""
    parts = (folder / "cache/interventions", folder / "results/mini/evaluations/tiny-llama")
    return {
        str(file): file.read_bytes()
        for part in parts
        for file in part.rglob("[!.]*.*")
        if file.is_file() and file.name != SPENT_FILE
    }


def logs(folder: Path) -> str:
    return "".join(file.read_text() for file in sorted((folder / "results/mini/logs/tune/tiny-llama").rglob("*.log")))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("trainings"))
    project.config |= {
        "interventions": ["random", *TUNED],
        "capability_interventions": ["random"],
        "intervention_parameters": {"few_shot": {"shots": 2}, "lora": {"steps": 2, "pairs_per_step": 4, "rank": 2}},
    }
    project.shifts = [{"source": a, "target": b} for a, b in zip(SOURCES, SOURCES[1:] + SOURCES[:1], strict=True)]
    return project


def test_one_job_trains_on_all_sources_and_loads_the_model_once(project: Project) -> None:
    jobs = project.jobs("--until", "gather")
    assert {job: count for job, count in jobs.items() if job.startswith(("tune", "gather"))} == {
        "tune:few_shot": 1, "tune:lora": 1, "gather": 1,
    }  # fmt: skip
    said = logs(project.folder)
    assert said.count("model loaded") == len(TUNED)
    assert all(f"lora on {source}: fitted" in said for source in SOURCES)
    for name in TUNED:
        for place, suffix in (("evaluations", "parquet"), ("interventions", "json")):
            folder = project.folder / "results/mini" / place / "tiny-llama" / name
            assert {file.name for file in folder.iterdir() if file.is_file()} == {f"{s}.{suffix}" for s in SOURCES}


@pytest.mark.torture
def test_another_number_of_trainings_per_job_trains_nothing_again_and_gives_the_same_bytes(project: Project) -> None:
    before = trained(project.folder)
    # North alone is the first job of three and of two: that one does not even run again.
    for number, jobs in ((1, 3), (2, 1)):
        project.config["trainings_per_job"] = number
        executed = project.jobs("--until", "gather")
        assert [executed[f"tune:{name}"] for name in TUNED] == [jobs, jobs]
        assert "model loaded" not in logs(project.folder) and "fitted" not in logs(project.folder)
        assert trained(project.folder) == before


def test_resources_of_the_rule_are_those_of_all_its_jobs(project: Project) -> None:
    project.config["trainings_per_job"] = 2
    told = project.run("--dry-run", "--forcerun", "tune", "--until", "tune", "--set-resources", "tune:mem_mb=1234")
    jobs = [job for job in re.split(r"\n(?=(?:local)?rule )", told.stdout) if job.startswith("rule tune:")]
    assert len(jobs) == 2 * len(TUNED)
    assert all("mem_mb=1234" in job for job in jobs)


@pytest.mark.torture
def test_an_edit_of_one_source_trains_that_one_alone(project: Project) -> None:
    file = project.folder / "data/west/train.json"
    examples = json.loads(file.read_text())
    file.write_text(json.dumps([*examples, {**examples[0], "prompt": "What is Peru ?\n"}]))
    shutil.rmtree(project.folder / "results/mini/logs/tune")  # some are of jobs that are no more
    executed = project.jobs()
    # All jobs run, since all splits are tokenized together; what they have comes from the cache.
    assert executed["tune:lora"] == 2 and executed["gather"] == 1
    said = logs(project.folder)
    assert re.findall(r"lora on (\w+): fitted", said) == ["west"]
    assert sorted(re.findall(r"lora on (\w+): in the cache", said)) == ["north", "south"]
