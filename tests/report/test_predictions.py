"""Predictions without target labels on the page: the sentence, the section with its folded figure, and the alarm."""

from __future__ import annotations

import re

import altair as alt
import polars as pl
import pytest
from test_checked import FULL, PREDICTION, PREDICTION_ALARM, PREDICTION_ERROR

from genies.evaluation.tables import prediction_alarms, prediction_errors, predictions
from genies.report.figures import draw
from genies.report.page import render
from genies.report.predicted import BY_NAME, prediction_boards, without_labels, worth_of_predictions
from genies.report.tables import Tables

ERRORS, ALARMS = prediction_errors.TABLE, prediction_alarms.TABLE
BATCHES = [{**PREDICTION_ERROR, "pairs": pairs, "verdict": verdict}
           for pairs, verdict in ((10, "beats neither"), (25, "beats both"), (50, "beats both"))]  # fmt: skip


def said(*errors: dict, alarms: list[dict] | None = None) -> str:
    text = without_labels(ERRORS.frame(errors), ALARMS.frame([PREDICTION_ALARM] if alarms is None else alarms))
    assert text is not None
    return text


def test_where_both_trivial_predictors_are_beaten_errors_and_rates_of_the_alarm_are_stated() -> None:
    text = said(PREDICTION_ERROR, *BATCHES)
    assert "accuracies of 24 cells are off by 0.100 in the mean, by a regression on all unlabelled" in text
    assert "quantities; the method's mean on other shifts is off by 0.200, its accuracy on the source by 0.300." in text
    assert "The 90 % intervals hold 90\u00a0% of the accuracies." in text
    assert "raised for 5\u00a0% of the cells at or above it and misses 40\u00a0% of those below" in text
    assert text.endswith("works on batches of 25 pairs or more.")


@pytest.mark.parametrize(
    ("rates", "words"),
    [
        ({"others": 0, "false_alarm_rate": None}, "misses 40\u00a0% of the cells below"),
        ({"cells": 0, "miss_rate": None}, "is raised for 5\u00a0% of the cells at or above it"),
    ],
)
def test_where_all_cells_are_on_one_side_of_the_limit_the_alarm_has_one_rate(rates: dict, words: str) -> None:
    text = said(PREDICTION_ERROR, *BATCHES, alarms=[{**PREDICTION_ALARM, **rates}])
    assert text.endswith(f" The alarm “accuracy is below 0.5” {words}, and works on batches of 25 pairs or more.")


@pytest.mark.parametrize(
    ("verdict", "rivals"),
    [
        ("beats neither", "either of these trivial predictors"),
        ("beats the mean alone", "its accuracy on the source"),
        ("beats the source accuracy alone", "the method's mean on other shifts"),
    ],
)
def test_where_a_trivial_predictor_is_as_good_the_page_says_so_and_offers_no_alarm(verdict: str, rivals: str) -> None:
    text = said({**PREDICTION_ERROR, "verdict": verdict}, alarms=[])
    assert text.endswith(f"The predictions are not shown to be better than {rivals}, so there is no alarm.")


def test_too_few_shifts_are_said_to_be_too_few() -> None:
    few = {**PREDICTION_ERROR, "verdict": "too few shifts"}
    assert "only 12 shifts can be predicted from unrelated ones" in said(few, alarms=[])
    assert "no shift of this run has so many. There is no alarm." in said({**few, "shifts": 0, "cells": 0}, alarms=[])
    assert without_labels(ERRORS.frame(), ALARMS.frame()) is None


def test_the_summary_at_the_top_names_the_way_of_the_section_below_or_says_nothing() -> None:
    few = {**PREDICTION_ERROR, "predictor": "agreement_line", "lead_over_mean": 0.19, "verdict": "too few shifts"}
    of_batch = {**few, "pairs": 50, "verdict": "beats both"}
    neither = {**PREDICTION_ERROR, "verdict": "beats neither"}
    alarms = ALARMS.frame()
    for errors in ([few, neither], [neither, few]):
        top = worth_of_predictions(ERRORS.frame(errors), alarms)
        assert top is not None and top == said(*errors, alarms=[])
        assert (
            "by a regression on all unlabelled quantities, the best of those of 2 ways that have shifts enough" in top
        )
    assert worth_of_predictions(ERRORS.frame([few, of_batch]), alarms) is None
    assert worth_of_predictions(ERRORS.frame(), alarms) is None


