"""The workflow on a real SLURM of one node, with the profile that users take."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import cluster as cluster_module
import pytest
import yaml
from cluster import Cluster, missing
from project import HANG_SECONDS, REPOSITORY, Project, warm, warm_server

PROFILE = "workflow/profiles/slurm"
# A cluster is asked less often, but these jobs take seconds.
OPTIONS = (
    "--quiet=host",
    "--profile",
    PROFILE,
    "--configfile",
    "config.yaml",
    "--slurm-init-seconds-before-status-checks",
    "5",
    # Several threads add up in another order than the one that the local run has.
    "--set-threads",
    "tune=1",
)
TABLES = ("generalization_metrics.csv", "leaderboard.csv", "cells.csv", "comparisons.csv")


@dataclass
class Run:
    """A run on the cluster: its project, its Snakemake, and its jobs once it has ended."""

    project: Project
    program: subprocess.Popen[bytes]
    jobs: list[dict[str, str]]

    @property
    def log(self) -> str:
        return (self.project.folder / "snakemake.log").read_text()

    def wait(self) -> None:
        """Wait for the end of its Snakemake."""
        try:
            self.program.wait(HANG_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not at its end after {HANG_SECONDS} s:\n{self.log}") from None

    def jobs_of(self, rule: str) -> list[dict[str, str]]:
        """Jobs that were submitted for a rule or group, in the order of submission."""
        return [job for job in self.jobs if job["Comment"].startswith(f"rule_{rule}_")]


@dataclass
class Runs:
    undisturbed: Run
    disturbed: Run
    local: Project


def make(folder: Path) -> Project:
    project = Project(folder)
    project.config["interventions"] = ["mms", "few_shot"]
    project.write_config()
    return project


@contextmanager
def started(project: Project, cluster: Cluster, environment: dict[str, str]) -> Iterator[Run]:
    """A run that has been started, and is ended in any case."""
    found = {name: cluster.environment[name] for name in ("PATH", "SLURM_CONF")}
    with (project.folder / "snakemake.log").open("wb") as log:
        program = subprocess.Popen(
            [sys.executable, "-m", "snakemake", *OPTIONS],
            cwd=project.folder,
            env={**environment, **found},
            stdout=log,
            stderr=log,
        )
    try:
        yield Run(project, program, [])
    finally:
        program.kill()
        program.wait()


def wait_for(run: Run, cluster: Cluster, rule: str, state: str) -> str:
    """Wait until a run has a job of this rule in this state, and return the job's id."""
    limit = time.monotonic() + HANG_SECONDS
    while time.monotonic() < limit and run.program.poll() is None:
        with suppress(subprocess.CalledProcessError):  # a busy controller may not answer
            run.jobs = cluster.jobs(run.project.folder)
        if ids := [job["JobId"] for job in run.jobs_of(rule) if job["JobState"] == state]:
            return ids[0]
        time.sleep(0.2)
    raise AssertionError(f"no job of {rule} was {state}\n{run.log}")


def preempt(run: Run, cluster: Cluster, rule: str) -> None:
    """Let a job of higher priority take the whole node from a running job."""
    job = wait_for(run, cluster, rule, "RUNNING")
    cluster.ask("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wait", "--wrap=true")
    assert wait_for(run, cluster, rule, "PENDING") == job
    # SLURM waits two minutes before it starts such a job again.
    cluster.ask("scontrol", "update", f"JobId={job}", "StartTime=now")


