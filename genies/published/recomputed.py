"""The paper's figures recomputed from its own results, and compared with the published ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from genies.data.archive import published_distributions
from genies.data.limits import printable
from genies.data.shifts import Shift
from genies.errors import DataError
from genies.evaluation import metrics as metric
from genies.evaluation.classes import UNKNOWN, class_of, saw_by
from genies.evaluation.evaluations import PLACE
from genies.evaluation.metrics import BASELINE
from genies.evaluation.scored import Key, Scored
from genies.evaluation.tables.cells import TABLE as CELLS
from genies.evaluation.tables.cells import measures
from genies.evaluation.tables.generalization_metrics import generalization_metrics
from genies.evaluation.uncertainty import accuracy_interval
from genies.interventions.registry import available, make
from genies.published.results import NAMES, Judged, Results, Row, method

SAME = 1e-9
"""Figures that are nearer than this are equal: what is between is rounding."""
ROUNDED_STEPS = 2
"""By how many steps of its number format a figure that was computed in it may differ from the exact one."""
SINGLE_PAIRS = frozenset(
    "alpaca_high_quality alpaca_long alpaca_low_quality alpaca_short change_my_view code_is_correct crt_1 crt_2 crt_3 "
    "personality_traits punishment_avoidance pursue_goals quote_attribution relinquish_power reward_seeking "
    "shp_high_quality shp_low_quality survival_influence sycophancy_answer sycophancy_are_you_sure sycophancy_feedback "
    "sycophancy_mimicry wrong_arc".split()
)
TWO_PAIRS = frozenset(
    "code_low_quality creative_writing gender_bias illegal_dont_help ranking_logic_easy unhelpful_alpaca".split()
)
"""Published distributions whose test examples have one or two pairs; those of all others have three."""


@dataclass(frozen=True)
class Difference:
    """A recomputed figure that differs from the published one: where it stands, and both."""

    path: str
    row: str
    column: str
    published: float | None
    recomputed: float | None


@dataclass
class Comparison:
    """Recomputed figures against published ones.

    Attributes:
        compared: how many figures both sides have.
        largest: largest absolute difference; 0 where nothing was compared.
        formats: shorter number formats that published figures may have been computed in.
        rounded: how many of them differ by the rounding of such a format alone, by its name.
        differences: every figure that differs.
        missing: every figure that one side lacks.
    """

    compared: int = 0
    largest: float = 0.0
    formats: tuple[type[np.floating], ...] = ()
    rounded: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    missing: list[Difference] = field(default_factory=list)

    def note(self, figure: Difference) -> None:
        """Compare a figure; one that neither side has is none."""
        theirs, own = figure.published, figure.recomputed
        if theirs is None or own is None:
            if theirs is not own:
                self.missing.append(figure)
            return
        self.compared += 1
        distance = abs(theirs - own)
        self.largest = max(self.largest, distance)
        if distance <= SAME:
            return
        if form := next((form for form in self.formats if _rounded_in(form, theirs, own)), None):
            self.rounded[form.__name__] = self.rounded.get(form.__name__, 0) + 1
        else:
            self.differences.append(figure)

    def lines(self, what: str) -> Iterator[str]:
        """The comparison as lines to print; ``what`` names the figures."""
        missing = f", {len(self.missing)} missing on one side" if self.missing else ""
        rounded = "".join(f", {count} of them computed in {form}" for form, count in sorted(self.rounded.items()))
        yield f"{self.compared} {what} compared{missing}, largest difference {self.largest:.3g}{rounded}"
        for verb, figures in (("differs", self.differences), ("missing", self.missing)):
            for d in figures:
                sides = f"{_said(d.published)} published, {_said(d.recomputed)} recomputed"
                yield f"  {verb}: {printable(d.path)}, {printable(d.row)}, {d.column}: {sides}"


def _rounded_in(form: type[np.floating], theirs: float, own: float) -> bool:
    """Whether ``theirs`` is a number of the format and so near to ``own`` that computing in the format explains it."""
    return float(form(theirs)) == theirs and abs(theirs - own) <= ROUNDED_STEPS * np.spacing(form(theirs))


def _said(figure: float | None) -> str:
    return "none" if figure is None else str(figure)


def examples(target: str, pairs: int) -> np.ndarray:
    """The example that each pair of a published evaluation belongs to, int64 (pairs,).

    Pairs of one example stand together. Evaluations of few_shot lack whole examples; where the count does not fit, each
    pair counts as an example of its own.
    """
    each = 1 if target in SINGLE_PAIRS else 2 if target in TWO_PAIRS else 3
    known = target in published_distributions() and pairs % each == 0
    return np.arange(pairs) // (each if known else 1)


@dataclass(frozen=True)
class Recomputed:
    """What the paper's own results give.

    Attributes:
        cells: columns as in ``genies.evaluation.tables.cells.TABLE``.
        metrics: columns as in ``tables.generalization_metrics.TABLE``.
        scores: how right every pair was ranked.
        comparison: with the published tables, and of accuracies that evaluations state.
        stated: comparisons of what else the evaluations state, by name.
    """

    cells: pl.DataFrame
    metrics: pl.DataFrame
    scores: dict[Key, Scored]
    comparison: Comparison
    stated: dict[str, Comparison]

    def lines(self) -> Iterator[str]:
        """The comparisons as lines to print."""
        yield from self.comparison.lines("figures")
        for name, compared in self.stated.items():
            yield from compared.lines(name)


def published_classes(names: Iterable[str]) -> dict[str, str]:
    """Class of each published method by what it saw: that of the intervention here under the protocol ``paper``."""
    found = {}
    for name in names:
        known = next((group for group in NAMES if name in group), (name,))
        own = next((one for one in known if one in available()), None)
        found[name] = UNKNOWN if own is None else class_of(saw_by(make(own, {"protocol": "paper"})))
    return found


def recompute(results: Results, shifts: Sequence[Shift]) -> Recomputed:
    """Cells and metrics of every model and intervention, and how they compare with the published tables.

    Where a table follows another candidate than the likeliest, that one is used and named among the oddities. Where an
    evaluation states another accuracy than that of its probabilities, the stated one is used, and it is listed.

    Raises:
        DataError: none of the evaluations is of a shift that a list or a published table has.
    """
    published = {
        (model, method(intervention), row.source, row.target): row
        for (model, intervention), rows in results.rows.items()
        for row in rows
    }
    chosen = {key: _choose(results, key, candidates, published) for key, candidates in results.evaluations.items()}
    cells = CELLS.frame(_cell(key, judged) for key, judged in sorted(chosen.items()))
    listed = [*shifts, *_further(published.values(), shifts)]
    capabilities = {
        (model, shift.target): found
        for model in cells["model"].unique()
        for shift in listed
        for name in (shift.target_reference, shift.target)  # the later one, if there is one, holds
        if (found := results.capabilities.get((model, name)))
    }
    metrics = generalization_metrics(cells, listed, (), BASELINE, capabilities)
    if not len(metrics):
        first = " → ".join(min(chosen)[2:])
        raise DataError(
            f"no shift list or published table has a shift of the evaluations ({first}); name a list of them"
        )
    scores = {
        key: Scored(
            metric.correctness(judged.probability, "right"),
            examples(key[3], len(judged.probability)),
            judged.probability,
        )
        for key, judged in chosen.items()
        if judged.probability is not None
    }
    return Recomputed(cells, metrics, scores, _compare(results, chosen, metrics), _compare_stated(chosen.values()))


def _choose(results: Results, key: Key, candidates: list[Judged], published: Mapping[Key, Row]) -> Judged:
    wanted = published[key].figures["generalization_accuracy"] if key in published else None
    used = [(c, c.used) for c in candidates]
    matching = [c for c, own in used if wanted is not None and own is not None and abs(own - wanted) <= SAME]
    best = (matching or candidates)[0]
    if best is not candidates[0]:
        results.odd("used, since the table follows it and not the file in its place", best.path)
    return best


def _cell(key: Key, judged: Judged) -> dict[str, Any]:
    cell = {**dict(zip(PLACE, key, strict=True)), "accuracy": judged.used}
    if judged.probability is None:
        return cell  # an accuracy alone tells neither its interval nor anything of calibration
    correct = metric.correctness(judged.probability, ties="right")
    low, high = accuracy_interval(correct, examples(key[3], len(correct)))
    return {**cell, "low": low, "high": high, **measures(judged.probability)}


def _further(rows: Iterable[Row], shifts: Sequence[Shift]) -> list[Shift]:
    """Shifts of the published tables that no list has."""
    known = {(shift.source, shift.target) for shift in shifts}
    found = {(row.source, row.target): row.target_reference for row in rows}
    return [Shift(*pair, reference) for pair, reference in sorted(found.items()) if pair not in known]


def _compare(results: Results, chosen: Mapping[Key, Judged], metrics: pl.DataFrame) -> Comparison:
    ours = {(r["model"], r["intervention"], r["source"], r["target"]): r for r in metrics.iter_rows(named=True)}
    compared = Comparison()
    for (model, intervention), rows in sorted(results.rows.items()):
        for row in rows:
            mine = ours.get((model, method(intervention), row.source, row.target), {})
            for column, figure in row.figures.items():
                compared.note(Difference(row.path, f"{row.source} → {row.target}", column, figure, mine.get(column)))
    for judged in chosen.values():
        if judged.accuracy is not None and judged.probability is not None:
            compared.note(Difference(judged.path, "stated", "accuracy", judged.accuracy, judged.recomputed))
    return compared


def _compare_stated(chosen: Iterable[Judged]) -> dict[str, Comparison]:
    """Brier scores and calibration errors that evaluations state, against those of their probabilities."""
    briers, errors = (Comparison(formats=(np.float32, np.float16)) for _ in range(2))
    for judged in chosen:
        if judged.probability is None:
            continue
        if judged.brier is not None:
            brier = metric.brier(judged.probability)
            briers.note(Difference(judged.path, "stated", "brier_score", judged.brier, brier))
        if judged.rms_calibration_error is not None:
            rms = metric.published_rms_calibration_error(judged.probability)
            own = None if math.isnan(rms) else rms
            errors.note(Difference(judged.path, "stated", "RMS_calibration_error", judged.rms_calibration_error, own))
    return {"stated Brier scores": briers, "stated calibration errors": errors}
