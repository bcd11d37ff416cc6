"""What a person on a workstation sees of a run, and how jobs share its GPUs."""

from __future__ import annotations

import re
import sys

import pytest
from project import Project, run_to_end

from genies.devices import VISIBLE


def run_as_people_do(project: Project, *options: str, **environment: str) -> str:
    """What Snakemake prints with the profile that it finds by itself, after the names of host, user and folder."""
    project.write_config()
    result = run_to_end(
        [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "config.yaml", *options],
        cwd=project.folder,
        env={**project.environment, **environment},
    )
    assert result.returncode == 0, result.stderr
    return result.stderr.split("Building DAG of jobs", 1)[1]


def test_every_job_ends_with_a_line_and_the_run_with_the_place_of_its_report(project: Project) -> None:
    # It reads what is stored already, so that no other job runs again.
    own = "from genies.interventions.mms import MassMeanShift\n\n\nclass Again(MassMeanShift):\n    pass\n"
    (project.folder / "again.py").write_text(own)
    project.config["interventions"].append("again.py")
    said = run_as_people_do(project, **{VISIBLE: ""})
    # Not from the line's begin: Snakemake writes its own line ends apart, and a job's line may come before one.
    done = re.findall(r"genies: ([^:]*): done in \d\d:\d\d\n", said)
    assert sorted(done) == ["details", "metrics", "probe tiny-llama again", "provenance", "report"]
    end = said[said.index("tiny-llama: accuracy on the target") :]
    assert re.search(r"^mms +\d\.\d{3}", end, re.MULTILINE) and "extreme (1 shifts)" in end
    assert re.search(r"^cost: \d+ s of wall time for 5 jobs, [\d.e-]+ CPU hours, 0 GPU hours; ", end, re.MULTILINE)
    assert re.search(r"^to compute all of it: \d+ s, by this run or by earlier ones$", end, re.MULTILINE)
    assert f"report: {project.folder.resolve()}/results/mini/report.html\n" in end
    assert "stage 1 of 2: probe\n" in said and re.search(r"6 of 6 jobs done, \d+ s so far, about 0 s left", said)
    assert "steps" not in said
    assert "input:" not in said and "jobid: 0\n" not in said
    assert "gpu" not in said


def test_as_many_jobs_use_a_gpu_at_a_time_as_there_are_gpus(project: Project) -> None:
    project.config["interventions"].append("lat_stim_1")
    said = run_as_people_do(project, "--until", "probe", **{VISIBLE: "0,1"})
    assert re.search(r"^Provided resources: gpu=\D*2\b", said, re.MULTILINE)


def test_a_model_that_is_spread_takes_all_gpus_and_a_training_one(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VISIBLE, "0,1")
    project.config["interventions"] += ["few_shot", "lora"]
    project.config["extraction"] = {"device": "balanced"}
    told = project.run("--dry-run", "--forceall").stdout
    jobs = [job for job in re.split(r"\n(?=(?:local)?rule )", told) if re.match("rule (extract|tune):", job)]
    asked = {
        (job[5 : job.index(":")], "intervention=lora" in job, *re.findall(r"(?:gpu|device)=(\w+)", job)) for job in jobs
    }
    assert asked == {
        ("extract", False, "2", "balanced"), ("tune", False, "2", "balanced"), ("tune", True, "1", "auto"),
    }  # fmt: skip


def test_logs_and_benchmarks_of_a_rule_lie_in_one_folder(finished: Project) -> None:
    results = finished.folder / "results/mini"
    for kind, suffix in (("logs", "log"), ("benchmarks", "tsv")):
        found = {file.name for file in (results / kind / "probe" / "tiny-llama").iterdir()}
        assert found == {f"{name}.{suffix}" for name in ("zero_shot", "mms")}