def cancel(run: Run, cluster: Cluster, rule: str) -> None:
    """Cancel a job while its verb is at work."""
    job = wait_for(run, cluster, rule, "RUNNING")
    while not list((run.project.folder / "results/mini/logs" / rule).rglob("*.log")):
        assert run.program.poll() is None, run.log
        time.sleep(0.1)
    cluster.ask("scancel", job)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Two runs on one cluster, which others disturb, and one without it, for comparison."""
    if reason := missing():
        pytest.skip(reason)
    local, *projects = (make(tmp_path_factory.mktemp(name)) for name in ("local", "undisturbed", "disturbed"))
    # Processes that SLURM is to end are as for users: not forks of another process.
    server = projects[1].folder / "server"
    with Cluster() as cluster, started(projects[1], cluster, warm(projects[1].folder, str(server))) as disturbed:
        preempt(disturbed, cluster, "tokenize")
        with started(projects[0], cluster, projects[0].environment) as undisturbed:
            cancel(disturbed, cluster, "extract")
            server.symlink_to(warm_server())
            result = local.run("--until", "metrics")
            assert result.returncode == 0, result.stderr
            for run in (undisturbed, disturbed):
                run.wait()
                run.jobs = cluster.jobs(run.project.folder)
            yield Runs(undisturbed, disturbed, local)


def tables(project: Project) -> dict[str, str]:
    return {name: (project.folder / "results/mini" / name).read_text() for name in TABLES}


def test_a_run_completes_with_the_tables_of_a_local_one(runs: Runs) -> None:
    assert runs.undisturbed.program.returncode == 0, runs.undisturbed.log
    assert tables(runs.undisturbed.project) == tables(runs.local)
    assert (runs.undisturbed.project.folder / "results/mini/report.html").is_file()


def test_all_but_small_jobs_go_through_slurm_and_those_with_a_model_ask_for_a_gpu(runs: Runs) -> None:
    run = runs.undisturbed
    gpus = {job["Comment"].split("_wildcards_")[0]: job.get("TresPerJob") for job in run.jobs}
    assert gpus == {
        "rule_tokenize": None,
        "rule_extract": "gres:gpu:1",
        "rule_tune": "gres:gpu:1",
        "rule_probe": None,
    }
    assert len(run.jobs) == 4
    assert {job["JobState"] for job in run.jobs} == {"COMPLETED"}
    assert set(re.findall(r"^localrule (\w+):", run.log, re.MULTILINE)) == {
        "all", "model", "gather", "overlap", "metrics", "details", "provenance", "report",
    }  # fmt: skip


def test_a_run_of_which_one_job_was_preempted_and_one_cancelled_still_completes(runs: Runs) -> None:
    assert runs.disturbed.program.returncode == 0, runs.disturbed.log
    assert tables(runs.disturbed.project) == tables(runs.local)


def test_a_preempted_job_goes_back_into_the_queue(runs: Runs) -> None:
    (job,) = runs.disturbed.jobs_of("tokenize")
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")


def test_a_cancelled_job_is_submitted_again_with_more_memory_and_time(runs: Runs) -> None:
    asked = [(job["JobState"], job["MinMemoryNode"], job["TimeLimit"]) for job in runs.disturbed.jobs_of("extract")]
    assert asked == [("CANCELLED", "48000M", "06:00:00"), ("COMPLETED", "96000M", "12:00:00")]


def test_a_cluster_that_fails_to_start_is_cleaned_up_and_started_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[tuple[Path, subprocess.Popen[bytes]]] = []

    def start(self: Cluster) -> None:
        daemon = subprocess.Popen(["sh", "-c", "trap '' TERM; echo; exec sleep 600"], stdout=subprocess.PIPE)
        daemon.stdout.readline()  # from here on it does not hear SIGTERM
        self._daemons.append(daemon)
        starts.append((self.folder, daemon))
        if len(starts) == 1:
            raise RuntimeError("the port is taken")

    monkeypatch.setattr(Cluster, "_start", start)
    monkeypatch.setattr(cluster_module, "SECONDS_TO_END", 0.2)
    running = Cluster().__enter__()
    ((failed, daemon), (folder, _)) = starts
    assert running.folder == folder and folder.is_dir()
    assert not failed.exists() and daemon.poll() is not None
    running._end_daemons()


def test_the_profile_names_rules_that_exist_and_every_rule_that_wants_a_gpu() -> None:
    """Snakemake says nothing of a rule that it does not know."""
    profile = yaml.safe_load((REPOSITORY / PROFILE / "profile.v9+.yaml").read_text())
    text = "".join(path.read_text() for path in sorted((REPOSITORY / "workflow/rules").glob("*.smk")))
    bodies = dict(re.findall(r"^ *rule (\w+):\n(.*?)(?=^ *rule |\Z)", text, re.MULTILINE | re.DOTALL))
    bodies |= {name: bodies[like] for like, name in re.findall(r"^ *use rule (\w+) as (\w+) with:", text, re.MULTILINE)}
    submitted = {name for name, body in bodies.items() if "localrule: True" not in body}
    resources = profile["set-resources"]
    assert {*resources, *profile["set-threads"]} <= submitted
    assert {name for name, asked in resources.items() if asked.get("gpu")} == {
        name for name, body in bodies.items() if re.search(r"^ +gpu=", body, re.MULTILINE)
    }
    assert all("attempt" in asked[what] for asked in resources.values() for what in ("mem_mb", "runtime"))
