"""Predictions of every cell's accuracy without the target's labels.

Each cell is predicted from shifts that share no distribution with its own: none that is source, target or reference of
the one plays any of these roles in the other. What predicts is a regression (``genies.evaluation.jackknife``) on the
quantities of ``genies.evaluation.unlabelled``, or one of those of them that are predictions themselves. No method can
do this without assumptions about the shift (Garg et al. 2022, section 3): two targets may have the same texts and
opposite labels. The assumption here is that what unlabelled quantities say about accuracy on other shifts of the run,
they also say on the new one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import numpy as np
import polars as pl

from genies.evaluation.classes import Classes, without_target_labels
from genies.evaluation.jackknife import Direct, Jackknife, Jackknives, Observed
from genies.evaluation.metrics import NULL
from genies.evaluation.related import APART, Names, Shift, between
from genies.evaluation.scored import Key, Scored
from genies.evaluation.unlabelled import QUANTITIES, Panel, quantities

REGRESSION, LINE, CONFIDENT = "regression", "agreement_line", "confident_share"
PREDICTORS = (REGRESSION, LINE, CONFIDENT)
"""What predicts: the regression, agreement-on-the-line, and average thresholded confidence."""
BATCHES = (10, 25, 50, 100, 200)
"""Sizes of batches of target pairs on which predictions are tried as well."""
DRAWS = 5
"""Batches of each size drawn from each target."""


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a model of which single pairs are known: g shifts, m methods.

    Attributes:
        methods: their names.
        surface: names of surface baselines.
        shifts: in the order of the metrics.
        accuracy: float64 (g, m); NaN where a method was not tested, or its pairs are not known.
        on_source: accuracies on the sources' test pairs, by source and intervention.
        panels: verdicts on the source's and on the target's test pairs, by shift.
        names: one for all distributions that have the same texts.
    """

    methods: tuple[str, ...]
    surface: tuple[str, ...]
    shifts: tuple[Shift, ...]
    accuracy: np.ndarray
    on_source: Mapping[str, Mapping[str, float]]
    panels: Sequence[tuple[Panel, Panel]]
    names: Names = field(default_factory=dict)

    @classmethod
    def of(
        cls, metrics: pl.DataFrame, surface: pl.DataFrame, scores: Mapping[Key, Scored], names: Names = APART
    ) -> Cells:
        """The cells of one model.

        Args:
            metrics: of its methods, as in ``tables.generalization_metrics.TABLE``.
            surface: likewise of surface baselines.
            scores: what interventions say of single pairs.
            names: one for all distributions that have the same texts.
        """
        methods = tuple(n for n in metrics["intervention"].unique(maintain_order=True) if n != NULL)
        baselines = tuple(surface["intervention"].unique(maintain_order=True)) if len(surface) else ()
        rows = [*metrics.iter_rows(named=True), *surface.iter_rows(named=True)]
        shifts = tuple(dict.fromkeys((row["source"], row["target"], row["target_reference"]) for row in rows))
        accuracy = np.full((len(shifts), len(methods)), np.nan)
        on_source: dict[str, dict[str, float]] = {}
        for row in rows:
            name, source, target = row["intervention"], row["source"], row["target"]
            if row["source_ID_accuracy"] is None or (row["model"], name, source, target) not in scores:
                continue
            on_source.setdefault(source, {})[name] = row["source_ID_accuracy"]
            if name in methods:
                place = shifts.index((source, target, row["target_reference"]))
                accuracy[place, methods.index(name)] = row["generalization_accuracy"]
        judged: dict[tuple[str, str], dict[str, Scored]] = {}
        for (model, name, source, target), one in scores.items():
            if model == metrics["model"][0] and name in (*methods, *baselines):
                judged.setdefault((source, target), {})[name] = one
        panels = {place: Panel.of(of_place) for place, of_place in judged.items()}
        nobody = Panel.of({})
        pairs = [(panels.get((s, s), nobody), panels.get((s, t), nobody)) for s, t, _ in shifts]
        return cls(methods, baselines, shifts, accuracy, on_source, pairs, names)

    def quantities(self, shift: int, target: Panel | None = None) -> np.ndarray:
        """Those of the methods on a shift, float64 (m, q), or on a given batch of the target's pairs."""
        source, own = self.panels[shift]
        on_source = self.on_source.get(self.shifts[shift][0], {})
        found = quantities(source, own if target is None else target, on_source, self.methods, self.surface)
        return np.array([[found.get(name, {}).get(q, np.nan) for q in QUANTITIES] for name in self.methods])

    @cached_property
    def observed(self) -> Observed:
        """What there is to learn from; a cell counts where the accuracy on its source is known, too."""
        if not self.shifts:
            nothing = np.empty((0, 0, len(QUANTITIES))), np.empty((0, 0)), np.empty((0, 0), bool)
            return Observed(*nothing, np.empty(0, np.int64))
        values = np.stack([self.quantities(number) for number in range(len(self.shifts))])
        return Observed(values, self.accuracy, *between(self.shifts, self.names))


