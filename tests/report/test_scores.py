"""The section of the page about scores of single texts and about abstaining."""

from __future__ import annotations

import polars as pl
from test_page import SHIFTS, TABLES

from genies.evaluation.tables import risk_coverage, text_scores
from genies.report.figures import draw
from genies.report.page import render

PLACES = [{"model": "small", "intervention": name, "source": shift.source, "target": shift.target}
          for name in ("mms", "zero_shot") for shift in SHIFTS]  # fmt: skip
OF_TEXTS = [
    {**place, "auroc": 0.25 + 0.5 * (place["intervention"] == "mms"),
     "comparable_across_prompts": place["intervention"] == "mms"} for place in PLACES
]  # fmt: skip
COVERED = [
    {**place, "pairs": 60, "area": 0.7, "gain": 0.1,
     **{f"accuracy_at_{percent}": 0.5 + 0.1 * (n % 2) for percent in risk_coverage.PERCENT.values()}}
    for n, place in enumerate(PLACES)
]  # fmt: skip
SCORED = {"text_scores": text_scores.TABLE.frame(OF_TEXTS), "risk_coverage": risk_coverage.TABLE.frame(COVERED)}


def test_the_section_marks_scores_that_do_not_compare_and_is_absent_without_any():
    own = {**PLACES[0], "target": PLACES[0]["source"], "auroc": 0.9, "comparable_across_prompts": True}
    without = {**PLACES[0], "intervention": "random", "remark": "no scores of texts: it prefers nothing"}
    tables = TABLES.having(text_scores=text_scores.TABLE.frame([*OF_TEXTS, own, without]))
    shown = pl.DataFrame(draw(tables).data["auroc"])
    assert set(shown.select("intervention", "mark").iter_rows()) == {("mms", ""), ("zero_shot", "*")}
    assert len(shown) == len(OF_TEXTS)  # neither a source on itself nor what has no scores
    assert 'id="scores"' in render("trial", tables, {}) and 'id="scores"' not in render("trial", TABLES, {})


def test_accuracy_by_coverage_is_the_mean_over_shifts():
    shown = pl.DataFrame(draw(TABLES.having(**SCORED)).data["risk_coverage"])
    assert shown["coverage"].to_list() == 2 * list(risk_coverage.COVERAGES)
    assert shown["accuracy"].round(9).unique().to_list() == [0.55]
