"""The stage ``metrics``: tables of a run from its evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genies.data.shifts import read_shifts
from genies.evaluation import tables


def write_tables(
    evaluations: Path,
    models: Sequence[str],
    interventions: Sequence[str],
    shifts: Sequence[Path],
    capability_interventions: Sequence[str],
    output: Path,
) -> None:
    """Write the cells of every source and target, the metrics of every shift, and their averages.

    Args:
        evaluations: folder with ``<model>/<intervention>/<source>.parquet``.
        models: those of the run, in its order.
        interventions: likewise.
        shifts: shift lists.
        capability_interventions: whose best accuracy on a reference is the capability there.
        output: folder of the tables.
    """
    listed = read_shifts(*shifts)
    sources = {name for shift in listed for name in (shift.source, shift.target_reference)}
    cells = tables.cells(evaluations, models, interventions, sources)
    metrics = tables.generalization_metrics(cells, listed, capability_interventions)
    tables.write_csv(cells, output / tables.CELLS_FILE)
    tables.write_csv(metrics, output / tables.METRICS_FILE)
    tables.write_csv(tables.leaderboard(metrics), output / tables.LEADERBOARD_FILE)
    tables.write_csv(tables.by_category(metrics), output / tables.CATEGORIES_FILE)