@dataclass(frozen=True, eq=False)
class Predicted:
    """Predictions of some cells, float64 (c,) each, row by row.

    Attributes:
        shift: number of the cell's shift, int (c,).
        method: number of its method, int (c,).
        reached: the accuracy.
        predicted, low, high: the prediction and its interval (``genies.evaluation.jackknife``).
        mean: the method's mean on shifts that have nothing in common with the cell's.
        on_source: the method's accuracy on the source.
    """

    shift: np.ndarray
    method: np.ndarray
    reached: np.ndarray
    predicted: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    on_source: np.ndarray

    def where(self, chosen: np.ndarray) -> Predicted:
        """Some of the cells, bool (c,)."""
        return Predicted(*(own[chosen] for own in vars(self).values()))


def predicting(predictor: str, fitted: Jackknife, observed: Observed, related: np.ndarray) -> Jackknife | Direct:
    """What a predictor predicts a shift with; arguments as of ``Direct.of``, and the regression for that shift."""
    if predictor == REGRESSION:
        return fitted
    return Direct.of(observed, related, QUANTITIES.index(predictor))


class Predictions:
    """Predictions for every shift of a model."""

    def __init__(self, cells: Cells, seed: int = 0) -> None:
        """Learn from the cells of a model.

        Args:
            cells: of the model.
            seed: of the batches.
        """
        self.cells = cells
        self._seed = seed
        made = Jackknives(cells.observed)
        self._fitted = [made.of(own) for own in cells.observed.related]
        self._found: dict[str, Predicted] = {}

    def on_all_pairs(self, predictor: str = REGRESSION) -> Predicted:
        """Predictions of one of ``PREDICTORS`` from all pairs of each target."""
        if predictor not in self._found:
            own = enumerate(self.cells.observed.quantities)
            self._found[predictor] = self._collected(own, predictor)
        return self._found[predictor]

    def on_batches(self, pairs: int, predictor: str = REGRESSION) -> Predicted:
        """Predictions from batches of so many pairs, ``DRAWS`` of each target that has more."""
        generator = np.random.default_rng([self._seed, pairs])

        def drawn() -> Iterator[tuple[int, np.ndarray]]:
            for number, (_, target) in enumerate(self.cells.panels):
                if target.pairs > pairs:
                    for _ in range(DRAWS):
                        yield number, self.cells.quantities(number, target.drawn(pairs, generator))

        return self._collected(drawn(), predictor)

    def sources(self, predictor: str = REGRESSION) -> np.ndarray:
        """How many sources the interval of each cell rests on, int64 (g, m)."""
        return np.array([self._predicting(number, predictor).sources for number in range(len(self.cells.shifts))])

    def _predicting(self, number: int, predictor: str) -> Jackknife | Direct:
        observed = self.cells.observed
        return predicting(predictor, self._fitted[number], observed, observed.related[number])

    def _collected(self, batches: Iterable[tuple[int, np.ndarray]], predictor: str) -> Predicted:
        columns: list[list[np.ndarray]] = [[] for _ in range(8)]
        for number, values in batches:
            one, methods = self._predicting(number, predictor), np.arange(len(self.cells.methods))
            low, high = one.interval(values)
            own = (
                np.full(len(methods), number),
                methods,
                self.cells.accuracy[number],
                np.where(np.isnan(low), np.nan, one.predict(values)),
                low,
                high,
                self._fitted[number].whole.accuracy,
                values[:, QUANTITIES.index("source_accuracy")],
            )
            for column, part in zip(columns, own, strict=True):
                column.append(part)
        joined = Predicted(*(np.concatenate(column) if column else np.empty(0) for column in columns))
        return joined.where(~np.isnan(joined.reached))


def predictions_by_model(
    metrics: pl.DataFrame,
    surface: pl.DataFrame,
    scores: Mapping[Key, Scored],
    seed: int = 0,
    classes: Classes = MappingProxyType({}),
    names: Names = APART,
) -> dict[str, Predictions]:
    """Predictions of every model of a run that a method was tested on.

    Methods that saw labels of targets, or of which it is not known, are left out: what they say of a target's pairs
    gives its labels away, also by how they agree with others.

    Args:
        metrics: as ``Cells.of`` takes them, of all models.
        surface: likewise.
        scores: likewise.
        seed: of the batches.
        classes: of the interventions, by what they saw.
        names: as ``Cells.of`` takes them.
    """
    unique = ["intervention", "source", "target"]
    blind = without_target_labels(metrics["intervention"].unique(maintain_order=True), classes)
    found = {}
    for (model,), own in metrics.filter(pl.col("intervention").is_in(blind)).group_by("model", maintain_order=True):
        baselines = surface.filter(model=model).unique(unique, maintain_order=True) if len(surface) else surface
        cells = Cells.of(own.unique(unique, maintain_order=True), baselines, scores, names)
        if cells.methods:
            found[str(model)] = Predictions(cells, seed)
    return found
