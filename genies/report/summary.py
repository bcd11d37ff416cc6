"""What a run has found and what it cost, in the lines that a terminal shows at its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from genies.analyses import PASSING
from genies.errors import StoreError
from genies.evaluation.averages import ALL_LABELS, DISTINCT
from genies.evaluation.classes import UNKNOWN
from genies.evaluation.records import COSTS, JOBS
from genies.evaluation.table import read_csv
from genies.evaluation.tables.leaderboard import TABLE as LEADERBOARD
from genies.evaluation.uncertainty import FEWEST_DEGREES, supports_new_shifts
from genies.files import folder_bytes, read_json
from genies.report.cost import took
from genies.report.progress import benchmark_rows, number, readable
from genies.report.tables import Tables

ROWS = 12
"""Interventions that a model's table shows at most; the rest is in the file."""
LABELS = 3
"""Labels that it shows at most, each with an interval."""
ON_GPU = ("extract", *PASSING, "tune", "plugin", "sweep_source")
"""Rules whose jobs compute with the model."""

GpusHeld = Callable[[str, str | None], int]
"""How many GPUs a job holds, by its rule and, where it has one, its intervention."""


@dataclass(frozen=True)
class Cost:
    """What the jobs of a run took.

    Attributes:
        jobs: how many were timed.
        cpu_seconds: processor time of all of them.
        gpu_seconds: seconds during which they held GPUs, times how many.
    """

    jobs: int
    cpu_seconds: float
    gpu_seconds: float


def summary_lines(results: Path, cache: Path, since: float, gpus: GpusHeld) -> list[str]:
    """The leaderboard, the cost and the path of the report.

    Args:
        results: folder of the run.
        cache: the cache folder.
        since: when this call of the workflow began (seconds since the epoch); earlier calls timed earlier jobs.
        gpus: how many GPUs a job holds that computes with the model.
    """
    return [*leaderboard_lines(results), *_cost_lines(results, cache, since, gpus)]


def leaderboard_lines(results: Path) -> list[str]:
    """Mean accuracy by label with its 95 % interval for new shifts, the best intervention first; a block per model."""
    table = read_csv(Path(results) / LEADERBOARD.file, LEADERBOARD.columns).filter(pl.col("averaged_over") == DISTINCT)
    lines: list[str] = []
    for (model,), block in table.group_by("model", maintain_order=True):
        lines += _block(str(model), block, Path(results) / LEADERBOARD.file)
    return lines


def _block(model: str, block: pl.DataFrame, file: Path) -> Iterator[str]:
    overall = block.filter(pl.col("label") == ALL_LABELS)
    labels = block.filter(pl.col("label") != ALL_LABELS)["label"].unique(maintain_order=True).to_list()[:LABELS]
    shifts = {label: block.filter(pl.col("label") == label).select(pl.max("shifts")).item() for label in labels}
    yield f"{model}: accuracy on the target, mean over shifts [95 % interval for new shifts]"
    yield f"{'':20}" + "".join(f"{f'{label} ({shifts[label]} shifts)':>24}" for label in labels)
    for name in overall["intervention"].to_list()[:ROWS]:
        rows = [block.filter((pl.col("label") == label) & (pl.col("intervention") == name)) for label in labels]
        saw = overall.filter(intervention=name)["saw"][0]
        shown = "" if saw in (None, UNKNOWN) else f"  saw {saw}"
        yield f"{name:20}" + "".join(f"{_accuracy(row):>24}" for row in rows) + shown
    if len(overall) > ROWS:
        yield f"… and {len(overall) - ROWS} more in {file}"
    for name in (ALL_LABELS, *labels):
        freedom = block.filter(label=name)["degrees_of_freedom"]
        fewest = None if freedom.null_count() else min(freedom)
        if not supports_new_shifts(fewest):
            why = (
                "one source" if fewest is None else f"{fewest:.1f} degrees of freedom, fewer than {FEWEST_DEGREES:.0f}"
            )
            yield f"{name} shifts: {why}; these shifts cannot support a claim about new shifts"


def _accuracy(row: pl.DataFrame) -> str:
    mean, low, high = (
        row[name].item() if len(row) else None
        for name in ("generalization_accuracy", "generalization_accuracy_low", "generalization_accuracy_high")
    )
    if mean is None:
        return "–"
    return f"{mean:.3f}" if low is None else f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def _cost_lines(results: Path, cache: Path, since: float, gpus: GpusHeld) -> Iterator[str]:
    spent = cost(results / "benchmarks", since, gpus)
    used, written = stored_bytes(results, cache), folder_bytes(results)
    yield (
        f"cost: {readable(time.time() - since)} of wall time for {spent.jobs} jobs, "
        f"{spent.cpu_seconds / 3600:.2g} CPU hours, {spent.gpu_seconds / 3600:.2g} GPU hours; "
        f"{used / 2**30:.2g} GiB in {cache}, {written / 2**20:.2g} MiB in {results}"
    )
    tables = Tables({Path(table.file).stem: table.read(results) for table in (COSTS, JOBS)})
    if computed := took(tables):
        yield f"to compute all of it: {computed}, by this run or by earlier ones"
    yield f"report: {(results / 'report.html').absolute()}"


def cost(benchmarks: Path, since: float, gpus: GpusHeld) -> Cost:
    """What the jobs took whose benchmark files were written after ``since``."""
    timed = [(file, row) for file, row in benchmark_rows(benchmarks) if file.stat().st_mtime >= since]
    gpu_seconds = 0.0
    for file, row in timed:
        rule, *place = file.relative_to(benchmarks).with_suffix("").parts
        if rule in ON_GPU:
            gpu_seconds += gpus(rule, place[1] if len(place) > 1 else None) * (number(row.get("s")) or 0.0)
    return Cost(
        jobs=len(timed),
        cpu_seconds=sum(number(row.get("cpu_time")) or 0.0 for _, row in timed),
        gpu_seconds=gpu_seconds,
    )


def stored_bytes(results: Path, cache: Path) -> int:
    """Bytes of the converted models, tokens, activations and fits in the cache that a run's manifests name."""
    paths = set()
    for manifest in _manifests(results, "models/**/*.json", "converted"):
        if converted := manifest["converted"]:
            paths.add(cache / "models" / converted)
    for manifest in _manifests(results, "tokens/*.json", "tokens"):
        paths |= {cache / "tokens" / f"{entry['digest']}.h5" for entry in manifest["tokens"]}
    for manifest in _manifests(results, "activations/*/*.json", "stores"):
        paths |= {cache / "activations" / entry["digest"] for entry in manifest["stores"]}
    for manifest in _manifests(results, "interventions/**/[!.]*.json", "fits"):
        paths |= {cache / "interventions" / digest for digest in manifest["fits"].values()}
    return sum(path.stat().st_size if path.is_file() else folder_bytes(path) for path in paths if path.exists())


def _manifests(results: Path, pattern: str, key: str) -> Iterator[dict[str, Any]]:
    """The manifests of a run that have a key; what else lies among them is not of genies."""
    for path in results.glob(pattern):
        with suppress(StoreError):
            yield read_json(path, key)
