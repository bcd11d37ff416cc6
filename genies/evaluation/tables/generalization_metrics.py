"""From cells to metrics of shifts: how an intervention generalizes, and what it elicits of the capability."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from genies.errors import StoreError
from genies.evaluation import metrics as metric
from genies.evaluation.capability import AS_GIVEN, ON_TEST_PAIRS, Capability, CleanCapabilities
from genies.evaluation.evaluations import PLACE
from genies.evaluation.metrics import BASELINE, CHANCE
from genies.evaluation.table import Rows, Table
from genies.evaluation.tables.cells import NEWER_MEASURES

if TYPE_CHECKING:
    from genies.data.shifts import Shift
    from genies.evaluation.measurements import Measurements

TABLE = Table(
    "generalization_metrics.csv",
    {
        "model": pl.String,
        "intervention": pl.String,
        "label": pl.String,
        "category": pl.String,
        "benchmark": pl.String,
        "source": pl.String,
        "target": pl.String,
        "target_reference": pl.String,
        "generalization_accuracy": pl.Float64,
        "baseline_accuracy": pl.Float64,
        "baseline_intervention": pl.String,
        "target_tuned_capability": pl.Float64,
        "target_tuned_capability_intervention": pl.String,
        "source_ID_accuracy": pl.Float64,
        "RMS_calibration_error": pl.Float64,
        "differential_elicitation": pl.Float64,
        "elicitation": pl.Float64,
        "calibration_error": pl.Float64,
        "brier": pl.Float64,
        "generalization_accuracy_low": pl.Float64,
        "generalization_accuracy_high": pl.Float64,
        "test_pairs": pl.Int64,
        "published_entries": pl.Int64,
        **dict.fromkeys(("clean_accuracy", "clean_low", "clean_high"), pl.Float64),
        "clean_pairs": pl.Int64,
        "chance_adjusted_elicitation": pl.Float64,
        **dict.fromkeys(("capability_low", "capability_high"), pl.Float64),
        **dict.fromkeys(("capability_chosen_by", "capability_chosen_from", "remarks"), pl.String),
        **NEWER_MEASURES,
        **dict.fromkeys(("fresh_accuracy", "fresh_low", "fresh_high"), pl.Float64),
        "fresh_pairs": pl.Int64,
    },
    rows=Rows(PLACE, ("label", "category", "generalization_accuracy")),
)
"""Columns of ``generalization_metrics.csv``, in order: those from source to differential_elicitation as published.

Under ``corrected``, elicitations are of clean pairs (``genies.evaluation.capability``), accuracies of all."""

LEFT_OUT = "without this intervention"
"""How a remark ends that says that the capability leaves out the row's intervention."""
Cell = Mapping[str, Any]


def rows(run: Measurements) -> pl.DataFrame:
    """Methods, and behind them surface baselines."""
    return pl.concat([run.metrics, run.surface]) if len(run.surface) else run.metrics


def generalization_metrics(
    cells: pl.DataFrame,
    shifts: Sequence[Shift],
    capability_interventions: Sequence[str],
    baseline: str = BASELINE,
    capabilities: Mapping[tuple[str, str], tuple[str, float]] | None = None,
    clean: CleanCapabilities | None = None,
    trained: Collection[str] = (),
) -> pl.DataFrame:
    """Metrics of every (model, intervention, shift), columns as in ``TABLE``.

    ``target_tuned_capability`` is the accuracy on the reference after fitting on it. Of which intervention, ``clean``
    decides; without it, it is the best of those of ``capability_interventions`` that the model was run with (the
    earlier one of equals), chosen on the pairs that it is measured on, as published. What cannot be said is null:
    capability where none of them was run, baseline where ``baseline`` was not run, elicitation where capability is
    null or 0, and the published calibration error where no bin has enough pairs.

    Args:
        cells: columns as in ``genies.evaluation.tables.cells.TABLE``.
        shifts: shifts to report.
        capability_interventions: see above.
        baseline: the intervention that differential elicitation is measured from.
        capabilities: (intervention, accuracy) by (model, target) where they are known from elsewhere, as with
            published results. Then cells may be missing: shifts without one are left out, other figures are null.
        clean: chooses and measures under ``corrected``.
        trained: interventions with a training of their own. Where the capability leaves one of them out, its rows say
            so.

    Raises:
        StoreError: an intervention that was run lacks a cell that a shift needs.
    """
    rows = []
    for (model,), of_model in cells.group_by("model", maintain_order=True):
        table = _CellTable(str(model), of_model, complete=capabilities is None)
        for intervention in table.interventions:
            for shift in shifts:
                if clean is not None:
                    capability = clean.capability(table.model, shift.source, shift.target, shift.target_reference)
                    elicited = _Elicited(*(_on_clean_pairs(table, clean, n, shift) for n in (intervention, baseline)))
                elif capabilities is None:
                    capability, elicited = _best(table, capability_interventions, shift), None
                else:
                    name, accuracy = capabilities.get((table.model, shift.target), (None, None))
                    capability, elicited = Capability(accuracy, name, None if accuracy is None else AS_GIVEN), None
                row = _shift_row(table, intervention, shift, capability, baseline, elicited)
                if row:
                    left_out = intervention in trained and intervention not in capability.chosen_from
                    few = capability.too_few_clean or (elicited is not None and elicited.accuracy is None)
                    rows.append({**row, "remarks": _remarks(row, capability, left_out, few)})
    return TABLE.frame(rows)


