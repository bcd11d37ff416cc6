"""The stage ``tables``: from probabilities of single pairs to metrics of shifts, and from those to averages."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from genies.errors import StoreError
from genies.evaluation import metrics as metric
from genies.evaluation.capability import AS_GIVEN, ON_TEST_PAIRS, Capability, CleanCapabilities
from genies.evaluation.clean import clean_figures
from genies.evaluation.scored import scored
from genies.evaluation.uncertainty import ClusteredMean, accuracy_interval, clustered_mean
from genies.files import whole_file

if TYPE_CHECKING:
    from genies.data.shifts import Shift
    from genies.evaluation.bootstrap import DrawnMeans

PAIR_COLUMNS = {
    "target": pl.String,
    "example": pl.Int64,
    "pair": pl.Int64,
    "cluster": pl.Int64,
    "answer": pl.String,
    "probability": pl.Float64,
    "score_best": pl.Float64,
    "score_worse": pl.Float64,
    "repeated_over": pl.String,
    "repeats": pl.List(pl.Float64),
    "stated_accuracy": pl.Float64,
    "stated_RMS_calibration_error": pl.Float64,
}
"""Columns of an evaluation, a row per test pair.

Pairs of one ``cluster`` are not independent (``genies.data.clusters``). ``answer`` is the right one, Yes or No, where
the pair is a question. ``repeats`` holds the probabilities that a fit gives when what it drew is drawn again
(``Intervention.repeated_over``); null where it draws nothing. The last two repeat, for every pair of a target, what the
intervention itself states of it where it has a rule of its own (plug-ins, and ccs as published); null elsewhere.
Probabilities and scores may be null where that is stated.
"""

CELL_COLUMNS = {
    "model": pl.String,
    "intervention": pl.String,
    "source": pl.String,
    "target": pl.String,
    "accuracy": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "RMS_calibration_error": pl.Float64,
    "calibration_error": pl.Float64,
    "brier": pl.Float64,
    "test_pairs": pl.Int64,
    **dict.fromkeys(("clean_accuracy", "clean_low", "clean_high"), pl.Float64),
    **dict.fromkeys(("clean_pairs", "clean_clusters"), pl.Int64),
    **dict.fromkeys(("seen_difference", "seen_difference_low", "seen_difference_high"), pl.Float64),
    "calibration_error_by_chance": pl.Float64,
}
"""Columns of ``cells.csv``. From ``clean_accuracy`` to ``seen_difference_high`` they are those of
``genies.evaluation.clean``; null where nothing is known of single pairs or of their texts. A calibration error up to
``calibration_error_by_chance`` is what 95 of 100 calibrated methods have on so many pairs."""

METRIC_COLUMNS = {
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
    "calibration_error_by_chance": pl.Float64,
}
"""Columns of ``generalization_metrics.csv``, in order: those from source to differential_elicitation as published.

Under ``corrected``, elicitations are of clean pairs (``genies.evaluation.capability``), accuracies of all."""

AVERAGED = {
    "generalization_accuracy": (0.0, 1.0),
    "elicitation": (0.0, None),
    "differential_elicitation": (None, None),
    "calibration_error": (0.0, 1.0),
    "brier": (0.0, 1.0),
}
"""Metrics that are averaged over shifts, and their range, at which intervals end."""

DIFFERENCE = "difference_to_best"
OVER_EXAMPLES = ("generalization_accuracy", DIFFERENCE)
"""Means whose intervals over examples the leaderboard has, too."""

LEADERBOARD_COLUMNS = {
    **dict.fromkeys(("model", "label", "averaged_over", "intervention"), pl.String),
    **dict.fromkeys(("shifts", "entries", "shifts_at_chance"), pl.Int64),
    "degrees_of_freedom": pl.Float64,
    **{f"{name}{end}": pl.Float64 for name in (*AVERAGED, DIFFERENCE) for end in ("", "_low", "_high")},
    **{f"{name}_examples{end}": pl.Float64 for name in OVER_EXAMPLES for end in ("_low", "_high")},
}
"""Columns of ``leaderboard.csv``. The interval ``X_low`` to ``X_high`` is for new shifts, that of accuracy with these
degrees of freedom; ``X_examples_low`` to ``X_examples_high`` is for the same shifts with new examples.
``shifts_at_chance`` counts shifts whose accuracy's interval contains 0.5; null where one has no interval."""

