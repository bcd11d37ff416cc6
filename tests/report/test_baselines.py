"""Surface baselines and cues on the page: figures folded away, sentences, and rankings without baselines."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from test_page import BROWSER, TABLES, Page

from genies.evaluation.tables.comparisons import HIGHER, LOWER, NOT_DISTINGUISHABLE
from genies.evaluation.tables.cues import TABLE as CUES
from genies.evaluation.tables.moved import TABLE as MOVED
from genies.evaluation.tables.nulls import TABLE as NULLS
from genies.evaluation.tables.prediction_errors import TABLE as PREDICTION_ERRORS
from genies.evaluation.tables.predictions import TABLE as PREDICTIONS
from genies.evaluation.tables.surface import TABLE as SURFACE
from genies.report.baselines import RANKED, beyond_counting, beyond_null, followed, without_baselines
from genies.report.page import render
from genies.report.tables import Tables

BASELINES = ["length", "first_word"]
LEADS = {"hard": (0.2, 0.1, 0.3, HIGHER), "code": (-0.1, -0.15, -0.05, LOWER),
         "persona": (0.01, -0.1, 0.12, NOT_DISTINGUISHABLE)}  # fmt: skip


def rows_of_surface() -> pl.DataFrame:
    shifts = TABLES.metrics.select("model", "source", "target").unique(maintain_order=True)
    rows = []
    for place in shifts.iter_rows(named=True):
        for accuracy, name in zip((0.6, 0.52), BASELINES, strict=True):
            row = {
                **place,
                "intervention": name,
                "accuracy": accuracy,
                "low": 0.4,
                "high": 0.7,
                "best": name == "length",
            }
            if row["best"]:
                lead, low, high, verdict = LEADS[place["target"]]
                row |= {"other": "mms", "lead": lead, "lead_low": low, "lead_high": high, "p_adjusted": 0.01}
                row |= {"verdict": verdict}
            rows.append(row)
    return SURFACE.frame(rows)


def rows_of_cues() -> pl.DataFrame:
    shifts = TABLES.metrics.select("model", "source", "target").unique(maintain_order=True)
    numbers = {"agree_pairs": 30, "agree_accuracy": 0.9, "agree_low": 0.8, "agree_high": 0.95, "conflict_pairs": 10,
               "conflict_accuracy": 0.1, "conflict_low": 0.0, "conflict_high": 0.4, "undecided_pairs": 0,
               "follows": 0.9, "follows_low": 0.8, "follows_high": 0.95}  # fmt: skip
    return CUES.frame(
        {**place, "intervention": name, "rival": rival, **numbers}
        for place in shifts.iter_rows(named=True)
        for rival, name in (("length", "zero_shot"), ("length", "mms"), ("zero_shot", "mms"))
    )


PREDICTED = [{"model": "small", "predictor": "regression", "intervention": "mms", "source": "easy", "target": "hard",
              "accuracy": 0.4, "predicted": 0.5, "predicted_low": 0.2, "predicted_high": 0.8}]  # fmt: skip
ERRORS = [{"model": "small", "predictor": "regression", "shifts": 12, "cells": 24, "verdict": "beats neither"}]
RUN = TABLES.having(
    surface=rows_of_surface(),
    cues=rows_of_cues(),
    predictions=PREDICTIONS.frame(PREDICTED),
    prediction_errors=PREDICTION_ERRORS.frame(ERRORS),
)


@pytest.fixture(scope="module")
def html() -> str:
    return render("trial", RUN, {"configuration": {"seed": 3}})


def test_rules_that_methods_follow_are_said_at_the_top() -> None:
    small = rows_of_cues().filter(model="small")
    said = followed(small)
    assert said is not None and f"in {len(small)} of {len(small)} cells, each judged alone: with length in" in said
    no_longer = pl.when(pl.col("rival") == "zero_shot").then(0.2).otherwise(0.6)
    other = {"conflict_high": no_longer, "conflict_accuracy": pl.lit(0.05), "conflict_pairs": pl.lit(40)}
    said = followed(small.with_columns(**other))
    count = len(small.filter(rival="zero_shot"))
    assert said is not None and f"in {count} of {len(small)} cells, each judged alone: with zero_shot in" in said
    assert "mms with zero_shot on easy → hard: it ranks 95\u00a0% of 40 such pairs as the rule does." in said
    assert followed(small.with_columns(conflict_high=pl.lit(0.5))) is None and followed(small[:0]) is None
    page = render("run", RUN, {"configuration": {}})
    assert "Which cue was learned?" in page[: page.index("<h2>")] and 'href="#cues"' in page[: page.index("<h2>")]


def test_a_shift_has_a_band_of_baselines_and_the_dot_of_the_best_method(html):
    rows = Page(html).content()["data"]["surface"]
    assert len(rows) == 8 and {row["index"] for row in rows} == {0, 1}
    hard = next(row for row in rows if row["shift"] == "easy → hard")
    assert (hard["least"], hard["most"], hard["method"], hard["shown"]) == (0.52, 0.6, "mms", 1)
    assert hard["accuracy"] == pytest.approx(0.8)
    assert [row["shown"] for row in rows if row["shift"] != "easy → hard"] == [0] * 6


def test_the_finding_counts_shifts_and_names_where_counting_is_ahead():
    text = beyond_counting(RUN["surface"].filter(model="small"))
    assert text == (
        "On 1 of 4 shifts the most accurate method is shown to be better than the best of 2 surface baselines (rules "
        "that count in the texts). Not shown on easy → code, hard → code, plain → persona. On easy → code length is "
        "ahead of every method, by 0.100 (0.050 to 0.150) of mms, the best of them."
    )
    always = RUN["surface"].with_columns(verdict=pl.when("best").then(pl.lit(HIGHER)))
    text = beyond_counting(always.filter(model="small"))
    assert text.startswith("On 4 of 4 shifts") and text.endswith("count in the texts).")
    assert beyond_counting(SURFACE.frame()) is None


def test_the_finding_on_labels_says_how_far_probes_come_without_them():
    place = {"model": "small", "intervention": "mms", "source": "easy", "repeats": 199, "p": 0.005, "p_adjusted": 0.005}
    rows = [
        {**place, "target": "hard", "low": 0.1, "median": 0.5, "high": 0.9, "accuracy": 0.8},
        {**place, "target": "code", "low": 0.4, "median": 0.5, "high": 0.6, "accuracy": 0.7, "p": 0.03},
        {**place, "target": "easy", "low": 0.4, "median": 0.5, "high": 0.6, "accuracy": 0.41, "solver_accuracy": 0.95},
    ]
    assert beyond_null(NULLS.frame(rows)) == (
        "Fitted on pairs whose labels were flipped at random (199 times, by one solver for all probes), directions "
        "still reach 0.400 to 0.600 in the middle 95 % on a typical shift, and 0.100 to 0.900 on easy → hard (mms): an "
        "accuracy within that range can be had without labels. The probe's own accuracy is above it in 1 cell of 3, "
        "each judged alone; a probe with a solver of its own may range wider. That of the one solver, on the labels as "
        "they are, is above it in 2 cells."
    )
    assert beyond_null(NULLS.frame()) is None
    html = render("trial", TABLES.having(nulls=NULLS.frame(rows)), {"configuration": {"seed": 3}})
    assert "reach 0.400 to 0.600 in the middle" in html


def test_the_finding_is_on_the_page_and_leads_to_its_section(html):
    assert '<a href="#surface">Surface baselines</a>' in html and 'id="surface"' in html
    assert "is shown to be better than the best of 2 surface baselines" in html


def test_without_baselines_the_page_has_neither_section():
    html = render("trial", TABLES, {"configuration": {"seed": 3}})
    assert 'id="surface"' not in html and 'id="cues"' not in html


def test_rankings_leave_baselines_out():
    frames = {name: pl.DataFrame({"intervention": ["mms", "length"]}) for name in RANKED}
    kept = without_baselines({**frames, "surface": RUN["surface"], "sites": frames["cells"]})
    assert all(kept[name]["intervention"].to_list() == ["mms"] for name in RANKED)
    assert len(kept["sites"]) == 2 and len(kept["surface"]) == len(RUN["surface"])


def test_figures_of_cues_have_a_column_per_method(html):
    content = Page(html).content()
    figures = [figure for figure in content["figures"] if figure["id"].startswith("figure-cues-")]
    assert len(figures) == 4 and len(content["data"]["cues"]) == len(RUN["cues"])


def moved_rows() -> pl.DataFrame:
    shifts = TABLES.metrics.filter(model="large").select("model", "source", "target").unique(maintain_order=True)
    row = {"base": "small", "pairs": 40, "before": 0.3, "after": 0.8, "difference": 0.5, "difference_low": 0.1,
           "difference_high": 0.9, "p_adjusted": 0.01, "verdict": HIGHER, "score_correlation": 0.2}  # fmt: skip
    return MOVED.frame(
        {**place, "intervention": "mms", "rival": rival, **row}
        for place in shifts.iter_rows(named=True)
        for rival in (None, "length")
    )


def test_a_tuned_model_has_a_figure_of_which_direction_moved(html):
    assert "Which direction moved" not in html
    html = render("trial", RUN.having(moved=moved_rows()), {"configuration": {"seed": 3}})
    content = Page(html).content()
    (figure,) = [figure for figure in content["figures"] if figure["id"].startswith("figure-moved-")]
    rows = content["data"]["moved"]
    assert figure["id"] == "figure-moved-0" and "mms: small → large" in html and "Which direction moved" in html
    assert {row["rule"] for row in rows} == {"accuracy", "length"} and {row["star"] for row in rows} == {"*"}
    assert len(rows) == len(moved_rows())


def test_the_base_of_another_runs_model_goes_by_that_runs_name():
    run = RUN.having(moved=moved_rows())
    both = run.beside(Tables({**run.frames}, samples={}), "old")["moved"]
    assert set(both.select("model", "base").rows()) == {("large", "small"), ("large (old)", "small (old)")}


def test_tables_of_another_run_go_beside():
    other = Tables({**RUN.frames}, samples={})
    both = RUN.beside(other, "old")
    assert set(both["surface"]["model"]) == {"small", "large", "small (old)", "large (old)"}


@pytest.mark.skipif(BROWSER is None, reason="needs a browser: install chromium")
@pytest.mark.parametrize("width", [1400, 400])
def test_a_folded_figure_takes_the_width_of_the_page_when_it_is_opened(browser, html, tmp_path: Path, width):
    from test_browser import Opened

    opened = Opened(browser, html, tmp_path, width)
    for name in ("surface", "cues"):
        opened.page.locator(f"#{name} details summary").click()
        drawing = opened.page.locator(f"#figure-{name}-0 svg")
        opened.page.wait_for_timeout(300)
        box = drawing.bounding_box()
        assert box is not None and 0.6 * min(width, 1000) < box["width"] <= width
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    opened.check()
