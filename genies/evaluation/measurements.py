"""What the tables of a run are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl

from genies.data.own_scores import Item
from genies.evaluation import tables
from genies.evaluation.averages import Benchmarks
from genies.evaluation.bootstrap import DrawnMeans
from genies.evaluation.capability import CleanCapabilities
from genies.evaluation.classes import Classes
from genies.evaluation.evaluations import Fits, tabulate
from genies.evaluation.prediction import Predictions, predictions_by_model
from genies.evaluation.related import Names
from genies.evaluation.scored import Key, Scored
from genies.evaluation.table import Table


def table_of(name: str) -> Table:
    """The declaration of a table, by its name."""
    module = import_module(f"{tables.__name__}.{name}")
    if not isinstance(getattr(module, "TABLE", None), Table):
        raise TypeError(f"{module.__file__}: declares no TABLE, which names the file {name}.csv and its columns")
    return module.TABLE


@dataclass(frozen=True, eq=False)
class Measurements:
    """A run's cells and metrics, and what else its tables need.

    Attributes:
        cells: columns as in ``genies.evaluation.tables.cells.TABLE``.
        metrics: of methods, columns as in ``genies.evaluation.tables.generalization_metrics.TABLE``.
        scores: how right every pair was ranked.
        benchmarks: sets of shifts to average over as well.
        seed: of the bootstrap.
        clean: chose and measured the capabilities, where the protocol is ``corrected``.
        fits: evaluations of the run; None where there are none, as of published results.
        repeats: names of interventions that were fitted again with further seeds, by intervention.
        analyses: tables of single models that analyses (``genies.analyses``) wrote, by whose names they are found.
        surface: metrics of surface baselines, which methods are compared with; they have no place in rankings.
        own_scores: examples of the targets that are benchmarks with a score of their own, by name.
        tuned: by model of the run that was tuned from another one of it, the name of that one.
        classes: of the interventions, by what they saw.
        names: one for all distributions that have the same texts (``genies.evaluation.related``).
    """

    cells: pl.DataFrame
    metrics: pl.DataFrame
    scores: Mapping[Key, Scored]
    benchmarks: Benchmarks = field(default_factory=dict)
    seed: int = 0
    clean: CleanCapabilities | None = None
    fits: Fits | None = None
    repeats: Mapping[str, Sequence[str]] = field(default_factory=dict)
    analyses: Sequence[Path] = ()
    surface: pl.DataFrame = field(default_factory=pl.DataFrame)
    own_scores: Mapping[str, Sequence[Item]] = field(default_factory=dict)
    tuned: Mapping[str, str] = field(default_factory=dict)
    classes: Classes = field(default_factory=dict)
    names: Names = field(default_factory=dict)
    _made: dict[str, pl.DataFrame] = field(default_factory=dict, repr=False)

    def __getitem__(self, name: str) -> pl.DataFrame:
        """A table of the run, made once.

        Args:
            name: one of ``genies.evaluation.tables.NAMES``.
        """
        if name not in self._made:
            module = import_module(f"{tables.__name__}.{name}")
            self._made[name] = module.rows(self) if hasattr(module, "rows") else self._by_cell[name]
        return self._made[name]

    @cached_property
    def examples(self) -> DrawnMeans:
        """What other test examples would change."""
        return DrawnMeans(self.metrics, self.scores, self.seed, clean=self.clean)

    @cached_property
    def predictions(self) -> dict[str, Predictions]:
        """What could be said of each cell without its target's labels, by model."""
        return predictions_by_model(self.metrics, self.surface, self.scores, self.seed, self.classes, self.names)

    @cached_property
    def _by_cell(self) -> dict[str, pl.DataFrame]:
        """The tables with a row per cell, from one reading of every evaluation."""
        modules = {name: import_module(f"{tables.__name__}.{name}") for name in tables.NAMES}
        kinds: dict[str, Callable[[pl.DataFrame], Mapping[str, Any] | None]]
        kinds = {name: module.row for name, module in modules.items() if hasattr(module, "row")}
        rows = dict.fromkeys(kinds, ()) if self.fits is None else tabulate(self.fits, kinds)
        return {name: modules[name].TABLE.frame(rows[name]) for name in kinds}
