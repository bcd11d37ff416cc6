"""An alarm for texts without labels: "this probe does not carry over to these texts"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from genies.errors import ConfigError, DataError, StoreError
from genies.evaluation.evaluations import read_evaluation
from genies.evaluation.jackknife import FEWEST_SHIFTS, Direct, Jackknife, Jackknives, Observed
from genies.evaluation.metrics import CHANCE, checked_probability
from genies.evaluation.prediction import PREDICTORS, REGRESSION, Predicted, predicting
from genies.evaluation.prediction_worth import TOO_FEW, alarm_rates, chosen, smallest_batch
from genies.evaluation.related import APART, SHARED, Names, Shift, between, one_name, read_shared
from genies.evaluation.scored import Scored, scored
from genies.evaluation.seen import COUNTS
from genies.evaluation.table import Table, read_csv
from genies.evaluation.tables import cells, prediction_errors, predictions, surface
from genies.evaluation.unlabelled import QUANTITIES, Panel, advantage, quantities
from genies.files import results_folder
from genies.report.words import counted


@dataclass(frozen=True)
class Foreseen:
    """What can be said of a fit on texts without labels.

    Attributes:
        predicted: its accuracy.
        low, high: ends of the 90 % interval; with fewer than nine ``sources``, of one that is sure of k / (k + 1) at
            best, where k is their number.
        below: the limit of the alarm.
        carries_over: False where the interval lies below the limit; that is the alarm. True says no more than that
            there is none.
        false_alarm_rate: how often the alarm was raised for cells of the run whose accuracy is not below the limit;
            None where there is none.
        miss_rate: how often it was not raised for cells whose accuracy is below it; likewise.
        sources: from how many sources the interval was learned.
        texts_compared: whether shifts were left out whose distributions share texts with the source under another name;
            False where the run has not compared texts, as published results have not.
    """

    predicted: float
    low: float
    high: float
    below: float
    carries_over: bool
    false_alarm_rate: float | None
    miss_rate: float | None
    sources: int
    texts_compared: bool

    def __str__(self) -> str:
        said = "no alarm" if self.carries_over else "this probe does not carry over to these texts"
        false, missed = ("not known" if r is None else f"{r:.0%}" for r in (self.false_alarm_rate, self.miss_rate))
        ends = f"from {self.low:.3f} to {self.high:.3f}"
        if self.sources < FEWEST_SHIFTS:
            ends += (
                f", sure in {self.sources} of {self.sources + 1} cases at best: "
                f"{counted(self.sources, 'source')} to learn from"
            )
        else:
            ends = f"90 % {ends}"
        return (
            f"{said}: predicted accuracy {self.predicted:.3f} ({ends}), limit {self.below:g}; false alarms {false}, "
            f"misses {missed} of the run's cells"
            f"{'' if self.texts_compared else '; texts were not compared, so a copy of the source may be learned from'}"
        )


@dataclass(frozen=True, eq=False)
class Alarm:
    """Predicts how right a fit is on texts without labels, from the shifts of a run; ``load_alarm`` makes it.

    Attributes:
        intervention: of the fit.
        needs: interventions, fitted on the same source, whose verdicts on the texts are needed.
        smallest_batch: how many pairs at least.
        below: accuracies below it raise the alarm.
        false_alarm_rate, miss_rate, texts_compared: as in ``Foreseen``.
    """

    intervention: str
    needs: tuple[str, ...]
    smallest_batch: int
    below: float
    false_alarm_rate: float | None
    miss_rate: float | None
    texts_compared: bool
    _methods: tuple[str, ...]
    _surface: tuple[str, ...]
    _on_source: Mapping[str, float]
    _panel: Panel
    _jackknife: Jackknife | Direct

    def foresee(self, probability: Mapping[str, ArrayLike]) -> Foreseen:
        """Predict the accuracy on pairs of responses without labels.

        Which response of a pair comes first plays no part, as long as it is the same one for all interventions. The
        rates hold for pairs like those of the run: of prompts with a better and a worse response.

        Args:
            probability: that the first response is the better one, by intervention, those of ``needs`` at least; float
                (n,) within [0, 1], such as the column of ``FittedIntervention.score``.

        Raises:
            DataError: an intervention is missing, numbers of pairs differ or are too small, a value is no probability,
                or the source says nothing that the prediction could rest on.
        """
        if missing := [name for name in self.needs if name not in probability]:
            raise DataError(f"new texts: no probabilities of {', '.join(missing)}; score the pairs with these, too")
        try:
            given = {name: checked_probability(probability[name]) for name in self.needs}
        except ValueError as error:
            raise DataError(f"new texts: {error}; give the column probability of score()") from None
        if len({len(values) for values in given.values()}) > 1:
            counts = ", ".join(f"{name} {len(values)}" for name, values in given.items())
            raise DataError(f"new texts: interventions judged different numbers of pairs ({counts}); score them all")
        pairs = np.arange(len(given[self.intervention]))
        if len(pairs) < self.smallest_batch:
            raise DataError(
                f"new texts: {len(pairs)} pairs are too few; the prediction works on {self.smallest_batch} or more"
            )
        advantages = {name: advantage(values) for name, values in given.items()}
        target = Panel(advantages, dict.fromkeys(given, pairs), frozenset(given))
        found = quantities(self._panel, target, self._on_source, self._methods, self._surface)
        values = np.array([[found.get(name, {}).get(q, np.nan) for q in QUANTITIES] for name in self._methods])
        place, (low, high) = self._methods.index(self.intervention), self._jackknife.interval(values)
        if np.isnan(high[place]):
            raise DataError(
                f"new texts: nothing can be predicted for {self.intervention}, since the interventions agree on its "
                "source all alike, or too few of them were fitted on it; label some pairs of the texts instead"
            )
        return Foreseen(
            float(self._jackknife.predict(values)[place]),
            float(low[place]),
            float(high[place]),
            self.below,
            bool(high[place] >= self.below),
            self.false_alarm_rate,
            self.miss_rate,
            int(self._jackknife.sources[place]),
            self.texts_compared,
        )

    def carries_over(self, probability: Mapping[str, ArrayLike]) -> bool:
        """Whether there is no alarm; arguments and errors as of ``foresee``."""
        return self.foresee(probability).carries_over


def load_alarm(
    run: str | Path, intervention: str, source: str, *, model: str | None = None, below: float = CHANCE
) -> Alarm:
    """The alarm of a fit, learned from the shifts of its run that have nothing to do with its source.

    No method can know without assumptions whether a probe carries over. This one assumes that what unlabelled texts say
    about accuracy on the run's shifts, they also say on the new texts.

    Args:
        run: folder of the run's results, ``results/<run>``.
        intervention: of the fit.
        source: distribution that it was fitted on.
        model: name of the model; needed where the run has several.
        below: accuracies below it raise the alarm; above 0 and up to 1.

    Raises:
        ConfigError: ``below`` is out of range; the run's predictions do not beat both trivial predictors, or too few
            shifts are unrelated to the source, or to one another, so that there is no alarm; or the run has no such
            model, intervention or source.
        StoreError: a table or an evaluation is missing or damaged, also ``shared_texts.csv`` of a run that has compared
            texts.
    """
    if isinstance(below, bool) or not isinstance(below, Real) or not 0 < below <= 1:
        raise ConfigError(f"below: {below} is no accuracy to fall below; give one above 0 and up to 1")
    folder = results_folder(Path(run))
    table = predictions.TABLE.read(folder)
    model = _model(table, model, folder)
    predictor, smallest = _predictor(_read(prediction_errors.TABLE, folder).filter(model=model), folder, model)
    of_predictor, table = (table.filter(model=model, predictor=name) for name in (predictor, REGRESSION))
    methods = tuple(table["intervention"].unique(maintain_order=True))
    baselines = tuple(_read(surface.TABLE, folder).filter(model=model)["intervention"].unique(maintain_order=True))
    if intervention not in methods:
        raise ConfigError(
            f"{folder / predictions.TABLE.file}: has no rows of {intervention}; choose one of {', '.join(methods)}"
        )
    on_source = _on_source(folder, model, source, [*methods, *baselines])
    if intervention not in on_source:
        raise ConfigError(
            f"{folder / cells.TABLE.file}: has no row of {intervention} from {source} to itself; choose a source of "
            "the run"
        )
    panel = Panel.of({name: _judged(folder, model, name, source) for name in on_source})
    names = _names(folder)
    observed, of_source = _observed(table, methods, names or APART), _related_to(table, source, names or APART)
    made = predicting(predictor, Jackknives(observed).of(of_source), observed, of_source)
    if np.isnan(made.interval(_anything(methods))[1][methods.index(intervention)]):
        raise ConfigError(
            f"{folder / predictions.TABLE.file}: fewer than {FEWEST_SHIFTS} shifts share no distribution with "
            f"{source}, or too few of them can be predicted from one another, so there is no alarm; add shifts of "
            "other distributions to the run"
        )
    rates = alarm_rates(_predicted(of_predictor), below)
    return Alarm(
        intervention, _needed(intervention, methods, baselines, on_source), smallest, below,
        rates["false_alarm_rate"], rates["miss_rate"], names is not None, methods, baselines, on_source, panel, made,
    )  # fmt: skip


def _read(table: Table, folder: Path) -> pl.DataFrame:
    """A table that every run writes, if without rows, so that one that is lost is not taken for an empty one."""
    return read_csv(folder / table.file, table.columns)


def _on_source(folder: Path, model: str, source: str, interventions: Sequence[str]) -> dict[str, float]:
    """Accuracies of fits on their source's own test pairs, by intervention."""
    own = (pl.col("model") == model) & (pl.col("source") == source) & (pl.col("target") == source)
    measured = cells.TABLE.read(folder).filter(own).filter(pl.col("intervention").is_in(interventions))
    if measured["accuracy"].null_count():
        raise StoreError(f"{folder / cells.TABLE.file}: a row has no accuracy; delete it and run snakemake again")
    return dict(measured.select("intervention", "accuracy").iter_rows())