def test_among_which_ways_the_chosen_one_is_the_best_is_stated() -> None:
    line = {**PREDICTION_ERROR, "predictor": "agreement_line"}
    nothing = {
        **line,
        "predictor": "confident_share",
        "shifts": 0,
        "cells": 0,
        "error": None,
        "lead_over_mean": None,
        "verdict": "too few shifts",
    }
    other_batch = {**line, "pairs": 50, "lead_over_mean": 0.19}
    no_lead = {**line, "lead_over_mean": 0.0}
    assert "unlabelled quantities, the best of 2 ways; the" in said(PREDICTION_ERROR, no_lead, nothing)
    assert "unlabelled quantities; the method's mean" in said(PREDICTION_ERROR, nothing)
    larger = {**line, "lead_over_mean": 0.15, "verdict": "beats the mean alone"}
    for errors in ([larger, PREDICTION_ERROR, other_batch], [PREDICTION_ERROR, larger]):
        text = said(*errors)
        assert "unlabelled quantities, of 2 ways the best that is better than both trivial predictors; the" in text


def test_what_intervals_hold_is_also_said_by_source_where_it_differs() -> None:
    text = said({**PREDICTION_ERROR, "coverage": 0.83, "coverage_of_sources": 0.92})
    assert "hold 83\u00a0% of the accuracies, and 92\u00a0% where each source counts the same, whatever" in text
    assert "where each source" not in said({**PREDICTION_ERROR, "coverage_of_sources": 0.9})
    assert "where each source" not in said({**PREDICTION_ERROR, "coverage_of_sources": None})


def test_intervals_from_few_sources_do_not_claim_90_per_cent() -> None:
    text = said({**PREDICTION_ERROR, "fewest_sources": 6})
    assert "The intervals, of which some rest on 6 sources alone and are sure in 6 of 7 cases at best, hold 90" in text
    assert "90 % intervals" not in text and "The 90 % intervals hold" in said({**PREDICTION_ERROR, "fewest_sources": 9})
    assert "The 90 % intervals hold" in said({**PREDICTION_ERROR, "fewest_sources": None})  # of an earlier run


def section(tables: Tables) -> str:
    page = render("trial", tables, {})
    return page[page.index('<section id="predictions"') :].split("</section>")[0]


def test_the_section_shows_errors_rates_and_a_folded_figure() -> None:
    shown = section(FULL)
    assert "No method can do this without\nassumptions about the shift" in shown
    words = re.sub(r"<[^>]+>", " ", shown)
    assert "all methods" in words and "beats both" in words and "0.020 to 0.200" in words
    assert shown.index("<details>") < shown.index('id="figure-predictions-0"') and "<details open" not in shown
    bare = FULL.having(predictions=predictions.TABLE.frame([{**PREDICTION, "predicted": None}]))
    assert "figure-predictions" not in section(bare)


def test_whether_texts_were_compared_is_said_of_each_model() -> None:
    compared = FULL.having(cells=FULL["cells"].with_columns(clean_pairs=pl.lit(40, pl.Int64)))
    without = FULL.having(
        cells=FULL["cells"].with_columns(clean_pairs=pl.lit(None, pl.Int64)), overlap=FULL["overlap"].clear()
    )
    for one, other in ((compared, without), (without, compared)):
        boards = {board["model"]: board["says"] for board in prediction_boards(one.beside(other, "other"))}
        assert boards.keys() == {"small", "small (other)"}
        assert [says.endswith(BY_NAME) for says in boards.values()] == [run is without for run in (one, other)]


def test_a_run_without_predictions_has_no_such_section() -> None:
    empty = {name: FULL[name].clear() for name in ("predictions", "prediction_errors", "prediction_alarms")}
    page = render("trial", FULL.having(**empty), {})
    assert 'id="predictions"' not in page and "#predictions" not in page


def test_the_figure_has_a_dot_per_predicted_cell_with_its_interval() -> None:
    unknown = {**PREDICTION, "target": "code", "predicted": None, "predicted_low": None, "predicted_high": None}
    figures = draw(FULL.having(predictions=predictions.TABLE.frame([PREDICTION, unknown])))
    (row,) = figures.data["predictions"]
    assert (row["shift"], row["predicted"], row["predicted_high"], row["accuracy"]) == ("easy → hard", 0.5, 0.8, 0.4)
    (figure,) = figures["predictions"]
    assert "(across), by a regression on all unlabelled quantities, and the" in figure.description
    alt.LayerChart.validate(figure.wide)


def test_next_to_a_run_of_fewer_shifts_predictions_are_left_out() -> None:
    """They rest on all shifts of their run."""
    fewer = FULL.having(generalization_metrics=FULL.metrics.filter(pl.col("target") == "hard"))
    joined = fewer.beside(FULL, "other")
    assert len(joined["prediction_errors"]) == len(FULL["prediction_errors"])
