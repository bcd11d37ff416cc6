"""What the page says of differences between interventions over sets of shifts."""

from __future__ import annotations

from typing import Any

import polars as pl

from genies.evaluation.averages import ALL_LABELS, DISTINCT, PUBLISHED
from genies.evaluation.tables.comparisons import HIGHER, LOWER, NOT_TESTED
from genies.report.tables import Tables
from genies.report.words import counted


def differences(tables: Tables) -> list[dict[str, Any]]:
    """By model and set of shifts, benchmarks first and labels last: mean differences, the surest first.

    Returns:
        For each ``model`` and ``over`` (the set in words) ``rows`` of the comparisons with ``won`` and ``lost``, how
        many single shifts of the set show a difference either way, and ``interval_over``.
    """
    boards = []
    own_names = [pl.col(name).alias(f"own_{name}") for name in ("label", "benchmark")]
    shifts = tables.metrics.select("model", "source", "target", *own_names).unique()
    for (model,), own in tables["comparisons"].group_by("model", maintain_order=True):
        single = own.filter(pl.col("target").is_not_null()).join(shifts, on=["model", "source", "target"], how="left")
        sets = own.filter(pl.col("target").is_null(), pl.col("averaged_over") != PUBLISHED)
        order = [pl.col("label") != ALL_LABELS, pl.col("averaged_over") == DISTINCT]
        for (label, over), means in sets.sort(order, maintain_order=True).group_by(
            "label", "averaged_over", maintain_order=True
        ):
            if label != ALL_LABELS and single["own_label"].n_unique() == 1:
                continue  # these are all shifts
            of_label = single if label == ALL_LABELS else single.filter(own_label=label)
            rows = _judged(means, of_label if over == DISTINCT else of_label.filter(own_benchmark=over))
            count = max(rows["shifts"])
            named = f"all {count} shifts" if over == DISTINCT else f"the {count} shifts of {over}"
            title = named if label == ALL_LABELS else f"the {counted(count, f'{label} shift')}"
            kinds = rows["interval_over"].drop_nulls().unique(maintain_order=True).to_list()
            boards.append({"model": model, "over": title, "rows": rows.to_dicts(), "interval_over": kinds})
    return boards


def _judged(means: pl.DataFrame, single: pl.DataFrame) -> pl.DataFrame:
    """Comparisons over a set of shifts, the surest first, with how many single shifts each intervention wins."""
    pairs = ["intervention", "other"]
    verdict = pl.col("verdict")
    wins = single.group_by(pairs).agg((verdict == HIGHER).sum().alias("won"), (verdict == LOWER).sum().alias("lost"))
    rows = means.join(wins, on=pairs, how="left", maintain_order="left").with_columns(
        pl.col("won", "lost").fill_null(0)
    )
    return rows.sort("p_adjusted", pl.col("difference").abs() * -1, nulls_last=True, maintain_order=True)


def leads(tables: Tables, model: str, label: str, averaged_over: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What a leaderboard says of each method next to the best one of its class.

    Returns:
        ``leads`` (what is shown in place of a difference, by method), ``lacking`` (methods whose best one is not there,
        as in filtered tables) and ``untested`` (those whose difference is not tested).
    """
    of_class: dict[str | None, list[dict[str, Any]]] = {}
    for row in rows:
        of_class.setdefault(row["saw"], []).append(row)
    found: dict[str, Any] = {"leads": {}, "lacking": set(), "untested": set()}
    for own in of_class.values():
        names = [row["intervention"] for row in own]
        alone = len(own) == 1 and len(of_class) > 1
        found["leads"][names[0]] = "alone here" if alone else "best here"
        if own[0]["difference_to_best"] is not None:
            found["lacking"] |= {*names[1:]}
        found["untested"] |= untested(tables, model, label, averaged_over, names[0]) & {*names}
    return found


def untested(tables: Tables, model: str, label: str, averaged_over: str, best: str) -> set[str]:
    """The interventions whose difference to the best one over a set of shifts is not tested."""
    own = tables["comparisons"].filter(
        pl.col("target").is_null(), model=model, label=label, averaged_over=averaged_over, verdict=NOT_TESTED
    )
    return {name for pair in own.select("intervention", "other").iter_rows() if best in pair for name in pair} - {best}
