"""The verb ``select``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from genies.errors import ConfigError
from genies.evaluation.choice import choices
from genies.evaluation.related import SHARED, one_name, read_shared
from genies.evaluation.table import write_csv
from genies.evaluation.uncertainty import supports_new_shifts
from genies.files import results_folder
from genies.report.tables import Tables
from genies.report.words import counted, number, span


def select(*runs: Path, benchmark: str = "GENIES", output: Path | None = None) -> None:
    """Choose an intervention on shifts that have nothing in common with a benchmark, and report it on that.

    Also says which one is best on the benchmark itself, and how much higher its mean is there (optimism): by luck,
    or because it suits these shifts better than those that were chosen on. Interventions are compared with those
    that saw the same. Several runs of one model, such as runs with other parameters, are chosen from together.

    Distributions that share more than a tenth of their test texts count as one. Where a folder has no
    ``shared_texts.csv``, as of published results, they are known by their names alone.

    Args:
        *runs: folders of results, of runs over more shifts than the benchmark's, or of `genies published`.
        benchmark: name of the shifts that are reported on.
        output: CSV to write, with every figure.

    Raises:
        StoreError: a table is missing or damaged.
        DataError: a run has no shift of the benchmark, or none apart from it.
    """
    if not runs:
        raise ConfigError("select: name the folder of a run's results, such as results/published69")
    tables = {results_folder(folder).resolve(): Tables.of_run(folder, earlier=True) for folder in runs}
    unknown = [str(folder) for folder in tables if not (folder / SHARED.file).is_file()]
    names = one_name(pl.concat(read_shared(folder) for folder in tables))
    found = pl.concat(choices(*_candidates(tables, model), benchmark, names) for model in _models(tables))
    if unknown:
        print(f"{', '.join(unknown)}: texts were not compared, so distributions are known by their names alone")
    for row in found.iter_rows(named=True):
        print(*_lines(row, benchmark), sep="\n")
    if output:
        write_csv(found, output)


def _models(tables: Mapping[Path, Tables]) -> list[str]:
    return list(
        dict.fromkeys(model for own in tables.values() for model in own.metrics["model"].unique(maintain_order=True))
    )


def _candidates(tables: Mapping[Path, Tables], model: str) -> tuple[pl.DataFrame, dict[str, str]]:
    """Metrics of a model in all runs, and classes by what was seen; what several runs have is named after its run."""
    of_model = {folder: own.metrics.filter(model=model) for folder, own in tables.items()}
    runs = Counter(name for metrics in of_model.values() for name in {*metrics["intervention"]})
    folders = Counter(folder.name for folder in tables)
    found: list[pl.DataFrame] = []
    classes: dict[str, str] = {}
    for folder, metrics in of_model.items():
        run = folder.name if folders[folder.name] == 1 else str(folder)
        renamed = {name: f"{name} ({run})" for name in {*metrics["intervention"]} if runs[name] > 1}
        found.append(metrics.with_columns(pl.col("intervention").replace(renamed)))
        # In another run, of another model, a method of the same name may have seen more.
        seen = tables[folder].classes
        classes |= {renamed.get(name, name): seen[name] for name in {*metrics["intervention"]} & seen.keys()}
    return pl.concat(found), classes


def _lines(row: Mapping[str, Any], benchmark: str) -> Iterator[str]:
    yield f"{row['model']}, {counted(row['candidates'], 'intervention')} that saw {row['saw']}"
    if row["incomplete"]:
        yield f"  not tested on all of the shifts, and left out: {row['incomplete']}"
    if not row["candidates"]:
        return
    share = "shares" if row["dropped"] == 1 else "share"
    yield (
        f"  best on {counted(row['chosen_on'], 'shift')} without a distribution of {benchmark} ({row['dropped']} more "
        f"{share} one): {row['chosen']}, mean accuracy {number(row['accuracy_there'])} there"
    )
    reported = f"the {counted(row['reported_on'], 'shift')} of {benchmark}"
    yield f"  its mean accuracy on {reported}: {_estimate(row, 'accuracy')}, 95 % interval for new shifts"
    yield f"  best on {reported}: {row['naive']}, {_estimate(row, 'naive_accuracy')}"
    yield f"  optimism, how much higher that is, by luck or as it suits these shifts: {_estimate(row, 'optimism')}"
    if not supports_new_shifts(row["degrees_of_freedom"]):
        yield "  the shifts have so few sources that their intervals support no claim about new ones"


def _estimate(row: Mapping[str, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return number(row[name]) + ("" if low is None else f" ({span(low, high)})")