def _model(table: pl.DataFrame, model: str | None, folder: Path) -> str:
    known = table["model"].unique(maintain_order=True).to_list()
    if model in known:
        return str(model)
    if model is None and len(known) == 1:
        return str(known[0])
    if not known:
        raise ConfigError(
            f"{folder / predictions.TABLE.file}: has no rows, so there is no alarm; run snakemake again to make it"
        )
    raise ConfigError(f"{folder / predictions.TABLE.file}: give one of these as model: {', '.join(known)}")


def _predictor(errors: pl.DataFrame, folder: Path, model: str) -> tuple[str, int]:
    """The predictor that the alarm relies on, and the smallest batch that it works on."""
    of_all = errors.filter(pl.col("intervention").is_null()).to_dicts()
    predictor = chosen(of_all)
    of_all = [row for row in of_all if row["predictor"] == predictor]
    smallest = smallest_batch(of_all)
    file = folder / prediction_errors.TABLE.file
    if predictor is not None and predictor not in PREDICTORS:
        raise StoreError(f"{file}: {predictor} is no predictor; delete the file and run snakemake again")
    if predictor is not None and smallest is not None:
        return predictor, smallest
    on_all: Mapping[str, Any] = next((row for row in of_all if row["pairs"] is None), {"verdict": TOO_FEW})
    why = "too few shifts can be predicted from unrelated ones"
    if on_all["verdict"] != TOO_FEW:
        why = (
            "predictions without labels are not shown to be better than both trivial predictors (the best of them, "
            f"{predictor}, {on_all['verdict']}: mean error {on_all['error']:.3f}, of the method's mean "
            f"{on_all['error_of_mean']:.3f}, of the source accuracy {on_all['error_of_source']:.3f})"
        )
    raise ConfigError(f"{file}: no alarm is offered for {model}: {why}; label some pairs of the texts instead")


