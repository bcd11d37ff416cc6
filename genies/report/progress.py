"""What a run of the workflow says of itself while it runs: the stage, the jobs done, the time left overall."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from genies.analyses import ANALYSES

STAGES: dict[str, tuple[str, ...]] = {
    "data": ("unpack", "demo_data", "demo_model", "mixture", "overlap"),
    "model": ("model",),
    "tokenize": ("tokenize",),
    "extract": ("extract",),
    "probe": ("probe", "surface", *ANALYSES),
    "tune": ("tune", "gather", "plugin", "sweep_source", "merge", "merge_reward"),
    "ensemble": ("ensemble", "ensemble_on_references"),
    "report": ("metrics", "sweep", "details", "provenance", "report"),
}
"""Rules by stage, in the order in which a run comes to them."""
TERMINAL = "DefaultStreamHandler"
"""Name of Snakemake's handler that writes to the terminal."""
REPLACED = ("job_started", "job_finished", "progress")
"""Snakemake's events whose own lines in the terminal are replaced by those of ``Progress``."""


class Progress(logging.Handler):
    """Listens to Snakemake's log events, and prints a line when a stage begins and when a job ends.

    The time left is what the jobs that remain took on average: in this run, or else in an earlier one of the same name.
    Rules that were never timed are named instead of guessed.
    """

    def __init__(self, benchmarks: Path, jobs: Mapping[str, int]) -> None:
        """Prepare.

        Args:
            benchmarks: folder of Snakemake's benchmark files of earlier runs, ``<rule>.tsv`` or ``<rule>/**/*.tsv``.
            jobs: how many jobs of each rule the run will have; what is no rule of a stage plays no part.
        """
        super().__init__(logging.INFO)
        self._earlier = earlier_seconds(benchmarks)
        self._begin = time.monotonic()
        rules = {rule for rules in STAGES.values() for rule in rules}
        self._waiting = {rule: count for rule, count in jobs.items() if rule in rules}
        self._running: dict[int, tuple[str, float]] = {}
        self._seconds: dict[str, list[float]] = {}
        self._stages = [stage for stage, rules in STAGES.items() if any(rule in self._waiting for rule in rules)]
        self._shown: set[str] = set()

    def attach(self, logger: logging.Logger) -> None:
        """Listen to Snakemake's logger, and keep its lines of the terminal from saying the same; its log keeps them."""
        for handler in logger.handlers:
            if handler.name == TERMINAL:
                handler.addFilter(lambda record: _event(record) not in REPLACED)
        logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Take one log record of Snakemake; those without an event that matters pass."""
        event = _event(record)
        if event == "job_info":
            self._started(record.__dict__["jobid"], record.__dict__["rule_name"])
        elif event == "job_finished":
            self._finished(record.__dict__["job_id"])
        elif event == "progress":
            self._say(f"{record.__dict__['done']} of {record.__dict__['total']} jobs done, {self._times()}")

    def _started(self, job: int, rule: str) -> None:
        self._running[job] = (rule, time.monotonic())
        stage = next((stage for stage in self._stages if rule in STAGES[stage]), None)
        if stage and stage not in self._shown:
            self._shown.add(stage)
            self._say(f"stage {self._stages.index(stage) + 1} of {len(self._stages)}: {stage}")

    def _finished(self, job: int) -> None:
        rule, begin = self._running.pop(job, (None, 0.0))
        if rule in self._waiting:
            self._waiting[rule] -= 1
            self._seconds.setdefault(rule, []).append(time.monotonic() - begin)

    def _times(self) -> str:
        gone = time.monotonic() - self._begin
        known, untimed = 0.0, []
        for rule, count in self._waiting.items():
            if not count:
                continue
            mine = self._seconds.get(rule)
            each = sum(mine) / len(mine) if mine else self._earlier.get(rule)
            if each is None:
                untimed.append(rule)
            else:
                known += count * each
        # Jobs that ran side by side took more seconds together than have passed.
        together = max(1.0, sum(map(sum, self._seconds.values())) / max(gone, 1e-9))
        so_far = f"{readable(gone)} so far"
        if untimed and not known:
            return so_far
        left = f"{so_far}, about {readable(known / together)} left"
        return f"{left}, and what {', '.join(untimed)} will take" if untimed else left

    @staticmethod
    def _say(text: str) -> None:
        print(f"genies: {text}", file=sys.stderr, flush=True)


def _event(record: logging.LogRecord) -> str:
    return str(getattr(record, "event", None) or "")


def earlier_seconds(benchmarks: Path) -> dict[str, float]:
    """Mean seconds of a job by rule, from Snakemake's benchmark files in a folder."""
    found: dict[str, list[float]] = {}
    for file, row in benchmark_rows(benchmarks):
        if (seconds := number(row.get("s"))) is not None:
            found.setdefault(file.relative_to(benchmarks).parts[0].removesuffix(".tsv"), []).append(seconds)
    return {rule: sum(seconds) / len(seconds) for rule, seconds in found.items()}


def benchmark_rows(folder: Path) -> list[tuple[Path, dict[str, str]]]:
    """Every benchmark file below a folder, with its first row by column; other files are passed over."""
    rows = []
    for file in sorted(Path(folder).rglob("*.tsv")):
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        if len(lines) >= 2:
            rows.append((file, dict(zip(lines[0].split("\t"), lines[1].split("\t"), strict=False))))
    return rows


def number(text: str | None) -> float | None:
    """A number that Snakemake wrote; None for its ``-`` and ``NA``."""
    try:
        return float(text or "")
    except ValueError:
        return None


def readable(seconds: float) -> str:
    """A duration in words: ``40 s``, ``7 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
