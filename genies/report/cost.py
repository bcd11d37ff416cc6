"""What the page says of costs: what it took to compute everything, and what this run's own jobs took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from genies.report.progress import readable
from genies.report.tables import Tables

Row = dict[str, Any]

PROBE = "probe"
STAGES = ("extract", PROBE, "tune", "test", "plugin")
"""In their order; the tests of trained fits are done by jobs of ``tune``."""
OTHERS = "other jobs"


def costs(tables: Tables) -> list[Row]:
    """By model, stage and method what everything took when it was made, and what the jobs took when they last ran.

    Returns:
        Rows with ``model``, ``stage``, ``intervention``; of what was kept ``things``, ``unknown`` (how many of them
        nothing is noted of), ``seconds`` and ``cpu_seconds`` (of those that are known), ``devices``, ``peak_memory``,
        ``peak_device_memory``, ``bytes``, ``computed_tokens`` and ``distinct_tokens``; ``jobs`` and ``job_seconds`` of
        the run. What there is none of, or nothing is known of, is None. Rows of ``model`` None are what is done once
        for all models.
    """
    keys = ["model", "stage", "intervention"]
    made = tables["costs"].group_by(keys, maintain_order=True).agg(
        pl.len().alias("things"),
        pl.col("seconds").null_count().alias("unknown"),
        *map(_sum, ("seconds", "cpu_seconds", "bytes", "computed_tokens", "distinct_tokens")),
        pl.col("device").drop_nulls().unique(maintain_order=True).alias("devices"),
        pl.col("peak_memory", "peak_device_memory").max(),
    )  # fmt: skip
    own = pl.col("rule").is_in(STAGES)
    run = tables["jobs"].with_columns(stage=pl.when(own).then("rule").otherwise(pl.lit(OTHERS)))
    run = run.with_columns(intervention=pl.when(own).then("intervention"))
    run = run.group_by(keys, maintain_order=True).agg(pl.len().alias("jobs"), _sum("seconds").alias("job_seconds"))
    rows = made.join(run, on=keys, how="full", coalesce=True, nulls_equal=True, maintain_order="left_right")
    order = {stage: place for place, stage in enumerate((*STAGES, OTHERS))}
    # Earlier versions named other stages, too.
    place = pl.col("stage").replace_strict(order, default=len(order))
    rows = rows.sort(pl.col("model").is_null(), "model", place, maintain_order=True)
    return [{**row, "devices": row["devices"] or []} for row in rows.to_dicts()]


def _sum(name: str) -> pl.Expr:
    """The sum of the values that are known; null where none is."""
    return pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()).alias(name)


def computing(rows: list[Row]) -> Row:
    """What it took to compute everything anew, as far as it is known, and what the jobs took.

    What is not kept was computed by the jobs of the run. Of probes the fits are kept and their tests are not, so the
    longer of both counts, which is a little less than all.

    Args:
        rows: some of ``costs``.

    Returns:
        ``seconds``, ``devices``, ``dearest`` (the stage that took most) and ``share`` (of the seconds), ``things``,
        ``unknown``, ``jobs`` and ``job_seconds``.
    """
    by_stage: dict[str, float] = {}
    for row in rows:
        known = row["seconds"] if row["things"] else row["job_seconds"]
        if row["stage"] == PROBE:
            known = max(row["seconds"] or 0.0, row["job_seconds"] or 0.0)
        by_stage[row["stage"]] = by_stage.get(row["stage"], 0.0) + (known or 0.0)
    seconds = sum(by_stage.values())
    dearest = max(by_stage, key=lambda stage: by_stage[stage], default=None)
    return {
        "seconds": seconds,
        "devices": list(dict.fromkeys(device for row in rows for device in row["devices"])),
        "dearest": dearest,
        "share": by_stage[dearest] / seconds if dearest and seconds else 0.0,
        **{name: sum(row[name] or 0 for row in rows) for name in ("things", "unknown", "jobs", "job_seconds")},
    }


def took(tables: Tables) -> str | None:
    """How long computing everything took, in words: a duration, one that is ``at least`` so much, or ``not known``.

    None where nothing was kept and no job was timed.
    """
    return in_words(computing(costs(tables)))


def in_words(spent: Mapping[str, Any]) -> str | None:
    """Likewise of what ``computing`` found."""
    if not spent["things"] and not spent["jobs"]:
        return None
    if spent["things"] and spent["unknown"] == spent["things"]:
        return "not known"
    return f"{'at least ' if spent['unknown'] else ''}{readable(spent['seconds'])}"
