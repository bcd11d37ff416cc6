"""An empty cell of the leaderboard says why it is empty."""

from __future__ import annotations

import html
import re

import polars as pl
from test_page import make_tables

from genies.data.shifts import Shift
from genies.evaluation.tables.leaderboard import leaderboard
from genies.report.page import render

SHIFTS = [Shift(f"s{n}", f"t{n}", f"t{n}", "extreme", "skill", 1) for n in range(6)]


def rows(**columns: pl.Expr) -> list[str]:
    """Texts of the rows of the leaderboard, with some columns of the metrics planted."""
    run = make_tables(["small"], ["random", "zero_shot", "mms"], SHIFTS)
    metrics = run.metrics.with_columns(**columns)
    board = leaderboard(metrics, comparisons=run["comparisons"])
    page = render("run", run.having(generalization_metrics=metrics, leaderboard=board), {"configuration": {}})
    table = page[page.index('data-name="leaderboard"') :].partition("</table>")[0].split("<tbody>")[1]
    return [" ".join(html.unescape(re.sub("<[^>]+>", " ", row)).split()) for row in table.split("<tr>")[1:]]


def test_a_full_board_gives_no_reasons() -> None:
    told = " ".join(rows(calibration_error=pl.lit(0.1), brier=pl.lit(0.2), elicitation=pl.lit(0.9)))
    assert "unknown" not in told and "no probabilities" not in told and "no intervals" not in told


def test_what_no_shift_has_is_said_without_a_number() -> None:
    nothing = pl.lit(None, pl.Float64)
    told = rows(elicitation=nothing, differential_elicitation=nothing, calibration_error=nothing, brier=nothing)
    reasons = "– no capability, or too few clean pairs – no capability or zero_shot, or too few clean pairs"
    for row in told:
        assert f"{reasons} – no probabilities of single pairs" in row


def test_what_some_shifts_lack_says_on_how_many() -> None:
    lacking = pl.when(pl.col("source").is_in(["s0", "s3"])).then(None)
    told = rows(
        elicitation=lacking.otherwise(0.9),
        generalization_accuracy_low=lacking.otherwise(pl.col("generalization_accuracy_low")),
    )
    assert all("– no capability, or too few clean pairs on 2 of 6 shifts" in row for row in told)
    assert all("– no intervals on 2 of 6 shifts" in row for row in told)
