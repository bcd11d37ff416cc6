"""What the paper states in its text, next to figures that are planted in tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from test_page import make_tables

from genies.data.shifts import Shift
from genies.evaluation.measurements import Measurements
from genies.evaluation.tables.claims import TABLE as CLAIMS
from genies.evaluation.tables.claims import claim_lines
from genies.evaluation.tables.claims import rows as claims

METHODS = ["zero_shot", "mms", "lora_fine_tuning"]
LISTED = 15
"""Shifts of the benchmark; the others are probing ones."""
SHIFTS = [
    Shift(f"s{n}", f"t{n}", f"t{n}", "extreme", "skill", 1 + n % 2, benchmark="B")
    if n < LISTED
    else Shift(f"s{n}", f"t{n}", f"t{n}", "probing", "skill", 1 + n % 2)
    for n in range(20)
]


def measured(models: list[str], shifts: list[Shift] = SHIFTS) -> Measurements:
    """A run whose accuracies and elicitations follow from the number of the shift."""
    run = make_tables(models, METHODS, shifts)
    n = pl.col("source").str.slice(1).cast(pl.Int64)
    of_mms, of_lora = pl.col("intervention") == "mms", pl.col("intervention") == "lora_fine_tuning"
    ahead, behind = pl.when(of_mms).then(0.08).otherwise(0), pl.when(of_lora & (n < 4)).then(0.15).otherwise(0)
    accuracy = 0.6 + 0.01 * (n % 5) + ahead - behind
    metrics = run.metrics.with_columns(
        generalization_accuracy=accuracy,
        baseline_accuracy=0.5 + 0.02 * (n % 5),
        generalization_accuracy_low=accuracy - 0.04,
        elicitation=pl.when(n < LISTED).then(0.9).otherwise(0.4) + 0.01 * (n % 2),
        differential_elicitation=None,
    )
    places = {(shift.source, shift.target) for shift in SHIFTS if shift.benchmark}
    return Measurements(run["cells"], metrics.cast(dict(run.metrics.schema)), {}, {"B": places})


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return claims(measured(["llama-7b"]))


def of(table: pl.DataFrame, claim: str) -> list[dict]:
    rows = table.filter(pl.col("claim").str.starts_with(claim)).to_dicts()
    assert rows
    return rows


def test_elicitations_are_means_over_entries_and_over_distinct_shifts(table: pl.DataFrame) -> None:
    entries, distinct = of(table, "LoRA elicits on extreme")
    assert (entries["over"], distinct["over"]) == ("22 entries", "15 distinct shifts")
    values = np.array([0.9 + 0.01 * (n % 2) for n in range(15)])
    assert distinct["recomputed"] == pytest.approx(values.mean())
    assert entries["recomputed"] == pytest.approx(np.average(values, weights=[1 + n % 2 for n in range(15)]))
    assert distinct["low"] < distinct["recomputed"] < distinct["high"]
    probing = [row["recomputed"] for row in of(table, "LoRA elicits on probing")]
    assert probing == pytest.approx([(6 * 0.41 + 2 * 0.4) / 8, (3 * 0.41 + 2 * 0.4) / 5])


def test_r_is_named_by_its_definition_and_has_an_interval_over_distinct_shifts_alone(table: pl.DataFrame) -> None:
    entries, distinct = of(table, "the untouched model")
    assert (entries["over"], distinct["over"]) == ("30 entries", "20 distinct shifts")
    base = np.array([0.5 + 0.02 * (n % 5) for n in range(20)])
    lora = np.array([0.6 + 0.01 * (n % 5) - 0.15 * (n < 4) for n in range(20)])
    times = [1 + n % 2 for n in range(20)]
    assert entries["recomputed"] == pytest.approx(np.corrcoef(np.repeat(base, times), np.repeat(lora, times))[0, 1])
    assert entries["low"] is None and distinct["low"] < distinct["recomputed"] < distinct["high"]


def test_intervals_for_new_shifts_need_shifts_that_support_a_claim_about_new_ones(table: pl.DataFrame) -> None:
    few = [replace(shift, source=f"s{n % 3}") for n, shift in enumerate(SHIFTS)]
    over_shifts = pl.col("claim").str.contains("LoRA elicits|untouched") | pl.col("figure").str.contains("elicitation")
    of_few, of_many = (rows.filter(over_shifts) for rows in (claims(measured(["llama-7b"], few)), table))
    assert len(of_few) == len(of_many) == 7
    assert of_few["low"].null_count() == of_few["high"].null_count() == 7
    # Entries repeat shifts: r over them has no interval, and those of five probing shifts weigh too unequally.
    assert of_many.filter(pl.col("low").is_null())["over"].to_list() == ["8 entries", "30 entries"]


def test_the_lead_of_mms_names_its_metric_and_the_benchmark(table: pl.DataFrame) -> None:
    accuracy, elicitation = of(table, "MMS is ahead")
    assert accuracy["figure"] == "difference of generalization_accuracy"
    assert (
        accuracy["recomputed"] == pytest.approx(0.08 + 4 * 0.15 / 15)
        and accuracy["over"] == "15 shifts of the benchmark"
    )
    assert elicitation["figure"] == "difference of elicitation" and elicitation["recomputed"] == pytest.approx(0)


@pytest.mark.parametrize("shifts", [SHIFTS, SHIFTS[:LISTED]], ids=["part of the run", "all of the run"])
def test_the_lead_of_mms_has_the_interval_that_the_page_compares_by(shifts: list[Shift]) -> None:
    run = measured(["llama-7b"], shifts)
    (accuracy, *_) = of(claims(run), "MMS is ahead")
    (row,) = run["comparisons"].filter(
        pl.col("intervention") == "mms", pl.col("other") == "lora_fine_tuning", label="all",
        averaged_over="B" if shifts is SHIFTS else "distinct",
    ).iter_rows(named=True)  # fmt: skip
    assert accuracy["recomputed"] == pytest.approx(row["difference"])
    assert (accuracy["low"], accuracy["high"]) == (row["low"], row["high"]) and row["low"] < row["difference"]


def test_shifts_near_chance_are_those_whose_interval_reaches_a_half(table: pl.DataFrame) -> None:
    (row,) = of(table, "LoRA is worse than random")
    assert (row["recomputed"], row["stated"]) == (4, 6)


def test_a_claim_whose_model_is_not_in_the_archive_says_so() -> None:
    without = list(claim_lines(claims(measured(["llama-7b"]))))
    assert sum("this run has no llama-30b" in line for line in without) == 5
    both = list(claim_lines(claims(measured(["llama-7b", "llama-30b"]))))
    assert not any("has no" in line for line in both)
    assert sum(line.startswith("  llama-30b: ") for line in both) == 9


def test_what_an_archive_lacks_has_no_row() -> None:
    run = measured(["llama-7b"])
    bare = Measurements(run.cells, run.metrics.filter(pl.col("intervention") != "lora_fine_tuning"), {}, run.benchmarks)
    assert claims(bare).equals(CLAIMS.frame())
    own = run.metrics.with_columns(published_entries=pl.when(pl.col("source") != "s0").then(1))
    assert claims(Measurements(run.cells, own, {}, run.benchmarks)).equals(CLAIMS.frame())
    unlisted = Measurements(run.cells, run.metrics, {}, {})
    assert not any("benchmark" in row["over"] for row in claims(unlisted).iter_rows(named=True))