def _names(folder: Path) -> Names | None:
    """One name for all distributions with the same texts; None where none were compared, as in published results."""
    path = folder / SHARED.file
    if path.is_file():
        return one_name(read_shared(folder))
    if (folder / COUNTS.file).is_file():
        raise StoreError(f"{path}: file not found, and copies of the source would be learned from; run snakemake again")
    return None


def _observed(table: pl.DataFrame, methods: tuple[str, ...], names: Names) -> Observed:
    """The run's cells, from the rows of one predictor."""
    shifts = _shifts(table)
    values = np.full((len(shifts), len(methods), len(QUANTITIES)), np.nan)
    accuracy = np.full((len(shifts), len(methods)), np.nan)
    for row in table.iter_rows(named=True):
        place = shifts.index(_shift(row)), methods.index(row["intervention"])
        values[place] = [np.nan if row[name] is None else row[name] for name in QUANTITIES]
        accuracy[place] = row["accuracy"]
    return Observed(values, accuracy, *between(shifts, names))


def _shift(row: Mapping[str, Any]) -> Shift:
    return row["source"], row["target"], row["target_reference"]


def _shifts(table: pl.DataFrame) -> list[Shift]:
    return list(dict.fromkeys(_shift(row) for row in table.iter_rows(named=True)))


def _related_to(table: pl.DataFrame, source: str, names: Names) -> np.ndarray:
    own = names.get(source, source)
    return np.array([own in {names.get(name, name) for name in shift} for shift in _shifts(table)])


def _anything(methods: tuple[str, ...]) -> np.ndarray:
    """Some quantities, to learn whether there is an interval for any."""
    return np.zeros((len(methods), len(QUANTITIES)))


def _predicted(table: pl.DataFrame) -> Predicted:
    """The run's predictions as ``alarm_rates`` reads them."""
    names = ("accuracy", "predicted", "predicted_low", "predicted_high", "mean_elsewhere", "source_accuracy")
    place = np.arange(len(table))
    return Predicted(place, place, *(table[name].to_numpy().astype(np.float64) for name in names))


def _judged(folder: Path, model: str, name: str, source: str) -> Scored:
    """What a fit says of its source's own test pairs."""
    path = folder / "evaluations" / model / name / f"{source}.parquet"
    return scored(read_evaluation(path).filter(target=source))


def _needed(
    intervention: str, methods: tuple[str, ...], baselines: tuple[str, ...], on_source: Mapping[str, float]
) -> tuple[str, ...]:
    """Interventions that the quantities are made of."""
    strongest = max(
        (name for name in baselines if name in on_source), key=lambda name: (on_source[name], name), default=None
    )
    others = [name for name in methods if name in on_source and name != intervention]
    needed = [intervention, *others, *([strongest] if strongest else [])]
    return tuple(dict.fromkeys(needed))
