"""Results of earlier versions, which lack newer columns, next to a run of today."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from test_page import SHIFTS, TABLES, Page, make_tables, write_run

from genies.errors import StoreError
from genies.report.page import write_report_from_tables

EVERY = {"calibration_error": 0.045, "calibration_error_by_chance": 0.067}


def without(file: Path, *columns: str) -> None:
    """Take columns out of a table."""
    pl.read_csv(file).drop(columns).write_csv(file)


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Folders of two runs: one of today, and one that may be shown next to it."""
    own, other = tmp_path / "own", tmp_path / "earlier"
    today = make_tables(["small"], ["zero_shot", "mms"], SHIFTS[:3])
    metrics = today.metrics.with_columns(pl.lit(value).alias(name) for name, value in EVERY.items())
    write_run(own, today.having(generalization_metrics=metrics), 11)
    write_run(other, TABLES, 12)
    return own, other


def page(own: Path, *beside: Path) -> str:
    write_report_from_tables(
        own, title="t", provenance=own / "provenance.json", output=own / "report.html", beside=beside
    )
    return (own / "report.html").read_text(encoding="utf-8")


def test_columns_that_a_run_lacks_are_named_and_shown_as_missing(runs: tuple[Path, Path]) -> None:
    own, other = runs
    without(other / "generalization_metrics.csv", "calibration_error_by_chance", "brier")
    without(other / "cells.csv", "clean_clusters")
    shown = page(own, other)
    told = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", shown[shown.index('<section id="provenance">') :]))
    assert (
        "The results of earlier have no brier and no calibration_error_by_chance in generalization_metrics.csv" in told
    )
    assert "The results of earlier have no clean_clusters in cells.csv" in told
    data = Page(shown).content()["data"]
    known = [{row.get("calibration_error_by_chance") for row in data[f"cells-{n}"]} for n in range(3)]
    assert known.count({0.067}) == 1 and known.count({None}) == 2
    assert "The results of" not in page(own)


def test_a_column_without_which_nothing_can_be_said_is_asked_for(runs: tuple[Path, Path]) -> None:
    own, other = runs
    without(other / "generalization_metrics.csv", "generalization_accuracy")
    with pytest.raises(StoreError, match=r"earlier/generalization_metrics\.csv: lacks generalization_accuracy"):
        page(own, other)


def test_the_run_itself_lacks_no_column(runs: tuple[Path, Path]) -> None:
    own, _ = runs
    without(own / "generalization_metrics.csv", "calibration_error_by_chance")
    with pytest.raises(StoreError, match=r"own/generalization_metrics\.csv: lacks calibration_error_by_chance"):
        page(own)
