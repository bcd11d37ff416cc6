"""What a report is made of: the tables of a run, and of other runs beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from genies.errors import ConfigError
from genies.evaluation import tables
from genies.evaluation.averages import ALL_LABELS, DISTINCT, PUBLISHED
from genies.evaluation.measurements import table_of
from genies.evaluation.records import CHECKS, COSTS, JOBS, REWARD_MODELS, SAMPLES_FILE, SITES, TEXTS, TRAINING
from genies.evaluation.seen import COUNTS
from genies.evaluation.table import Table, header_of
from genies.evaluation.tables.claims import TABLE as CLAIMS
from genies.evaluation.tables.comparisons import compare_means
from genies.evaluation.tables.elicitation_by_category import by_category
from genies.evaluation.tables.leaderboard import leaderboard
from genies.files import read_json
from genies.published.results import NAMES
from genies.report.baselines import without_baselines
from genies.report.checked import check, check_samples
from genies.report.sizes import by_size
from genies.report.words import REPLACED, UNPRINTABLE, printable

TABLES = {
    Path(table.file).stem: table
    for table in (*map(table_of, tables.NAMES), TEXTS, TRAINING, CHECKS, SITES, REWARD_MODELS, COSTS, JOBS, COUNTS)
}
"""Every table of a run by its name."""
OF_MODELS = tuple(name for name, table in TABLES.items() if "model" in table.columns and table is not CLAIMS)
SWEEP = Table(
    "sweep.csv",
    {
        **dict.fromkeys(("model", "intervention", "source", "parameters"), pl.String),
        **dict.fromkeys(("accuracy", "low", "high"), pl.Float64),
        **dict.fromkeys(("train_pairs", "held_out_pairs"), pl.Int64),
    },
)
"""What ``genies.stages.sweep`` writes; in a run with a sweep alone."""
SHIFT = ("source", "target")
NOT_TAKEN_APART = ("means", "reliability", "predictions", "prediction_errors", "prediction_alarms", "costs", "jobs")
"""Tables that rest on all shifts of their run."""
METHOD_COLUMNS = (
    "intervention",
    "other",
    "rival",
    "baseline_intervention",
    "target_tuned_capability_intervention",
)


@dataclass(frozen=True)
class Tables:
    """What a report is made of.

    Attributes:
        frames: tables by name, one of ``TABLES``; those that are left out have no rows.
        samples: of ``genies.stages.samples``; empty where texts are not known.
        sweep: of ``genies.stages.sweep``, if there was one.
        absent: files that the run's folder lacks.
        lacking: columns that runs of earlier versions lack: the run's name, the file, and the columns' names.
    """

    frames: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    samples: Mapping[str, Any] = field(default_factory=dict)
    sweep: pl.DataFrame | None = None
    absent: tuple[str, ...] = ()
    lacking: tuple[tuple[str, str, tuple[str, ...]], ...] = ()

    def __getitem__(self, name: str) -> pl.DataFrame:
        """A table by its name, one of ``TABLES``."""
        return self.frames[name] if name in self.frames else TABLES[name].frame()

    @property
    def metrics(self) -> pl.DataFrame:
        """A row per model, intervention and shift."""
        return self["generalization_metrics"]

    @property
    def classes(self) -> dict[str, str]:
        """Class of each intervention by what it saw, where the leaderboard says so."""
        known = self["leaderboard"].select("intervention", "saw").drop_nulls().unique(maintain_order=True)
        return dict(known.iter_rows())

    def having(self, **frames: pl.DataFrame) -> Tables:
        """These tables with some others in place of their own, by name."""
        return replace(self, frames={**self.frames, **frames})

    @classmethod
    def of_run(cls, folder: Path, sweep: bool = False, earlier: bool = False) -> Tables:
        """The tables of a run, as its stages wrote them.

        Args:
            folder: of the run's results.
            sweep: whether it has a sweep; a table that an earlier configuration left behind is not of the run.
            earlier: whether an earlier version may have made it: columns that it lacks are null then, but for those
                without which nothing can be said.

        Raises:
            StoreError: one is missing or damaged, or they cannot be shown; see ``genies.report.checked``.
        """
        file = folder / SAMPLES_FILE
        samples = read_json(file) if file.is_file() else {}
        check_samples(samples, file)
        # Programs that put every cell in quotes make empty texts of empty cells.
        texts = pl.col(pl.String).replace("", None).str.replace_all(UNPRINTABLE, REPLACED)
        newer = {name: table.columns.keys() - table.needed if earlier else () for name, table in TABLES.items()}
        frames = {name: table.read(folder, newer[name]).with_columns(texts) for name, table in TABLES.items()}
        frames = without_baselines(frames)
        check(frames, folder, TABLES)
        return cls(
            frames,
            samples=samples,
            sweep=SWEEP.read(folder) if sweep else None,
            absent=tuple(table.file for table in TABLES.values() if not (folder / table.file).is_file()),
            lacking=tuple(_lacking(folder)) if earlier else (),
        )

    def beside(self, other: Tables, name: str) -> Tables:
        """These tables and another run's on the same shifts, its models behind this one's.

        Means of the other run are taken anew over the shifts that both have. What was counted over all of its shifts,
        and cannot be taken apart, is left out unless they are the same. Of a target that both runs have samples of,
        this run's stay.

        Args:
            other: of the other run.
            name: of the other run; stands behind those of its models that this run has as well. An intervention that
                goes by several names in published results goes by this run's.

        Raises:
            ConfigError: no shift is common to both.
        """
        theirs = other._shared(self.metrics)
        if not len(theirs.metrics):
            raise ConfigError(f"beside: the run {name} has no shift that this run has")
        own = set(self.metrics["model"])
        models = {model: f"{model} ({name})" for model in set(theirs.metrics["model"]) if model in own}
        methods = _same_methods(set(self.metrics["intervention"]), set(theirs.metrics["intervention"]))
        joined = {name: pl.concat([self[name], _renamed(theirs[name], models, methods)]) for name in OF_MODELS}
        samples = {**theirs.samples, **self.samples}
        return replace(self.having(**joined), samples=samples, lacking=self.lacking + theirs.lacking)

    def by_size(self) -> Tables:
        """These tables with their models from small to large; see ``genies.report.sizes.by_size``."""
        models = by_size(self.metrics["model"].unique(maintain_order=True).to_list())
        rank = {model: n for n, model in enumerate(models)}
        place = _place(pl.col("model"), models)
        ordered = {name: self[name].sort(place, maintain_order=True) for name in OF_MODELS}
        samples = {name: _ordered(value, rank) for name, value in self.samples.items()}
        return replace(self.having(**ordered), samples=samples)

    def ranked(self) -> Tables:
        """These tables with the leaderboard in the order of runs, whatever order its file has.

        All labels come before single ones, distinct shifts before entries and benchmarks, and the best method first.
        """
        board = self["leaderboard"]
        labels = [ALL_LABELS, *self.metrics["label"].unique(maintain_order=True)]
        over = pl.col("averaged_over")
        order = [
            _place(pl.col("model"), board["model"].unique(maintain_order=True).to_list()),
            _place(pl.col("label"), labels),
            over != DISTINCT,
            over != PUBLISHED,
            _place(over, board["averaged_over"].unique(maintain_order=True).to_list()),
            # Means that differ by rounding alone stay in their order.
            -pl.col("generalization_accuracy").round(12),
        ]
        return self.having(leaderboard=board.sort(order, nulls_last=True, maintain_order=True))

    def _shared(self, metrics: pl.DataFrame) -> Tables:
        """These tables on the shifts that ``metrics`` has too."""
        wanted = metrics.select(SHIFT).unique()
        known = {*wanted["source"], *wanted["target"], *metrics["target_reference"].drop_nulls()}

        def shared(frame: pl.DataFrame) -> pl.DataFrame:
            return frame.join(wanted, on=SHIFT, how="semi", maintain_order="left")

        chosen = shared(self.metrics)
        if len(chosen) == len(self.metrics):
            return self
        of_shifts = {name: shared(self[name]) for name in TABLES if {*SHIFT} <= TABLES[name].columns.keys()}
        comparisons = pl.concat([of_shifts["comparisons"], compare_means(chosen, {})])
        anew = {
            "cells": self["cells"],
            "leaderboard": leaderboard(chosen, comparisons=comparisons, classes=self.classes),
            "elicitation_by_category": by_category(chosen, of_shifts["intervals"]),
            "comparisons": comparisons,
            **{name: TABLES[name].frame() for name in NOT_TAKEN_APART},
        }
        samples = {name: value for name, value in self.samples.items() if name in known}
        return replace(self.having(**{**of_shifts, **anew}), samples=samples)


def _lacking(folder: Path) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """What ``Tables.lacking`` says of a run."""
    for table in TABLES.values():
        if (file := folder / table.file).is_file():
            header = header_of(file)
            if columns := tuple(name for name in table.columns if name not in header):
                yield printable(folder.name), table.file, columns


def _place(column: pl.Expr, names: Sequence[str]) -> pl.Expr:
    """Places of a column's names in a list; what it lacks is last."""
    return column.replace_strict({name: n for n, name in enumerate(names)}, default=len(names), return_dtype=pl.Int64)


def _ordered(sample: Mapping[str, Any], rank: Mapping[str, int]) -> dict[str, Any]:
    """Samples of a target with their columns in the order of the models."""
    columns = sample["columns"]
    order = sorted(range(len(columns)), key=lambda column: rank.get(columns[column][0], len(rank)))
    pairs = [{**pair, "verdicts": [pair["verdicts"][n] for n in order]} for pair in sample["pairs"]]
    return {**sample, "columns": [columns[n] for n in order], "pairs": pairs}


def _same_methods(ours: set[str], theirs: set[str]) -> dict[str, str]:
    """Our names of interventions that the other run has under another name, as published results do."""
    return {
        other: own
        for names in NAMES
        for other in theirs & set(names)
        for own in ours & set(names)
        if own not in theirs and other not in ours
    }


def _renamed(frame: pl.DataFrame, models: Mapping[str, str], methods: Mapping[str, str]) -> pl.DataFrame:
    columns = [name for name in METHOD_COLUMNS if name in frame.columns]
    of_models = [name for name in ("model", "base") if name in frame.columns]
    return frame.with_columns(pl.col(of_models).replace(models), pl.col(columns).replace(methods))
