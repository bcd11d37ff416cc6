"""The stage ``metrics``: tables of a run from its evaluations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genies.data.archive import printable
from genies.data.shifts import benchmarks, read_shifts
from genies.evaluation import bootstrap, comparison, correlation, reliability, seeds, tables
from genies.evaluation import means as means_table
from genies.evaluation.comparison import read_scores
from genies.evaluation.published import read_results, recompute
from genies.evaluation.scored import Key, Scored
from genies.evaluation.seen import read_seen
from genies.interventions.registry import by_intervention

if TYPE_CHECKING:
    import polars as pl


def write_tables(
    evaluations: Path,
    models: Sequence[str],
    interventions: Sequence[str],
    shifts: Sequence[Path],
    capability_interventions: Sequence[str],
    on_references: Sequence[str],
    repeats: Sequence[str],
    seed: int,
    output: Path,
    overlap: Path | None = None,
) -> None:
    """Write the cells of every source and target, the metrics of every shift, and their averages.

    Args:
        evaluations: folder with ``<model>/<intervention>/<source>.parquet``; what else lies in it, from an earlier
            configuration, is not read.
        models: those of the run, in its order.
        interventions: likewise.
        shifts: shift lists.
        capability_interventions: whose best accuracy on a reference is the capability there.
        on_references: interventions that were fitted on references as well as on sources.
        repeats: names of interventions that are fitted again with further seeds, as ``repeat_name`` makes them.
        seed: of the bootstrap.
        output: folder of the tables.
        overlap: ``overlap.parquet`` of the run; without it nothing is known of clean pairs.
    """
    listed = read_shifts(*shifts)
    sources, references = ({getattr(shift, name) for shift in listed} for name in ("source", "target_reference"))
    fits = {name: sources | references if name in on_references else sources for name in interventions}
    cells = tables.cells(evaluations, models, fits, None if overlap is None else read_seen(overlap))
    metrics = tables.generalization_metrics(cells, listed, capability_interventions)
    _write(cells, metrics, read_scores(evaluations, cells), benchmarks(listed), seed, output)
    tables.write_csv(seeds.spread(evaluations, metrics, by_intervention(repeats)), output / seeds.FILE)


def write_published_tables(source: Path, shifts: Sequence[Path], output: Path) -> Iterator[str]:
    """Write the same tables from the paper's own results, and tell how they compare with the published ones.

    Args:
        source: folder or archive of published results, as ``genies.evaluation.published`` reads them.
        shifts: shift lists, for labels and categories.
        output: folder of the tables.

    Yields:
        Lines to print.
    """
    results = read_results(source)
    listed = read_shifts(*shifts)
    made = recompute(results, listed)
    metrics = made.metrics
    _write(made.cells, metrics, made.scores, benchmarks(listed), 0, output)
    for (model,), rows in metrics.group_by("model", maintain_order=True):
        counts = rows.group_by("intervention").len().sort("intervention").iter_rows()
        found = ", ".join(f"{printable(name)} {count}" for name, count in counts)
        yield f"{printable(str(model))}: rows of {found}"
    yield from made.lines()
    for kind, paths in sorted(results.oddities.items()):
        yield f"{len(paths)} odd: {kind}"
        yield from (f"  {printable(path)}" for path in paths)


def _write(
    cells: pl.DataFrame,
    metrics: pl.DataFrame,
    scores: Mapping[Key, Scored],
    sets: tables.Benchmarks,
    seed: int,
    output: Path,
) -> None:
    tables.write_csv(cells, output / tables.CELLS_FILE)
    tables.write_csv(metrics, output / tables.METRICS_FILE)
    intervals, examples = bootstrap.intervals(metrics, scores, seed), bootstrap.DrawnMeans(metrics, scores, seed)
    tables.write_csv(tables.leaderboard(metrics, sets, examples), output / tables.LEADERBOARD_FILE)
    tables.write_csv(means_table.means(metrics, examples, sets), output / means_table.FILE)
    tables.write_csv(tables.by_category(metrics, intervals, examples), output / tables.CATEGORIES_FILE)
    tables.write_csv(correlation.correlations(metrics), output / correlation.FILE)
    tables.write_csv(comparison.compare(metrics, scores, sets), output / comparison.FILE)
    tables.write_csv(intervals, output / bootstrap.FILE)
    tables.write_csv(reliability.reliability(metrics, scores), output / reliability.FILE)
