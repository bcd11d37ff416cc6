"""What a report is made of: the tables of a run, and of other runs beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import polars as pl

from genies.errors import ConfigError
from genies.evaluation.answers import ANSWERED
from genies.evaluation.bootstrap import INTERVALS
from genies.evaluation.categories import CATEGORIES, by_category
from genies.evaluation.cells import CELLS
from genies.evaluation.comparison import COMPARISONS, compare
from genies.evaluation.generalization import METRICS
from genies.evaluation.leaderboard import LEADERBOARD, leaderboard
from genies.evaluation.records import CHECKS, SAMPLES_FILE, SITES, TEXTS, TRAINING
from genies.evaluation.reliability import RELIABILITY
from genies.evaluation.seeds import SEEDS
from genies.evaluation.seen import COUNTS
from genies.evaluation.table import Table
from genies.evaluation.ties import TIES
from genies.files import read_json
from genies.published.results import NAMES
from genies.report.sizes import by_size

SWEEP_FILE = "sweep.csv"
OF_NO_MODEL = ("overlap", "sweep")
"""Tables that are not about the models of several runs; those of this run stay as they are."""
METHOD_COLUMNS = ("intervention", "other", "baseline_intervention", "target_tuned_capability_intervention")


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What a report is made of.

    A field without rows unless they are given is that of a table, and read from its file. Those of optional tables have
    no rows where nothing is known of what they tell.

    Attributes:
        samples: of ``genies.stages.samples``; empty where texts are not known.
        sweep: of ``genies.stages.sweep``, if there was one.
    """

    metrics: pl.DataFrame = field(default_factory=METRICS.frame)
    leaderboard: pl.DataFrame = field(default_factory=LEADERBOARD.frame)
    by_category: pl.DataFrame = field(default_factory=CATEGORIES.frame)
    texts: pl.DataFrame = field(default_factory=TEXTS.frame)
    training: pl.DataFrame = field(default_factory=TRAINING.frame)
    checks: pl.DataFrame = field(default_factory=CHECKS.frame)
    sites: pl.DataFrame = field(default_factory=SITES.frame)
    seeds: pl.DataFrame = field(default_factory=SEEDS.frame)
    comparisons: pl.DataFrame = field(default_factory=COMPARISONS.frame)
    reliability: pl.DataFrame = field(default_factory=RELIABILITY.frame)
    cells: pl.DataFrame = field(default_factory=CELLS.frame)
    intervals: pl.DataFrame = field(default_factory=INTERVALS.frame)
    overlap: pl.DataFrame = field(default_factory=COUNTS.frame)
    answers: pl.DataFrame = field(default_factory=ANSWERED.frame)
    ties: pl.DataFrame = field(default_factory=TIES.frame)
    samples: Mapping[str, Any] = field(default_factory=dict)
    sweep: pl.DataFrame | None = None

    @classmethod
    def declared(cls) -> dict[str, Table]:
        """The table of each field that holds one."""
        makers = {one.name: getattr(one.default_factory, "__self__", None) for one in fields(cls)}
        return {name: maker for name, maker in makers.items() if isinstance(maker, Table)}

    @classmethod
    def of_run(cls, folder: Path, sweep: bool = False) -> Tables:
        """The tables of a run, as its stages wrote them.

        Args:
            folder: of the run's results.
            sweep: whether it has a sweep; a table that an earlier configuration left behind is not of the run.

        Raises:
            StoreError: one is missing or damaged.
        """
        known = {name: table.read(folder) for name, table in cls.declared().items()}
        samples = folder / SAMPLES_FILE
        return cls(
            **known,
            samples=read_json(samples) if samples.is_file() else {},
            sweep=pl.read_csv(folder / SWEEP_FILE) if sweep else None,
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
        joined = {
            key: pl.concat([value, _renamed(getattr(theirs, key), models, methods)])
            for key, value in vars(self).items()
            if isinstance(value, pl.DataFrame) and key not in OF_NO_MODEL
        }
        return replace(self, **joined, samples={**theirs.samples, **self.samples})

    def by_size(self) -> Tables:
        """These tables with their models from small to large; see ``genies.report.sizes.by_size``."""
        rank = {model: n for n, model in enumerate(by_size(self.metrics["model"].unique(maintain_order=True)))}
        place = pl.col("model").replace_strict(rank, default=len(rank))
        ordered = {
            key: value.sort(place, maintain_order=True)
            for key, value in vars(self).items()
            if isinstance(value, pl.DataFrame) and key not in OF_NO_MODEL
        }
        return replace(self, **ordered, samples={name: _ordered(value, rank) for name, value in self.samples.items()})

    def _shared(self, metrics: pl.DataFrame) -> Tables:
        """These tables on the shifts that ``metrics`` has too."""
        shifts = ["source", "target"]
        wanted = metrics.select(shifts).unique()
        known = {*wanted["source"], *wanted["target"], *metrics["target_reference"].drop_nulls()}

        def shared(frame: pl.DataFrame) -> pl.DataFrame:
            return frame.join(wanted, on=shifts, how="semi", maintain_order="left")

        chosen = shared(self.metrics)
        if len(chosen) == len(self.metrics):
            return self
        means = compare(chosen, {})
        return replace(
            self,
            metrics=chosen,
            leaderboard=leaderboard(chosen),
            by_category=by_category(chosen, shared(self.intervals)),
            comparisons=pl.concat([shared(self.comparisons.filter(over="shift")), means]),
            intervals=shared(self.intervals),
            seeds=shared(self.seeds),
            reliability=self.reliability.clear(),
            answers=shared(self.answers),
            ties=shared(self.ties),
            samples={name: value for name, value in self.samples.items() if name in known},
        )


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
    return frame.with_columns(pl.col("model").replace(models), pl.col(columns).replace(methods))
