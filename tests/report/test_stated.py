"""What the page says next to its tables and figures: true of each, and with spaces between sentences."""

from __future__ import annotations

import json
import re

import polars as pl
import pytest
from test_page import TABLES, planted, section

from genies.evaluation.tables.claims import TABLE as CLAIMS
from genies.report.page import render


def test_what_intervals_are_for_is_true_of_each() -> None:
    row = {"claim": "c", "stated_for": "m", "stated": 0.5, "model": "small", "figure": "r with zero_shot",
           "recomputed": 0.7, "low": 0.6, "high": 0.8, "over": "15 shifts"}  # fmt: skip
    text = " ".join(section(render("trial", TABLES.having(claims=CLAIMS.frame([row])), {}), "claims").split())
    assert (
        "unless the figure says that they are for new examples; that of a correlation holds as if shifts were" in text
    )


@pytest.mark.parametrize("left_out", [0, 3])
def test_sentences_about_texts_have_spaces_between_them(left_out: int) -> None:
    texts = TABLES["texts"].with_columns(left_out=pl.lit(left_out), shortened=pl.lit(0))
    shown = section(render("trial", TABLES.having(texts=texts), {}), "texts")
    words = re.sub(r"<[^>]+>", "", shown)
    assert "two responses are the same tokens" in words and "the end of the prompt" in words
    assert not re.findall(r"\S*[a-z]\.[A-Z]\S*", words)


def test_marks_of_the_heatmap_are_as_its_legend_says() -> None:
    """A cell has one mark: an interval below 0.5 or one that contains it goes before the capability."""
    above = {"generalization_accuracy": 0.7, "target_tuned_capability": 0.6}
    marks = {
        "▾": {**above, "generalization_accuracy_low": 0.3, "generalization_accuracy_high": 0.45},
        "≈": {**above, "generalization_accuracy_low": 0.4, "generalization_accuracy_high": 0.8},
        "▴": {**above, "generalization_accuracy_low": 0.6, "generalization_accuracy_high": 0.8},
        "": {**above, "generalization_accuracy_low": 0.6, "generalization_accuracy_high": 0.8,
             "target_tuned_capability": 0.9},
    }  # fmt: skip
    for mark, own in marks.items():
        page = render("trial", planted(own), {})
        cells = json.loads(re.search(r'id="content">(.*?)</script>', page, re.DOTALL)[1])["data"]["cells-0"]
        assert mark in {cell["mark"] for cell in cells}
    legend = " ".join(section(page, "shifts").split())
    assert "▾ marks an interval below 0.5, ≈ one that contains 0.5, and among all other cells ▴ an accuracy" in legend


def test_the_mean_row_of_the_heatmap_has_the_mean_capability_and_names_have_room() -> None:
    run = TABLES.having(generalization_metrics=TABLES.metrics.with_columns(
        target_tuned_capability=pl.when(pl.col("target") == "hard").then(0.6).otherwise(0.8)
    ))  # fmt: skip
    page = render("trial", run, {})
    content = json.loads(re.search(r'id="content">(.*?)</script>', page, re.DOTALL)[1])
    (mean,) = (row for row in content["data"]["besides-0"] if row["intervention"] == "capability" and row["wide"] == 0)
    assert mean["generalization_accuracy"] == pytest.approx(0.75) and mean["told"] == "mean over 4 shifts"
    (wide,) = (figure["wide"] for figure in content["figures"] if figure["id"] == "figure-heatmap-0")
    assert min(int(limit) for limit in re.findall(r'"labelLimit": (\d+)', json.dumps(wide))) >= 160
    assert wide["padding"]["right"] >= 5