CATEGORY_COLUMNS = {
    **dict.fromkeys(("model", "label", "category", "intervention"), pl.String),
    "shifts": pl.Int64,
    **dict.fromkeys(("elicitation", "elicitation_low", "elicitation_high"), pl.Float64),
    "interval_over": pl.String,
    "random_elicitation": pl.Float64,
}
"""Columns of ``elicitation_by_category.csv``."""

LARGEST = 1e100
"""Larger numbers stand in no table; sums of the squares of smaller ones are finite."""
CELLS_FILE = "cells.csv"
METRICS_FILE = "generalization_metrics.csv"
LEADERBOARD_FILE = "leaderboard.csv"
CATEGORIES_FILE = "elicitation_by_category.csv"

CHANCE = 0.5
LEFT_OUT = "without this intervention"
"""How a remark ends that says that the capability leaves out the row's intervention."""
ALL_LABELS = "all"
DISTINCT, PUBLISHED = "distinct", "published"

PLACE = ("model", "intervention", "source", "target")
"""Columns that name a cell, and an intervention on a shift."""

METADATA = "genies"
"""Key of the parquet metadata of an evaluation."""

Cell = Mapping[str, Any]


Seen = Mapping[tuple[str, str], Collection[int]]
"""By (source, target), the target's examples of which the source's training split shows something."""


def cells(
    evaluations: Path, models: Sequence[str], fits: Mapping[str, Collection[str]], seen: Seen | None = None
) -> pl.DataFrame:
    """Metrics of every (model, intervention, source, target) that was evaluated; columns as in ``CELL_COLUMNS``.

    Args:
        evaluations: folder with ``<model>/<intervention>/<source>.parquet``, columns as in ``PAIR_COLUMNS``. What is
            not asked for may be left over from an earlier configuration, and is not read.
        models: those to read, in the order wanted.
        fits: sources to read by intervention, these in the order wanted.
        seen: see ``Seen``; without it nothing is known of clean pairs.

    Raises:
        StoreError: a file is damaged, has other columns or a value that is no probability; what is asked for is
            not there; the overlap of a target is not known; or a model's interventions were tested on different
            pairs of one target.
    """
    rows = [
        {**place, **_checked_cell(evaluations, place, pairs, seen)}
        for place, pairs in evaluated(evaluations, models, fits)
    ]
    frame = pl.DataFrame(rows, schema=CELL_COLUMNS)
    counts = frame.group_by("model", "target", maintain_order=True).agg(pl.col("test_pairs").unique().sort())
    for model, target, sizes in counts.filter(pl.col("test_pairs").list.len() > 1).iter_rows():
        raise StoreError(
            f"{evaluations / model}: {target} was evaluated on {sizes[0]} pairs by one intervention and on {sizes[-1]} "
            "by another; delete the folder and run snakemake again"
        )
    return frame


def _checked_cell(
    evaluations: Path, place: Mapping[str, str], pairs: pl.DataFrame, seen: Seen | None
) -> dict[str, Any]:
    source, target = place["source"], place["target"]
    path = evaluations / place["model"] / place["intervention"] / f"{source}.parquet"
    if seen is not None and (source, target) not in seen:
        raise StoreError(
            f"{path}: nothing is known of the overlap of {target} with {source}; delete overlap.parquet in the run's "
            "folder and run snakemake again"
        )
    try:
        return _cell(pairs, None if seen is None else seen[source, target])
    except ValueError as error:
        raise StoreError(f"{path}: {target}: {error}; delete the file and run snakemake again") from None


def _cell(pairs: pl.DataFrame, seen: Collection[int] | None) -> dict[str, Any]:
    stated = {
        "accuracy": pairs["stated_accuracy"][0],
        "RMS_calibration_error": pairs["stated_RMS_calibration_error"][0],
    }
    if stated["accuracy"] is not None:
        metric.checked_probability([stated["accuracy"]])
        unknown = dict.fromkeys(("low", "high", "calibration_error", "brier"))
        if pairs["probability"].null_count():
            return {**unknown, **stated, "test_pairs": len(pairs)}
    cell = _judged_cell(pairs, seen if stated["accuracy"] is None else None)
    # No interval belongs to an accuracy that follows another rule than the pairs.
    return cell if stated["accuracy"] is None else {**cell, "accuracy": stated["accuracy"], "low": None, "high": None}


