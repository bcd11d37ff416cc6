"""Rows of a run's tables that contradict themselves, or the metrics that they are means of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from genies.evaluation.averages import ALL_LABELS, BLOCK, DISTINCT, PUBLISHED
from genies.evaluation.tables.comparisons import HIGHER, LOWER, NOT_DISTINGUISHABLE
from genies.report.words import ROUNDING

TOLERANCE = 0.0101
"""By how much a mean may differ from that of its values, or lie outside its interval: numbers may have two digits."""
METRICS, BOARD, COMPARED = "generalization_metrics", "leaderboard", "comparisons"
Found = tuple[str, int, str]
"""A table, the number of a row, and what is wrong with it."""


def first(frame: pl.DataFrame, odd: pl.Expr) -> int | None:
    """Number of the first row for which something holds."""
    found = frame.select(odd.fill_null(False).alias("odd"))["odd"]
    return found.arg_max() if found.any() else None


def contradictions(frames: Mapping[str, pl.DataFrame]) -> Iterator[Found]:
    """The first row of each kind that contradicts itself or the metrics."""
    yield from _other_means(frames)
    for name in (BOARD, METRICS):
        stems = [column.removesuffix("_low") for column in frames[name].columns if column.endswith("_low")]
        for stem in stems:
            if stem in frames[name].columns:
                yield from _outside(frames, name, stem, f"{stem}_low", f"{stem}_high")
    yield from _outside(frames, COMPARED, "difference", "low", "high")
    yield from _verdicts(frames)


def _outside(frames: Mapping[str, pl.DataFrame], name: str, value: str, low: str, high: str) -> Iterator[Found]:
    """A value that its own interval does not contain."""
    below, above = pl.col(value) < pl.col(low) - TOLERANCE, pl.col(value) > pl.col(high) + TOLERANCE
    if (row := first(frames[name], below | above)) is not None:
        yield name, row, f"{value} does not lie within {low} and {high}"


def _verdicts(frames: Mapping[str, pl.DataFrame]) -> Iterator[Found]:
    """A verdict that the interval of its difference contradicts."""
    low, high, verdict = pl.col("low"), pl.col("high"), pl.col("verdict")
    odd = (
        ((verdict == HIGHER) & (low < -ROUNDING))
        | ((verdict == LOWER) & (high > ROUNDING))
        | ((verdict == NOT_DISTINGUISHABLE) & ((low > ROUNDING) | (high < -ROUNDING)))
    )
    if (row := first(frames[COMPARED], odd)) is not None:
        own = frames[COMPARED].row(row, named=True)
        yield COMPARED, row, f"verdict is {own['verdict']}, but the interval is {own['low']:g} to {own['high']:g}"


def _other_means(frames: Mapping[str, pl.DataFrame]) -> Iterator[Found]:
    """A mean accuracy that is not the mean of the accuracies."""
    metrics, name = frames[METRICS], "generalization_accuracy"
    sets = [
        metrics.with_columns(averaged_over=pl.lit(DISTINCT), weight=1),
        metrics.filter(pl.col("published_entries").is_not_null()).with_columns(
            averaged_over=pl.lit(PUBLISHED), weight="published_entries"
        ),
    ]
    of_labels = pl.concat(sets, how="vertical_relaxed")
    benchmarks = metrics.filter(pl.col("benchmark").is_not_null()).with_columns(averaged_over="benchmark", weight=1)
    over_all = pl.concat([of_labels, benchmarks], how="vertical_relaxed").with_columns(label=pl.lit(ALL_LABELS))
    keys = [*BLOCK, "intervention"]
    means = pl.concat([of_labels, over_all], how="vertical_relaxed").group_by(keys).agg(
        mean=(pl.col(name) * pl.col("weight")).sum() / pl.col("weight").sum()
    )  # fmt: skip
    joined = frames[BOARD].join(means, on=keys, how="left", maintain_order="left")
    if (row := first(joined, (pl.col(name) - pl.col("mean")).abs() > TOLERANCE)) is not None:
        stated, mean = joined[name][row], joined["mean"][row]
        yield BOARD, row, f"{name} is {stated:.7g}, but the mean of {METRICS}.csv is {mean:.7g}"
