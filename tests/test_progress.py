"""What a run says of itself: stages, jobs, the time left; and at its end what it found and what it cost."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from genies.report import progress
from genies.report.progress import Progress, earlier_seconds
from genies.report.summary import cost, stored_bytes

BENCHMARK = "s\th:m:s\tmax_rss\tmean_load\tcpu_time\n{seconds}\t0:00:10\t100\t90\t{cpu}\n"


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    return clock


def benchmark(path: Path, seconds: object, cpu: object = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(BENCHMARK.format(seconds=seconds, cpu=cpu))
    return path


def event(handler: Progress, kind: str, **values: object) -> None:
    handler.handle(logging.makeLogRecord({"levelno": logging.INFO, "event": kind, **values}))


def run(handler: Progress, clock: Clock, job: int, rule: str, seconds: float, done: int, total: int) -> None:
    event(handler, "job_info", jobid=job, rule_name=rule)
    clock.now += seconds
    event(handler, "job_finished", job_id=job)
    event(handler, "progress", done=done, total=total)


def test_stages_are_counted_and_the_time_left_is_that_of_jobs_of_the_same_rule(
    clock: Clock, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    handler = Progress(tmp_path, {"extract": 1, "probe": 3, "all": 1, "total": 5})
    run(handler, clock, 1, "extract", 60, 1, 5)
    run(handler, clock, 2, "probe", 20, 2, 5)
    run(handler, clock, 3, "probe", 40, 3, 5)
    assert capsys.readouterr().err.splitlines() == [
        "genies: stage 1 of 2: extract",
        "genies: 1 of 5 jobs done, 60 s so far",
        "genies: stage 2 of 2: probe",
        "genies: 2 of 5 jobs done, 80 s so far, about 40 s left",
        "genies: 3 of 5 jobs done, 2 min so far, about 30 s left",
    ]


def test_an_earlier_run_tells_how_long_a_rule_takes(
    clock: Clock, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    benchmark(tmp_path / "tune/m/lora/a.tsv", 100)
    benchmark(tmp_path / "tune/m/lora/b.tsv", 200)
    benchmark(tmp_path / "report.tsv", "-")
    (tmp_path / "broken.tsv").write_text("s\n")
    assert earlier_seconds(tmp_path) == {"tune": 150}
    handler = Progress(tmp_path, {"model": 1, "tune": 2, "report": 1})
    run(handler, clock, 1, "model", 5, 1, 4)
    assert "5 s so far, about 5 min left, and what report will take" in capsys.readouterr().err


def test_jobs_side_by_side_shorten_what_is_left(
    clock: Clock, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    handler = Progress(tmp_path, {"probe": 6})
    for job in (1, 2):
        event(handler, "job_info", jobid=job, rule_name="probe")
    clock.now += 30
    for job in (1, 2):
        event(handler, "job_finished", job_id=job)
    event(handler, "progress", done=2, total=6)
    assert "30 s so far, about 60 s left" in capsys.readouterr().err


def test_records_without_an_event_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Progress(tmp_path, {}).handle(logging.makeLogRecord({"levelno": logging.INFO, "msg": "Building DAG"}))
    assert capsys.readouterr().err == ""


def test_costs_count_the_jobs_of_this_call_and_gpus_where_they_were_held(tmp_path: Path) -> None:
    old = benchmark(tmp_path / "extract/m/0.tsv", 1000, 1000)
    os.utime(old, (1, 1))
    benchmark(tmp_path / "tune/m/lora/a.tsv", 100, 80)
    benchmark(tmp_path / "probe/m/mms.tsv", 10, "NA")
    held = {("tune", "lora"): 1, ("extract", "0"): 4}
    spent = cost(tmp_path, 1000, lambda rule, place: held[rule, place])
    assert (spent.jobs, spent.cpu_seconds, spent.gpu_seconds) == (2, 80, 100)
    assert cost(tmp_path, 0, lambda rule, place: held[rule, place]).gpu_seconds == 4100


def test_what_a_run_has_in_the_cache_includes_the_converted_model(tmp_path: Path) -> None:
    results, cache = tmp_path / "results/mine", tmp_path / "cache"
    for path, content in (
        (results / "models/m.json", '{"converted": "abc"}'),
        (results / "models/other.json", '{"converted": null}'),
        (results / "tokens/m.json", '{"tokens": [{"digest": "t"}]}'),
        (cache / "models/abc/model.safetensors", "x" * 100),
        (cache / "models/unused/model.safetensors", "x" * 1000),
        (cache / "tokens/t.h5", "x" * 20),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert stored_bytes(results, cache) == 120


def test_only_the_terminal_is_spared_the_lines_that_progress_replaces(tmp_path: Path) -> None:
    logger = logging.Logger("snakemake-like")
    terminal, log = logging.StreamHandler(), logging.StreamHandler()
    terminal.name = "DefaultStreamHandler"
    logger.handlers = [terminal, log]
    Progress(tmp_path, {}).attach(logger)
    record = logging.makeLogRecord({"levelno": logging.INFO, "event": "progress", "done": 1, "total": 2})
    assert not terminal.filter(record) and log.filter(record)