def _judged_cell(pairs: pl.DataFrame, seen: Collection[int] | None) -> dict[str, Any]:
    judged = scored(pairs)
    low, high = accuracy_interval(judged.correct, judged.cluster, seed_variance=judged.seed_variance)
    published = metric.published_rms_calibration_error(judged.probability)
    clean = {} if seen is None else vars(clean_figures(judged, np.isin(pairs["example"], list(seen))))
    return {
        "accuracy": float(judged.correct.mean()),
        "low": low,
        "high": high,
        "RMS_calibration_error": None if np.isnan(published) else published,
        "calibration_error": float(np.mean([metric.calibration_error(drawn) for drawn in judged.draws])),
        "brier": float(np.mean([metric.brier(drawn) for drawn in judged.draws])),
        "calibration_error_by_chance": metric.calibration_error_by_chance(judged.probability),
        "test_pairs": len(pairs),
        **clean,
    }


def read_evaluation(path: Path) -> pl.DataFrame:
    """One evaluation, a row per test pair sorted by target, example and pair; columns as in ``PAIR_COLUMNS``.

    Raises:
        StoreError: the file is not there or no parquet, its columns are others, or a pair stands twice.
    """
    if not path.is_file():
        raise StoreError(f"{path}: file not found; run snakemake again to make it")
    remedy = "delete the file and run snakemake again"
    try:
        frame = pl.read_parquet(path, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(f"{path}: cannot be read ({_reason(error)}); {remedy}") from None
    if dict(frame.schema) != PAIR_COLUMNS:
        raise StoreError(f"{path}: has the columns {dict(frame.schema)}, not {PAIR_COLUMNS}; {remedy}")
    keys = ["target", "example", "pair"]
    twice = frame.filter(frame.select(keys).is_duplicated())
    if len(twice):
        target, example, pair = twice.select(keys).row(0)
        raise StoreError(f"{path}: {target}, example {example}, pair {pair} stands twice; {remedy}")
    return frame.sort(keys)


def evaluated(
    evaluations: Path, models: Sequence[str], fits: Mapping[str, Collection[str]]
) -> Iterator[tuple[dict[str, str], pl.DataFrame]]:
    """The rows of every target that was evaluated, behind what names its cell. Arguments as of ``cells``.

    Raises:
        StoreError: a file is missing or damaged.
    """
    for model in models:
        for intervention, sources in fits.items():
            for source in sorted(sources):
                pairs = read_evaluation(evaluations / model / intervention / f"{source}.parquet")
                for (target,), rows in pairs.group_by("target", maintain_order=True):
                    yield dict(zip(PLACE, (model, intervention, source, str(target)), strict=True)), rows


def tabulate(
    evaluations: Path,
    models: Sequence[str],
    fits: Mapping[str, Collection[str]],
    kinds: Sequence[tuple[Mapping[str, Any], Callable[[pl.DataFrame], Mapping[str, Any] | None]]],
) -> list[pl.DataFrame]:
    """Tables with a row per cell, from one reading of every evaluation.

    Args:
        evaluations: as ``cells`` takes it.
        models: likewise.
        fits: likewise.
        kinds: of each table its columns, and what makes a row of a cell's pairs; None where the cell has none.

    Raises:
        StoreError: a file is missing or damaged.
    """
    rows: list[list[dict[str, Any]]] = [[] for _ in kinds]
    for place, pairs in evaluated(evaluations, models, fits):
        for of_kind, (_, row) in zip(rows, kinds, strict=True):
            if (made := row(pairs)) is not None:
                of_kind.append({**place, **made})
    return [pl.DataFrame(of_kind, schema=columns) for of_kind, (columns, _) in zip(rows, kinds, strict=True)]


def write_evaluation(path: Path, frames: Sequence[pl.DataFrame], stated: Mapping[str, Any]) -> None:
    """Write an evaluation, and into the file's metadata what it states of its making.

    Args:
        path: parquet file.
        frames: one of each target, columns as in ``PAIR_COLUMNS``.
        stated: ``made_of``, and what else is compared with the configuration; JSON values.
    """
    with whole_file(path) as partial:
        pl.concat(frames).write_parquet(partial, metadata={METADATA: json.dumps(stated, sort_keys=True)})


def read_making(path: Path) -> dict[str, Any]:
    """What an evaluation states of its making, as ``write_evaluation`` was given it; empty where it states nothing.

    Raises:
        StoreError: the file is no parquet.
    """
    try:
        return json.loads(pl.read_parquet_metadata(path).get(METADATA, "{}"))
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise StoreError(
            f"{path}: cannot be read ({_reason(error)}); delete the file and run snakemake again"
        ) from None


def generalization_metrics(
    cells: pl.DataFrame,
    shifts: Sequence[Shift],
    capability_interventions: Sequence[str],
    baseline: str = "zero_shot",
    capabilities: Mapping[tuple[str, str], tuple[str, float]] | None = None,
    clean: CleanCapabilities | None = None,
    trained: Collection[str] = (),
) -> pl.DataFrame:
    """Metrics of every (model, intervention, shift), columns as in ``METRIC_COLUMNS``.

    ``target_tuned_capability`` is the accuracy on the reference after fitting on it. Of which intervention, ``clean``
    decides; without it, it is the best of those of ``capability_interventions`` that the model was run with (the
    earlier one of equals), chosen on the pairs that it is measured on, as published. What cannot be said is null:
    capability where none of them was run, baseline where ``baseline`` was not run, elicitation where capability is
    null or 0, and the published calibration error where no bin has enough pairs.

    Args:
        cells: columns as in ``CELL_COLUMNS``.
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
                    capability, elicited = Capability(accuracy, name, accuracy and AS_GIVEN), None
                row = _shift_row(table, intervention, shift, capability, baseline, elicited)
                if row:
                    left_out = intervention in trained and intervention not in capability.chosen_from
                    rows.append({**row, "remarks": _remarks(row, capability, left_out)})
    return pl.DataFrame(rows, schema=METRIC_COLUMNS)


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


def _remarks(row: Mapping[str, Any], capability: Capability, left_out: bool) -> str | None:
    """What a reader of a row's elicitation has to know."""
    tuned, elicitation = row["target_tuned_capability"], row["elicitation"]
    remarks = []
    if tuned is not None and elicitation is None:
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
    found = {name: table.accuracy(name, *[shift.target_reference] * 2, shift) for name in interventions}
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
        "model": table.model,
        "intervention": intervention,
        "label": shift.label,
        "category": shift.category,
        "benchmark": shift.benchmark,
        "source": shift.source,
        "target": shift.target,
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
        **{name: cell[name] for name in ("RMS_calibration_error", "calibration_error", "brier", "test_pairs")},
        **{name: cell[name] for name in ("clean_accuracy", "clean_low", "clean_high", "clean_pairs")},
        "calibration_error_by_chance": cell["calibration_error_by_chance"],
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


Benchmarks = Mapping[str, Collection[tuple[str, str]]]
"""(source, target) of the shifts of each named benchmark."""


def leaderboard(
    metrics: pl.DataFrame, benchmarks: Benchmarks | None = None, examples: DrawnMeans | None = None
) -> pl.DataFrame:
    """Averages over shifts of every (model, intervention), best accuracy first, columns as in ``LEADERBOARD_COLUMNS``.

    ``difference_to_best`` is the mean difference of accuracy to the best intervention of the block, paired by shift
    (null for the best one itself). A metric that is null for one shift has no average, and an average over the
    shifts of one source has no interval for new shifts.

    Args:
        metrics: columns as in ``METRIC_COLUMNS``.
        benchmarks: sets of shifts that have a block of their own; see ``blocks``.
        examples: knows what other examples would change; without it, intervals over examples are null.
    """
    rows = []
    for names, weighted, shifts in blocks(metrics, benchmarks):
        for intervention, own in ranking(shifts, weighted):
            row = {**names, "intervention": intervention, **_counts(own)}
            for name, used in averaged(own):
                mean = new_shifts(used, name)
                row |= {name: mean.mean, **_ends(name, within_range(name, mean.interval()))}
                if name == "generalization_accuracy":
                    row["degrees_of_freedom"] = mean.degrees_of_freedom
                if name in OVER_EXAMPLES and examples:
                    row |= _ends(f"{name}_examples", examples.interval(used, name))
            rows.append(row)
    return pl.DataFrame(rows, schema=LEADERBOARD_COLUMNS)


def blocks(
    metrics: pl.DataFrame, benchmarks: Benchmarks | None = None
) -> Iterator[tuple[dict[str, str], bool, pl.DataFrame]]:
    """The sets of shifts that are averaged over: names, whether entries count, and the rows of metrics.

    One for each model, each ``label`` (``all`` first) and each way of averaging: ``distinct`` weighs every shift once,
    ``published`` every published shift as often as the published list has it; and one for each benchmark, whose name
    stands in ``averaged_over``, unless it has all the shifts.
    """
    for (model,), of_model in metrics.group_by("model", maintain_order=True):
        labels = of_model["label"].drop_nulls().unique(maintain_order=True).to_list()
        named = {name: within(of_model, shifts) for name, shifts in (benchmarks or {}).items()}
        for label in (ALL_LABELS, *labels):
            chosen = of_model if label == ALL_LABELS else of_model.filter(pl.col("label") == label)
            sets = {DISTINCT: chosen, PUBLISHED: chosen.filter(pl.col("published_entries").is_not_null())}
            if label == ALL_LABELS:
                sets |= {name: shifts for name, shifts in named.items() if len(shifts) < len(of_model)}
            for averaged_over, shifts in sets.items():
                if len(shifts):
                    names = {"model": str(model), "label": label, "averaged_over": averaged_over}
                    yield names, averaged_over == PUBLISHED, shifts


def within(metrics: pl.DataFrame, shifts: Collection[tuple[str, str]]) -> pl.DataFrame:
    """The rows of some shifts, given by (source, target)."""
    wanted = pl.DataFrame(sorted(shifts), schema={"source": pl.String, "target": pl.String}, orient="row")
    return metrics.join(wanted, on=["source", "target"], how="semi", maintain_order="left")


def ranking(shifts: pl.DataFrame, weighted: bool) -> list[tuple[str, pl.DataFrame]]:
    """The interventions of a block, best mean accuracy first, each with its rows of metrics.

    The rows have two more columns: ``difference_to_best`` in accuracy, null where the best intervention was not tested
    on the shift, and in the rows of the best one; and ``best_intervention``.

    Args:
        shifts: rows of the metrics.
        weighted: whether a shift stands as often as the published list has it; else it stands once.
    """
    rows = shifts[np.repeat(np.arange(len(shifts)), shifts["published_entries"])] if weighted else shifts
    own = {str(name): of for (name,), of in rows.group_by("intervention", maintain_order=True)}
    order = sorted(own, key=lambda name: -own[name]["generalization_accuracy"].mean())
    best = order[0]
    # Joined by shift, not by position: what is paired must be the same shift.
    places = ["source", "target"]
    of_best = own[best].unique(places).select(*places, best_accuracy="generalization_accuracy")
    ranked = []
    for name in order:
        joined = own[name].join(of_best, on=places, how="left", maintain_order="left")
        difference = pl.col("generalization_accuracy") - pl.col("best_accuracy")
        kept = pl.when(pl.lit(name != best)).then(difference).alias(DIFFERENCE)
        ranked.append((name, joined.with_columns(kept, best_intervention=pl.lit(best))))
    return ranked


def averaged(own: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """The metrics that have a mean, each with the rows that it is over: none of them may be null.

    Args:
        own: rows of an intervention, as ``ranking`` gives them. Its difference to the best one is over those shifts
            that both were tested on.
    """
    for name in (*AVERAGED, DIFFERENCE):
        used = own.filter(pl.col(name).is_not_null()) if name == DIFFERENCE else own
        if len(used) and not used[name].null_count():
            yield name, used


def new_shifts(rows: pl.DataFrame, name: str) -> ClusteredMean:
    """The mean of a metric over its rows, and how far it could lie from this with new shifts: clustered by source."""
    return clustered_mean(rows[name].to_numpy(), rows["source"].to_numpy())


def within_range(name: str, interval: tuple[float, float] | None) -> tuple[float, float] | None:
    """An interval that ends where the metric's range does."""
    if interval is None:
        return None
    smallest, largest = AVERAGED.get(name, (None, None))
    low, high = interval
    return low if smallest is None else max(low, smallest), high if largest is None else min(high, largest)


def _ends(name: str, interval: tuple[float, float] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def _counts(own: pl.DataFrame) -> dict[str, int | None]:
    """How many shifts and entries there are, and how many shifts have an accuracy that chance could give."""
    distinct = own.unique(["source", "target"])
    low, high = (distinct[f"generalization_accuracy{end}"] for end in ("_low", "_high"))
    at_chance = None if low.null_count() else int(((low <= CHANCE) & (high >= CHANCE)).sum())
    return {"shifts": len(distinct), "entries": len(own), "shifts_at_chance": at_chance}


def by_category(
    metrics: pl.DataFrame, intervals: pl.DataFrame | None = None, examples: DrawnMeans | None = None
) -> pl.DataFrame:
    """Mean elicitation of every (model, intervention, label, category) over its distinct shifts.

    Columns: model, label, category, intervention, shifts, elicitation, elicitation_low, elicitation_high (95 %),
    interval_over ("new shifts", clustered by source; "examples" where there is one source, which tells nothing of other
    ones; null where there is no interval) and random_elicitation, what answering at random would elicit: the mean of
    0.5 / target_tuned_capability.

    Args:
        metrics: columns as in ``METRIC_COLUMNS``.
        intervals: of single shifts, columns as in ``genies.evaluation.bootstrap.COLUMNS``; without them a category of
            one shift has no interval.
        examples: knows what other examples would change; without it a category of several shifts of one source has no
            interval.
    """
    known = {} if intervals is None else {tuple(row[name] for name in PLACE): row for row in intervals.to_dicts()}
    rows = []
    for (model, label, category, intervention), own in metrics.group_by(
        "model", "label", "category", "intervention", maintain_order=True
    ):
        capability = own["target_tuned_capability"]
        floor = None if capability.null_count() or (capability <= 0).any() else float((0.5 / capability).mean())
        mean, interval, over = None, None, "new shifts"
        if not own["elicitation"].null_count():
            found = new_shifts(own, "elicitation")
            mean, interval = found.mean, within_range("elicitation", found.interval())
            if found.clusters == 1:
                over, interval = "examples", _over_examples(own, known, examples)
        rows.append(
            {
                "model": model,
                "label": label,
                "category": category,
                "intervention": intervention,
                "shifts": len(own),
                "elicitation": mean,
                **_ends("elicitation", interval),
                "interval_over": None if interval is None else over,
                "random_elicitation": floor,
            }
        )
    return pl.DataFrame(rows, schema=CATEGORY_COLUMNS)


def _over_examples(
    own: pl.DataFrame, known: Mapping[tuple[str, ...], Mapping[str, Any]], examples: DrawnMeans | None
) -> tuple[float, float] | None:
    """Interval of a mean elicitation over examples, which for a single shift is known by (model, …, target)."""
    if len(own) > 1:
        return examples.interval(own, "elicitation") if examples else None
    row = known.get(own.select(PLACE).row(0), {})
    low, high = row.get("elicitation_low"), row.get("elicitation_high")
    return None if low is None else (low, high)


def write_csv(frame: pl.DataFrame, path: Path) -> None:
    """Write a table as CSV, whole or not at all; null becomes an empty field.

    Names that come from elsewhere can command neither a spreadsheet nor a terminal: what would begin a formula has an
    apostrophe in front, and a control character becomes �.

    Raises:
        ValueError: a number is NaN or infinite, which stands for a mistake upstream.
    """
    for name, kind in frame.schema.items():
        if kind.is_float() and not frame[name].drop_nulls().is_finite().all():
            raise ValueError(f"{path}: column {name} holds a number that is not finite")
    texts = pl.col(pl.String).str.replace_all(r"\p{Cc}", "\ufffd").str.replace(r"^[=+\-@]", "'$0")
    with whole_file(path) as partial:
        frame.with_columns(texts).write_csv(partial)


def read_tables(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The metrics, leaderboard and category tables of a run, as they were written.

    Raises:
        StoreError: one is missing or damaged.
    """
    return (
        read_csv(folder / METRICS_FILE, METRIC_COLUMNS),
        read_csv(folder / LEADERBOARD_FILE, LEADERBOARD_COLUMNS),
        read_csv(folder / CATEGORIES_FILE, CATEGORY_COLUMNS),
    )


def read_csv(path: Path, columns: Mapping[str, Any]) -> pl.DataFrame:
    """A table that ``write_csv`` wrote, with these columns.

    Raises:
        StoreError: it is missing, damaged, or has other columns.
    """
    if not Path(path).is_file():
        raise StoreError(f"{path}: file not found; run snakemake again to make it")
    try:
        header = pl.read_csv(path, n_rows=0, glob=False).columns
        if header != list(columns):
            raise StoreError(f"{path}: has the columns {header}; delete it and run snakemake again")
        frame = pl.read_csv(path, schema=dict(columns), glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(f"{path}: cannot be read ({_reason(error)}); delete it and run snakemake again") from None
    for name, kind in frame.schema.items():
        if kind.is_float() and not frame[name].drop_nulls().is_between(-LARGEST, LARGEST).all():
            raise StoreError(
                f"{path}: column {name} holds a number that no run gives; delete it and run snakemake again"
            )
    return frame


def _reason(error: Exception) -> str:
    """The first line of another library's message."""
    return (str(error).splitlines() or [type(error).__name__])[0]