class _Elicited(NamedTuple):
    """Accuracies that are compared with a capability, where those are not of all pairs."""

    accuracy: float | None
    baseline: float | None


def _on_clean_pairs(table: _CellTable, clean: CleanCapabilities, intervention: str, shift: Shift) -> float | None:
    """Accuracy on clean pairs; as stated where it is not that of pairs, None where too few are clean."""
    if (table.model, intervention, shift.source, shift.target) not in clean.scores:
        return table.accuracy(intervention, shift.source, shift.target, shift)
    found = clean.measured(table.model, intervention, shift.source, shift.target, shift.target_reference)
    return None if found is None else found.accuracy


def _remarks(row: Mapping[str, Any], capability: Capability, left_out: bool, too_few_clean: bool) -> str | None:
    """What a reader of a row's elicitation has to know; ``too_few_clean``: for it, or for the capability."""
    tuned, elicitation = row["target_tuned_capability"], row["elicitation"]
    remarks = []
    if too_few_clean:
        remarks.append("too few clean pairs")
    if row["capability_low"] is not None and row["capability_low"] <= CHANCE:
        remarks.append("no measurable capability")
    if left_out and tuned is not None:
        remarks.append(f"the capability is the best of {', '.join(capability.chosen_from)}, {LEFT_OUT}")
    if elicitation is not None and elicitation > 1:
        remarks.append("more accurate than the capability")
    return "; ".join(remarks) or None


class _CellTable:
    """Cells of one model by (intervention, source, target); where they are ``complete``, a missing one is an error."""

    def __init__(self, model: str, cells: pl.DataFrame, complete: bool) -> None:
        self.model = model
        self.complete = complete
        self.interventions = cells["intervention"].unique(maintain_order=True).to_list()
        self._cells = {(c["intervention"], c["source"], c["target"]): c for c in cells.iter_rows(named=True)}

    def cell(self, intervention: str, source: str, target: str, shift: Shift) -> Cell | None:
        found = self._cells.get((intervention, source, target))
        if found is None and self.complete:
            raise StoreError(
                f"{self.model}: no evaluation of {intervention} fitted on {source} and tested on {target}, which the "
                f"shift {shift.source} → {shift.target} needs; delete evaluations/{self.model}/{intervention}/{source}"
                ".parquet in the run's folder and run snakemake again"
            )
        return found

    def accuracy(self, intervention: str, source: str, target: str, shift: Shift) -> float | None:
        found = self.cell(intervention, source, target, shift) if intervention in self.interventions else None
        return found["accuracy"] if found else None


def _best(table: _CellTable, interventions: Sequence[str], shift: Shift) -> Capability:
    """The intervention that is most accurate on the shift's reference after fitting on it, and that accuracy."""
    reference = shift.target_reference
    found = {name: table.accuracy(name, reference, reference, shift) for name in interventions}
    known = {name: accuracy for name, accuracy in found.items() if accuracy is not None}
    if not known:
        return Capability()
    best = max(known, key=known.__getitem__)
    return Capability(known[best], best, ON_TEST_PAIRS, tuple(known))


def _shift_row(
    table: _CellTable,
    intervention: str,
    shift: Shift,
    capability: Capability,
    baseline: str,
    elicited: _Elicited | None,
) -> dict[str, Any] | None:
    cell = table.cell(intervention, shift.source, shift.target, shift)
    if cell is None:
        return None
    accuracy, base = cell["accuracy"], table.accuracy(baseline, shift.source, shift.target, shift)
    low, high = capability.measured.interval() if capability.measured else (None, None)
    return {
        # Names and measures of the cell.
        **{name: cell[name] for name in TABLE.columns if name in cell},
        "label": shift.label,
        "category": shift.category,
        "benchmark": shift.benchmark,
        "target_reference": shift.target_reference,
        "generalization_accuracy": accuracy,
        "baseline_accuracy": base,
        "baseline_intervention": None if base is None else baseline,
        "target_tuned_capability": capability.accuracy,
        "target_tuned_capability_intervention": capability.intervention,
        "source_ID_accuracy": table.accuracy(intervention, shift.source, shift.source, shift),
        **_elicitations(elicited or _Elicited(accuracy, base), capability.accuracy, low),
        "capability_low": low,
        "capability_high": high,
        "capability_chosen_by": capability.chosen_by,
        "capability_chosen_from": ", ".join(capability.chosen_from) or None,
        "generalization_accuracy_low": cell["low"],
        "generalization_accuracy_high": cell["high"],
        "published_entries": shift.published_entries,
    }


def _elicitations(elicited: _Elicited, tuned: float | None, tuned_low: float | None) -> dict[str, float | None]:
    """Elicitations by name; null where an accuracy is not known, or the capability is none."""
    accuracy, base = elicited
    if accuracy is None or not tuned:
        return dict.fromkeys(("elicitation", "differential_elicitation", "chance_adjusted_elicitation"))
    measurable = tuned > CHANCE and (tuned_low is None or tuned_low > CHANCE)
    return {
        "elicitation": metric.elicitation(accuracy, tuned),
        "differential_elicitation": None if base is None else metric.differential_elicitation(accuracy, base, tuned),
        "chance_adjusted_elicitation": metric.chance_adjusted_elicitation(accuracy, tuned) if measurable else None,
    }
