"""The stage ``metrics``: tables of a run from its evaluations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl

from genies.data.limits import printable
from genies.data.own_scores import items
from genies.data.shifts import benchmarks, read_shifts
from genies.evaluation import tables
from genies.evaluation.capability import CleanCapabilities
from genies.evaluation.evaluations import Fits
from genies.evaluation.measurements import Measurements, table_of
from genies.evaluation.metrics import NULL
from genies.evaluation.related import APART, one_name, read_shared
from genies.evaluation.seen import read_seen
from genies.evaluation.tables.cells import measured_cells
from genies.evaluation.tables.claims import claim_lines
from genies.evaluation.tables.comparisons import read_scores
from genies.evaluation.tables.generalization_metrics import generalization_metrics
from genies.files import read_json, whole_file
from genies.interventions.base import Protocols
from genies.interventions.registry import by_intervention, name_of
from genies.published.recomputed import published_classes, recompute
from genies.published.results import read_results


def write_tables(
    evaluations: Path,
    *,
    models: Sequence[str],
    interventions: Sequence[str],
    shifts: Sequence[Path],
    protocol: Protocols = "corrected",
    capability: Sequence[str] = (),
    fits: Sequence[Path] = (),
    trained: Sequence[str] = (),
    surface: Sequence[str] = (),
    on_references: Sequence[str] = (),
    repeats: Sequence[str] = (),
    absent: Sequence[str] = (),
    overlap: Path | None = None,
    analyses: Sequence[Path] = (),
    own_scores: Sequence[Path] = (),
    tuned: Mapping[str, Any] = {},
    saw: Mapping[str, str] = MappingProxyType({}),
    seed: int = 0,
    output: Path,
) -> None:
    """Compute the metrics of every shift and the leaderboard.

    Args:
        evaluations: folder with ``<model>/<intervention>/<source>.parquet``; what else lies in it, from an earlier
            configuration, is not read.
        models: those of the run, in its order.
        interventions: likewise.
        shifts: shift lists.
        protocol: how capabilities are chosen and measured.
        capability: interventions of which the best on a reference gives the capability there.
        fits: manifests of ``genies fit`` for those, each in a folder with the name of its model; for their accuracies
            on training pairs.
        trained: interventions with a training of their own.
        surface: interventions that are surface baselines: rankings leave them out, unless there is nothing else.
        on_references: interventions that were fitted on references as well as on sources.
        repeats: names of interventions that are fitted again with further seeds, as ``repeat_name`` makes them.
        absent: ``model/intervention`` of those that do not read a model.
        overlap: ``overlap.parquet`` of the run, with ``shared_texts.csv`` next to it; without it nothing is known of
            clean pairs, nor of distributions that have the same texts.
        analyses: what analyses (``genies.analyses``) wrote, all tables of each model.
        own_scores: ``<distribution>/test.json`` of targets that are benchmarks with a score of their own.
        tuned: by model that was tuned from another one of the run, the name of that one.
        saw: class of each intervention by what it saw, in the words of ``genies.evaluation.classes``.
        seed: of the bootstrap.
        output: folder of the tables.
    """
    listed = read_shifts(*shifts)
    sources, references = ({getattr(shift, name) for shift in listed} for name in ("source", "target_reference"))
    fitted = {name: sources | references if name in on_references else sources for name in interventions}
    known = Fits(evaluations, models, fitted, absent)
    seen, near = (None if overlap is None else read_seen(overlap, near) for near in (False, True))
    cells = measured_cells(known, seen, near)
    scores = read_scores(evaluations, cells)
    corrected = protocol == "corrected"
    clean = CleanCapabilities(scores, seen or {}, capability, _out_of_fold(fits)) if corrected else None
    metrics = generalization_metrics(cells, listed, capability, clean=clean, trained=trained)
    is_surface = pl.col("intervention").is_in([] if set(interventions) <= {*surface, NULL} else list(surface))
    methods, baselines = metrics.filter(~is_surface), metrics.filter(is_surface)
    names = APART if overlap is None else one_name(read_shared(overlap.parent))
    own = {file.parent.name: items(file) for file in own_scores}
    _write(Measurements(
        cells, methods, scores, benchmarks(listed), seed, clean, known, by_intervention(repeats), analyses,
        surface=baselines, own_scores=own, tuned=tuned, classes=saw, names=names,
    ), output)  # fmt: skip


def _out_of_fold(manifests: Sequence[Path]) -> dict[tuple[str, str, str], float]:
    """Accuracy on training pairs of fits that had not seen them, where known, by (model, intervention, source)."""
    return {
        (path.parent.name, name_of(manifest["intervention"]), source): accuracy
        for path in manifests
        for manifest in [read_json(path, "intervention", "out_of_fold_accuracy")]
        for source, accuracy in manifest["out_of_fold_accuracy"].items()
        if accuracy is not None
    }


ODD_FILES = "odd-files.log"


def write_published_tables(source: Path, shifts: Sequence[Path], output: Path) -> Iterator[str]:
    """Write the same tables from the paper's own results, and tell how they compare with the published ones.

    What the paper's text states is told as well; files that are not as expected are listed in ``odd-files.log``.

    Args:
        source: folder or archive of published results, as ``genies.published.results`` reads them.
        shifts: shift lists, for labels and categories.
        output: folder of the tables.

    Yields:
        Lines to print.
    """
    results = read_results(source)
    listed = read_shifts(*shifts)
    made = recompute(results, listed)
    metrics = made.metrics
    classes = published_classes(metrics["intervention"].unique().to_list())
    run = Measurements(made.cells, metrics, made.scores, benchmarks(listed), classes=classes)
    _write(run, output)
    for (model,), rows in metrics.group_by("model", maintain_order=True):
        counts = rows.group_by("intervention").len().sort("intervention").iter_rows()
        found = ", ".join(f"{printable(name)} {count}" for name, count in counts)
        yield f"{printable(str(model))}: rows of {found}"
    yield from made.lines()
    yield from claim_lines(run["claims"])
    odd = {f"{len(paths)} odd: {kind}": paths for kind, paths in sorted(results.oddities.items())}
    with whole_file(output / ODD_FILES) as partial:
        lines = [line for head, paths in odd.items() for line in (head, *(f"  {printable(path)}" for path in paths))]
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    yield from odd
    if odd:
        yield f"odd files are listed in {output / ODD_FILES}"


def _write(run: Measurements, output: Path) -> None:
    for name in tables.NAMES:
        table_of(name).write(run[name], output)
