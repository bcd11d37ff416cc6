"""Tables that people filtered, joined or edited: the page shows them right, or they are refused by file and row."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import polars as pl
import polars.selectors as cs
import pytest
from test_page import ANSWERS, SHIFTS, TABLES, TIES, Page, make_tables, write_run

from genies.errors import StoreError
from genies.evaluation.records import COSTS, JOBS, REWARD_MODELS
from genies.evaluation.seen import COUNTS
from genies.evaluation.tables import (
    answers,
    best_of_n,
    causal,
    claims,
    cues,
    direction_layers,
    directions,
    erasure,
    few_labels,
    learning_curves,
    moved,
    nulls,
    own_scores,
    prediction_alarms,
    prediction_errors,
    predictions,
    risk_coverage,
    sets,
    surface,
    text_scores,
    ties,
    transfer,
    wording_variance,
    wordings,
)
from genies.files import write_json
from genies.report import tables as report_tables
from genies.report.checked import check
from genies.report.findings import findings
from genies.report.page import render, write_report_from_tables
from genies.report.tables import SWEEP, Tables
from genies.stages.sweep import COLUMNS as SWEEP_COLUMNS

SETS = [
    {"model": "small", "intervention": "mms", "source": "easy", "target": target, "sets": 4, "fewest_pairs": 9,
     "accuracy": 0.6, "accuracy_sd": 0.1, "accuracy_least": 0.5, "accuracy_most": 0.7, "added_error": added}
    for target, added in (("hard", 0.011), ("code", 0.022))
]  # fmt: skip
OWN_SCORE = {
    "model": "small", "intervention": "mms", "source": "easy", "target": "hard", "subset": "Math", "examples": 5,
    "pairs": 15, "accuracy": 0.8, "accuracy_by_example": 0.8, "score": 0.6, "chance": 0.25,
}  # fmt: skip
CLAIM = {
    "claim": "LoRA elicits", "stated_for": "llama-30b", "stated": 0.5, "model": "small", "figure": "f",
    "recomputed": 0.7, "low": 0.6, "high": 0.8, "over": "15 shifts",
}  # fmt: skip
COST = {"model": "small", "stage": "probe", "intervention": "mms", "source": "easy", "seconds": 4.0, "bytes": 9}
JOB = {"rule": "probe", "model": "small", "intervention": "mms", "job": "mms", "seconds": 5.0}
REWARDS = {
    "model": "small", "intervention": "reward_model", "source": "easy", "distribution": "hard", "format": "judge",
    "written": "chat", "library": "transformers 5.23.0", "texts": 3, "difference": 1e-7, "elsewhere": 0, "judged": 40,
    "order_decides": 9, "toward_first": -0.25,
}  # fmt: skip
PLACED = {"model": "small", "intervention": "mms", "source": "easy", "target": "hard"}
LENGTH = {**PLACED, "intervention": "length", "accuracy": 0.6, "low": 0.5, "high": 0.7, "best": True, "other": "mms",
          "lead": 0.1, "lead_low": 0.0, "lead_high": 0.2, "p_adjusted": 0.04, "verdict": "higher"}  # fmt: skip
CUE = {**PLACED, "rival": "length", "agree_pairs": 30, "agree_accuracy": 0.9, "conflict_pairs": 10,
       "conflict_accuracy": 0.2, "undecided_pairs": 0, "follows": 0.875}  # fmt: skip
BY_CHANCE = {**PLACED, "repeats": 199, "solver_accuracy": 0.7, "low": 0.3, "median": 0.5, "high": 0.8, "p": 0.2,
             "accuracy": 0.7, "p_adjusted": 0.2}  # fmt: skip
MOVED = {**PLACED, "base": "smaller", "rival": "length", "pairs": 40, "before": 0.3, "after": 0.8, "difference": 0.5,
         "difference_low": 0.1, "difference_high": 0.9, "p_adjusted": 0.01, "verdict": "higher",
         "score_correlation": 0.2}  # fmt: skip
PREDICTION = {**PLACED, "predictor": "regression", "target_reference": "hard", "accuracy": 0.4,
              "predicted": 0.5, "predicted_low": 0.2,
              "predicted_high": 0.8, "mean_elsewhere": 0.6, "unrelated_shifts": 9, "source_accuracy": 0.9}  # fmt: skip
PREDICTION_ERROR = {
    "model": "small", "predictor": "regression", "intervention": None, "pairs": None, "median_pairs": 250,
    "shifts": 12, "cells": 24, "error": 0.1,
    "error_of_mean": 0.2, "error_of_source": 0.3, "lead_over_mean": 0.1, "lead_over_mean_low": 0.02,
    "lead_over_mean_high": 0.2, "lead_over_source": 0.2, "lead_over_source_low": 0.1, "lead_over_source_high": 0.3,
    "degrees_of_freedom": 6.0, "coverage": 0.9, "width": 0.4, "verdict": "beats both",
    "coverage_of_sources": 0.9, "fewest_sources": 12,
}  # fmt: skip
PREDICTION_ALARM = {"model": "small", "predictor": "regression", "pairs": None, "below": 0.5,
                    "cells": 5, "others": 19, "alarms": 4, "false_alarm_rate": 0.05, "miss_rate": 0.4}  # fmt: skip
TEXT_SCORES = {
    **PLACED, "comparable_across_prompts": True, "good_texts": 20, "worse_texts": 60, "auroc": 0.7, "auroc_low": 0.6,
    "auroc_high": 0.8, "pair_accuracy": 0.7, "source_worse_texts": 60, "threshold_5": 1.5, "recall_5": 0.2,
    "recall_5_low": 0.1, "recall_5_high": 0.3, "false_positives_5": 0.1, "false_positives_5_low": 0.05,
    "false_positives_5_high": 0.2,
}  # fmt: skip
COVERED = {**PLACED, "pairs": 60, **{f"accuracy_at_{tens}0": 0.9 - 0.02 * tens for tens in range(1, 11)},
           "area": 0.8, "area_low": 0.7, "area_high": 0.9, "gain": 0.1, "gain_low": 0.0, "gain_high": 0.2}  # fmt: skip
OF_N = {**PLACED, "responses": 4, "n": 4, "examples": 20, "accuracy": 0.5, "accuracy_low": 0.3, "accuracy_high": 0.7,
        "at_most": 1.0, "promised": 0.6, "gap": 0.1, "gap_low": -0.1, "gap_high": 0.3}  # fmt: skip
CURVE = [
    {**PLACED, "size": size, "draws": draws, "accuracy": 0.6, "accuracy_sd": 0.02, "low": 0.5, "high": 0.7}
    for size, draws in ((10, 5), (40, 1))
]
LABELS = [
    {**PLACED, "chosen": chosen, "examples": count, "copies": count and 4, "draws": 5, "accuracy": 0.6,
     "accuracy_sd": 0.02, "low": 0.5, "high": 0.7}
    for chosen, count in (("none", 0), ("random", 8), ("uncertain", 8))
]  # fmt: skip
WORDED = [
    {**PLACED, "wording": wording, "seeds": 10, "accuracy": 0.6, "accuracy_sd": 0.02, "low": 0.5, "high": 0.7}
    for wording in range(3)
]
VARIES = {"model": "small", "intervention": "mms", "shifts": 1, "wordings": 3, "seeds": 10, "accuracy": 0.6,
          "lowest": 0.58, "highest": 0.62, "wording_sd": 0.02, "seed_sd": 0.01, "both_sd": 0.0, "example_sd": 0.03,
          "rest_sd": 0.02}  # fmt: skip
AGREES = {"model": "small", "layer": 3, "intervention": "mean_difference", "source": "easy",
          "other": "mean_difference", "other_source": "hard", "agreement": 0.1, "ceiling": 0.8}  # fmt: skip
OF_LAYER = {"model": "small", "intervention": "mean_difference", "layer": 3, "sources": 2, "own_accuracy": 0.9,
            "agreement": 0.1, "ceiling": 0.8, "effective": 1.98, "effective_if_shared": 1.2,
            "effective_if_unrelated": 1.9, "p_related": 0.9, "transfer_r": 0.4}  # fmt: skip
TRANSFERRED = {**PLACED, "layer": 3, "predicted_accuracy": 0.7, "accuracy": 0.72, "remainder": 0.02}
ERASED = {**PLACED, "layer": 3, "accuracy": 0.8, "erased_accuracy": 0.6, "loss": 0.2, "random_loss": 0.0,
          "random_loss_most": 0.03, "draws": 19, "p": 0.05}  # fmt: skip
CAUSED = {"model": "small", "source": "easy", "target": "hard", "layer": 3, "change": "erased", "texts": 200,
          "lead": 1.5, "effect": -0.4, "low": -0.6, "high": -0.2, "random_effect": 0.01, "random_low": -0.1,
          "random_high": 0.1, "draws": 19, "p": 0.05, "p_adjusted": 0.05}  # fmt: skip
FULL = TABLES.having(
    moved=moved.TABLE.frame([MOVED]),
    predictions=predictions.TABLE.frame([PREDICTION]),
    prediction_errors=prediction_errors.TABLE.frame([PREDICTION_ERROR, {**PREDICTION_ERROR, "intervention": "mms"}]),
    prediction_alarms=prediction_alarms.TABLE.frame([PREDICTION_ALARM]),
    text_scores=text_scores.TABLE.frame([TEXT_SCORES]),
    risk_coverage=risk_coverage.TABLE.frame([COVERED]),
    best_of_n=best_of_n.TABLE.frame([OF_N]),
    directions=directions.TABLE.frame([AGREES]),
    direction_layers=direction_layers.TABLE.frame([OF_LAYER]),
    transfer=transfer.TABLE.frame([TRANSFERRED]),
    erasure=erasure.TABLE.frame([ERASED]),
    causal=causal.TABLE.frame([CAUSED, {**CAUSED, "change": "added", "strength": 1.0}]),
    surface=surface.TABLE.frame([LENGTH]),
    cues=cues.TABLE.frame([CUE]),
    nulls=nulls.TABLE.frame([BY_CHANCE]),
    learning_curves=learning_curves.TABLE.frame(CURVE),
    few_labels=few_labels.TABLE.frame(LABELS),
    wordings=wordings.TABLE.frame(WORDED),
    wording_variance=wording_variance.TABLE.frame([VARIES, {**VARIES, "source": "easy", "target": "hard"}]),
    sets=sets.TABLE.frame(SETS),
    own_scores=own_scores.TABLE.frame([OWN_SCORE]),
    claims=claims.TABLE.frame([CLAIM]),
    costs=COSTS.frame([COST]),
    jobs=JOBS.frame([JOB]),
    reward_models=REWARD_MODELS.frame([REWARDS]),
    answers=pl.DataFrame(ANSWERS, schema=answers.TABLE.columns, orient="row"),
    ties=pl.DataFrame(TIES, schema=ties.TABLE.columns, orient="row"),
    overlap=pl.DataFrame([("easy", "hard", 40, 18, 17, 5, 1, 2, 4, 3, 2, 1)], schema=COUNTS.columns, orient="row"),
)
"""No table is empty."""
RULES = {name: table.rows for name, table in report_tables.TABLES.items() if table.rows}
NEVER_EMPTY = [(name, column) for name, rule in RULES.items() for column in (*rule.present, *rule.own)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder, FULL, 11)
    return folder


@pytest.fixture
def edited(folder: Path) -> Callable[..., Tables]:
    """Reads the run with some files put in the place of its own, by table; its own come back afterwards."""
    own = {path: path.read_bytes() for path in folder.glob("*.csv")}

    def read(**files: pl.DataFrame | bytes) -> Tables:
        for name, content in files.items():
            path = folder / report_tables.TABLES[name].file
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                content.write_csv(path)
        try:
            return Tables.of_run(folder)
        finally:
            for path, content in own.items():
                path.write_bytes(content)

    return read


def checked(**frames: pl.DataFrame) -> None:
    """Checks the run's tables, some of them put in the place of its own, as reading them does."""
    check({**{name: FULL[name] for name in report_tables.TABLES}, **frames}, Path("run"), report_tables.TABLES)


def emptied(frame: pl.DataFrame, column: str, row: int = 0) -> pl.DataFrame:
    return frame.with_columns(pl.when(pl.int_range(pl.len()) != row).then(pl.col(column)).alias(column))


def words(tables: Tables) -> str:
    """What the page says, without what its figures draw."""
    page = render("trial", tables, {})
    return re.sub(r"<[^>]+>", " ", page[: page.index("<script")])


@cache
def words_of_full() -> str:
    return words(FULL)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Of all tables only the rows of one are checked: whether the others hold is known, and takes long."""

    def only(name: str) -> None:
        others = {other: replace(table, rows=None) for other, table in report_tables.TABLES.items() if other != name}
        monkeypatch.setattr(report_tables, "TABLES", {**report_tables.TABLES, **others})

    return only


def test_the_run_has_a_row_of_every_table_and_is_shown_as_it_is(edited: Callable[..., Tables]) -> None:
    unused = {"correlations", "means"}
    assert (
        {name for name in report_tables.TABLES if not len(FULL[name])} == unused == {*report_tables.TABLES} - {*RULES}
    )
    assert words(edited()) == words_of_full()


@pytest.mark.parametrize(("table", "column"), NEVER_EMPTY, ids=[".".join(names) for names in NEVER_EMPTY])
def test_what_no_run_leaves_empty_is_refused_by_file_row_and_column(
    alone: Callable[[str], None], table: str, column: str
) -> None:
    alone(table)
    frame = FULL[table]
    where = RULES[table].where if column in RULES[table].own else ""
    rows = [n for n, row in enumerate(frame.iter_rows(named=True)) if not where or row[where] is None]
    file = re.escape(report_tables.TABLES[table].file)
    with pytest.raises(StoreError, match=rf"{file}, row {rows[-1] + 2} .*{column} is empty; restore the tables, or"):
        checked(**{table: emptied(frame, column, rows[-1])})


@pytest.mark.parametrize("rows", ["one row", "all rows"])
def test_every_other_cell_may_be_empty_and_is_no_word_on_the_page(edited: Callable[..., Tables], rows: str) -> None:
    """All of them at once; ends of intervals and their verdicts go together."""
    found: dict[str, pl.DataFrame] = {}
    together = {"p_adjusted", "interval_over", "averaged_over"}
    for name in RULES:
        frame = FULL[name]
        for column in frame.columns:
            if (name, column) in NEVER_EMPTY or column in {*RULES[name].keys, *together}:
                continue
            frame = (
                frame.with_columns(pl.lit(None, frame[column].dtype).alias(column))
                if rows == "all rows"
                else (emptied(frame, column))
            )
        found[name] = frame
    told = words(edited(**found))
    assert not re.search(r"\b(None|nan|null)\b", told.replace("None of the", ""))
    assert "–" in told


def test_an_empty_added_error_is_a_dash_in_the_last_row(edited: Callable[..., Tables]) -> None:
    page = render("trial", edited(sets=emptied(FULL["sets"], "added_error")), {})
    rows = page[page.index('data-name="sets"') :].partition("</table>")[0].split("<tr>")[2:]
    assert [Page(row).texts("td")[0] for row in rows] == ["code", "hard"]
    assert ">0.022</td>" in rows[0] and ">–</td>" in rows[1]


def test_what_further_seeds_and_batches_repeat_is_no_row_that_stands_twice() -> None:
    """Trainings under further seeds have one name in costs, a split may be compared in several batches, and Snakemake
    may not have measured a job."""
    untimed = FULL["jobs"].with_columns(seconds=pl.lit(None, pl.Float64))
    checked(jobs=untimed, **{name: pl.concat([FULL[name]] * 2) for name in ("costs", "checks")})


@pytest.mark.parametrize("table", [name for name, rule in RULES.items() if not rule.repeats])
def test_a_row_that_stands_twice_is_refused(alone: Callable[[str], None], table: str) -> None:
    alone(table)
    frame = FULL[table]
    last = rf"row {len(frame) + 2} .*an earlier row has the same {', '.join(RULES[table].keys)}"
    with pytest.raises(StoreError, match=last):
        checked(**{table: pl.concat([frame, frame.head(1)])})


def test_metrics_without_rows_are_refused_and_other_tables_may_be_empty(edited: Callable[..., Tables]) -> None:
    with pytest.raises(StoreError, match=r"generalization_metrics\.csv: has no rows, so there is nothing to show"):
        edited(generalization_metrics=FULL.metrics.clear())
    needed = ("generalization_metrics", "leaderboard")
    bare = edited(**{name: FULL[name].clear() for name in RULES if name not in needed})
    assert "has the highest mean accuracy" in words(bare) and "It was not compared with" in words(bare)


METRICS, BOARD, COMPARED = FULL.metrics, FULL["leaderboard"], FULL["comparisons"]
FIRST = pl.int_range(pl.len()) == 0
TESTED = COMPARED.with_columns(
    low=-1.0, high=1.0, p_adjusted=0.5, interval_over=pl.lit("new shifts"), verdict=pl.lit("not distinguishable")
)
CONTRADICTIONS: Mapping[str, tuple[dict[str, pl.DataFrame], str]] = {
    "a method that the metrics lack": (
        {"generalization_metrics": METRICS.filter(pl.col("intervention") != "mms")},
        r"leaderboard\.csv, row \d+ .*has no row of this intervention \(mms\); filter all tables alike",
    ),
    "a method that the leaderboard lacks": (
        {"leaderboard": BOARD.filter(pl.col("intervention") != "mms")},
        r"generalization_metrics\.csv, row \d+ .*leaderboard\.csv has no row of this intervention \(mms\)",
    ),
    "a model that the metrics lack": (
        {"reliability": FULL["reliability"].filter(model="small").with_columns(model=pl.lit("other"))},
        r"reliability\.csv, row 2 \(other, .*generalization_metrics\.csv has no row of this",
    ),
    "a method compared with one that the metrics lack": (
        {"comparisons": COMPARED.with_columns(other=pl.when(FIRST).then(pl.lit("nowhere")).otherwise("other"))},
        r"comparisons\.csv, row 2 .*no row of this other \(nowhere\)",
    ),
    "means over shifts that the metrics lack": (
        {"generalization_metrics": METRICS.filter(pl.col("target") != "hard")},
        r"leaderboard\.csv, row 2 .*is a mean over 4 shifts, but generalization_metrics\.csv has 3 of them",
    ),
    "an accuracy above 1": (
        {"generalization_metrics": METRICS.with_columns(generalization_accuracy=pl.lit(71.3))},
        r"generalization_metrics\.csv, row 2 .*generalization_accuracy is 71\.3, which does not lie within 0 and 1",
    ),
    "a count below 0": (
        {"leaderboard": BOARD.with_columns(shifts=pl.lit(-1))},
        r"leaderboard\.csv, row 2 .*shifts is -1, which is below 0",
    ),
    "an interval with one end": (
        {"leaderboard": BOARD.with_columns(brier_low=pl.lit(0.1), brier_high=pl.lit(None, pl.Float64))},
        r"leaderboard\.csv, row 2 .*of brier_low and brier_high one is empty",
    ),
    "an interval with its ends exchanged": (
        {"cells": FULL["cells"].rename({"low": "high", "high": "low"}).select(FULL["cells"].columns)},
        r"cells\.csv, row 2 .*low is larger than high",
    ),
    "a verdict that there is none of": (
        {"comparisons": COMPARED.with_columns(verdict=pl.lit("much better"))},
        r"comparisons\.csv, row 2 .*verdict is none of higher, lower, not distinguishable, not tested",
    ),
    "a verdict without a p-value": (
        {"comparisons": COMPARED.with_columns(verdict=pl.lit("higher"), p_adjusted=pl.lit(None, pl.Float64))},
        r'comparisons\.csv, row 2 .*p_adjusted must be empty where the verdict is "not tested", and only there',
    ),
    "a mean that is not that of the metrics": (
        {"leaderboard": BOARD.with_columns(generalization_accuracy=pl.col("generalization_accuracy") + 0.02,
                                           generalization_accuracy_low=0.0, generalization_accuracy_high=1.0)},
        r"leaderboard\.csv, row 2 .*generalization_accuracy is 0\.\d+, but the mean of generalization_metrics\.csv is",
    ),
    "a mean outside its own interval": (
        {"leaderboard": BOARD.with_columns(brier_low=pl.lit(0.9), brier_high=pl.lit(0.95))},
        r"leaderboard\.csv, row 2 .*brier does not lie within brier_low and brier_high",
    ),
    "an accuracy outside its own interval": (
        {"generalization_metrics": METRICS.with_columns(generalization_accuracy_low=pl.lit(0.0),
                                                        generalization_accuracy_high=pl.lit(0.1))},
        r"generalization_metrics\.csv, row 2 .*generalization_accuracy does not lie within generalization_accuracy_low",
    ),
    "an interval that lacks its difference": (
        {"comparisons": TESTED.with_columns(low=pl.col("difference") + 0.02, high=pl.col("difference") + 0.03)},
        r"comparisons\.csv, row 2 .*difference does not lie within low and high",
    ),
    "higher, but the interval contains 0": (
        {"comparisons": TESTED.with_columns(verdict=pl.lit("higher"))},
        r"comparisons\.csv, row 2 .*verdict is higher, but the interval is -1 to 1",
    ),
    "lower, but the interval is above 0": (
        {"comparisons": TESTED.with_columns(verdict=pl.lit("lower"), difference=0.3, low=0.2, high=0.4)},
        r"comparisons\.csv, row 2 .*verdict is lower, but the interval is 0\.2 to 0\.4",
    ),
    "not distinguishable, but the interval leaves out 0": (
        {"comparisons": TESTED.with_columns(difference=-0.3, low=-0.4, high=-0.2)},
        r"comparisons\.csv, row 2 .*verdict is not distinguishable, but the interval is -0\.4 to -0\.2",
    ),
    "means over all labels left out": (
        {name: frame.filter(label="extreme") for name, frame in (("generalization_metrics", METRICS),
         ("leaderboard", BOARD), ("elicitation_by_category", FULL["elicitation_by_category"]))},
        r"leaderboard\.csv has no row of label \"all\" and averaged_over \"distinct\" of this intervention \(random\)",
    ),
    "an interval that is for nothing known": (
        {"comparisons": COMPARED.with_columns(low=0.1, high=0.2, interval_over=pl.lit(None, pl.String))},
        r'comparisons\.csv, row 2 .*interval_over must be "new shifts" or "examples" where there is an interval',
    ),
}  # fmt: skip


@pytest.mark.parametrize(("files", "error"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_tables_that_contradict_each_other_or_themselves_are_refused(
    files: dict[str, pl.DataFrame], error: str
) -> None:
    with pytest.raises(StoreError, match=error):
        checked(**files)


@pytest.mark.parametrize("digits", [2, 3])
def test_tables_that_are_rounded_are_no_contradiction(digits: int) -> None:
    checked(**{
        name: FULL[name].with_columns(cs.float().round(digits))
        for name in ("generalization_metrics", "leaderboard", "comparisons")
    })  # fmt: skip


def test_the_names_of_a_row_are_cut_in_an_error() -> None:
    long = "x" * 5000
    frame = METRICS.with_columns(model=pl.lit(long), generalization_accuracy=pl.lit(None, pl.Float64))
    with pytest.raises(StoreError, match="…") as refused:
        checked(generalization_metrics=frame)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("order", ["reversed", "by name"])
def test_the_order_of_rows_changes_nothing_that_the_page_says_of_means(
    edited: Callable[..., Tables], order: str
) -> None:
    board = BOARD.reverse() if order == "reversed" else BOARD.sort("intervention", "averaged_over", "label")
    resorted = edited(leaderboard=board)
    assert findings(resorted) == findings(FULL)
    assert resorted.ranked()["leaderboard"].filter(model="small").equals(BOARD.filter(model="small"))
    assert words(resorted.by_size()) == words_of_full()


def test_filtered_tables_without_the_best_method_say_so_of_differences_to_it(edited: Callable[..., Tables]) -> None:
    best = BOARD["intervention"][0]
    rest = {
        name: FULL[name].filter(pl.col("intervention") != best)
        for name in ("generalization_metrics", "leaderboard", "elicitation_by_category", "reliability")
    }
    rest["comparisons"] = COMPARED.filter(pl.col("intervention") != best, pl.col("other") != best)
    told = words(edited(**rest))
    assert "the best one is not in these tables" in told and "best here" in told
    assert "the best one is not in these tables" not in words_of_full()


@pytest.mark.parametrize("table", ["generalization_metrics", "leaderboard", "comparisons"])
def test_files_as_other_programs_write_them_are_read_alike(edited: Callable[..., Tables], table: str) -> None:
    own = edited()[table]
    for content in (
        FULL[table].write_csv().replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + FULL[table].write_csv().encode(),
        FULL[table].write_csv(quote_style="non_numeric").encode(),
        FULL[table].write_csv(quote_style="always").encode(),
    ):
        assert edited(**{table: content})[table].equals(own)


def test_tables_with_intervals_that_agree_are_taken() -> None:
    checked(comparisons=TESTED)
    checked(
        comparisons=TESTED.with_columns(verdict=pl.lit("higher"), difference=0.3, low=0.2, high=0.4, p_adjusted=0.01)
    )


def test_whole_numbers_that_another_program_wrote_with_a_point_are_read(edited: Callable[..., Tables]) -> None:
    """As pandas does where a column of whole numbers has an empty cell."""
    for name in ("leaderboard", "generalization_metrics", "texts"):
        frame = FULL[name]
        pointed = frame.with_columns(
            (pl.col(column).cast(pl.String) + ".0").alias(column)
            for column, kind in frame.schema.items() if kind.is_integer()
        )  # fmt: skip
        assert edited(**{name: pointed})[name].equals(edited()[name])
    half = BOARD.with_columns(shifts=pl.col("shifts").cast(pl.String) + ".5")
    with pytest.raises(StoreError, match=r"leaderboard\.csv: column shifts holds 4\.5, which is no whole number"):
        edited(leaderboard=half)


def test_a_column_without_a_name_is_refused_as_one(edited: Callable[..., Tables]) -> None:
    content = "\n".join(f"{n},{line}" for n, line in enumerate(BOARD.write_csv().splitlines()))
    content = content.replace("0,", ",", 1)
    with pytest.raises(StoreError, match=r"leaderboard\.csv: has a column without a name, as programs write an index"):
        edited(leaderboard=content.encode())


SIGNS = "\u202e\u2066\u200f\x1b\x00\ufffe"


def test_names_cannot_turn_the_words_around_them(edited: Callable[..., Tables]) -> None:
    """A sentence after such a name would show its figures from right to left."""
    named = {
        name: FULL[name].with_columns(pl.col("model").replace("small", f"sm{SIGNS}all"))
        for name in RULES
        if "model" in FULL[name].columns
    }
    page = render("trial", edited(**named), {})
    assert not set(SIGNS) & set(page)
    assert "sm" + "\ufffd" * len(SIGNS) + "all" in page


@pytest.mark.parametrize("value", ["NaN", "inf", "-inf", "1e999", "high", "0,5"])
def test_what_is_no_number_is_refused(edited: Callable[..., Tables], value: str) -> None:
    odd = pl.when(FIRST).then(pl.lit(value)).otherwise(pl.col("brier").cast(pl.String))
    with pytest.raises(StoreError, match=r"generalization_metrics\.csv.*brier"):
        edited(generalization_metrics=METRICS.with_columns(brier=odd))


def test_other_columns_are_refused(edited: Callable[..., Tables]) -> None:
    with pytest.raises(StoreError, match=r"leaderboard\.csv: has more: place"):
        edited(leaderboard=BOARD.with_columns(place=pl.lit(1)))
    with pytest.raises(StoreError, match=r"leaderboard\.csv: has its columns in another order"):
        edited(leaderboard=BOARD.select(reversed(BOARD.columns)))


OPTIONAL = [name for name, table in report_tables.TABLES.items() if table.optional]


@pytest.mark.parametrize("name", [name for name in report_tables.TABLES if name not in OPTIONAL])
def test_a_file_that_every_run_has_is_asked_for(folder: Path, name: str) -> None:
    file = folder / report_tables.TABLES[name].file
    content = file.read_bytes()
    file.unlink()
    try:
        with pytest.raises(StoreError, match=rf"{re.escape(file.name)}: file not found; run snakemake again"):
            Tables.of_run(folder)
    finally:
        file.write_bytes(content)


@pytest.mark.parametrize("names", [["ties"], ["claims", "texts", "jobs"], OPTIONAL], ids=len)
def test_files_that_are_missing_are_named_on_the_page(tmp_path: Path, names: list[str]) -> None:
    write_run(tmp_path, FULL, 11)
    assert Tables.of_run(tmp_path).absent == ()
    files = [table.file for name, table in report_tables.TABLES.items() if name in names]
    for file in files:
        (tmp_path / file).unlink()
    told = " ".join(words(Tables.of_run(tmp_path)).split()).replace(" ,", ",").replace(" :", ":")
    listed = ", no ".join(files[:-1]) + " and no " + files[-1] if len(files) > 1 else files[0]
    holds = "it holds" if len(files) == 1 else "they hold"
    assert f"The folder of these results has no {listed}: the page shows nothing of what {holds}." in told


def test_what_was_read_is_not_known_without_the_table_of_texts() -> None:
    assert "folder of these results has no" not in words_of_full()
    told = words(FULL.having(texts=FULL["texts"].clear()))
    assert "is not known: there is no texts.csv" in " ".join(told.split())
    assert "0 examples" not in told and "All fit into" not in told
    assert "is not known: there is no" not in words_of_full()


def test_a_sweep_is_read_as_its_stage_writes_it_and_refused_where_it_is_missing(folder: Path, tmp_path: Path) -> None:
    assert tuple(SWEEP.columns) == SWEEP_COLUMNS
    write_run(tmp_path, TABLES, 11)
    provenance = tmp_path / "provenance.json"
    write_json(provenance, {"configuration": {"sweep": {"values": {}}}})
    with pytest.raises(StoreError, match=r"sweep\.csv: file not found; run snakemake again to make it"):
        write_report_from_tables(tmp_path, title="t", provenance=provenance, output=tmp_path / "report.html")
    row = ("small", "lora", "easy", '{"learning_rate": 0.1}', 0.612, 0.511, 0.713, 40, 20)
    SWEEP.write(pl.DataFrame([row], schema=SWEEP.columns, orient="row"), tmp_path)
    write_report_from_tables(tmp_path, title="t", provenance=provenance, output=tmp_path / "report.html")
    assert ">0.612<small>0.511 to 0.713</small>" in (tmp_path / "report.html").read_text(encoding="utf-8")


BAD_SAMPLES = {
    "no object": [1],
    "a target without pairs": {"hard": {"columns": [["small", "mms", "easy"]]}},
    "a column without a source": {"hard": {"columns": [["small", "mms"]], "pairs": []}},
    "a pair without a verdict for each column": {
        "hard": {
            "columns": [["small", "mms", "easy"]],
            "pairs": [{"prompt": "p", "best": "b", "worse": "w", "verdicts": []}],
        }
    },
    "a pair without its texts": {
        "hard": {"columns": [], "pairs": [{"prompt": None, "best": "b", "worse": "w", "verdicts": []}]}
    },
}


@pytest.mark.parametrize("samples", BAD_SAMPLES.values(), ids=BAD_SAMPLES)
def test_samples_that_cannot_be_shown_are_refused(tmp_path: Path, samples: object) -> None:
    write_run(tmp_path, TABLES, 11)
    assert Tables.of_run(tmp_path).samples == TABLES.samples
    write_json(tmp_path / "samples.json", samples)
    where = "samples.json: " if isinstance(samples, list) else "samples.json: hard "
    with pytest.raises(
        StoreError, match=f"{where}is not as the workflow writes it; restore it, or delete it and make it again"
    ):
        Tables.of_run(tmp_path)


@pytest.mark.parametrize("configuration", [[], "x", None])
def test_a_provenance_whose_configuration_is_no_object_is_refused(tmp_path: Path, configuration: object) -> None:
    write_run(tmp_path, TABLES, 11)
    provenance = tmp_path / "provenance.json"
    write_json(provenance, {"configuration": configuration})
    with pytest.raises(
        StoreError, match=r"provenance\.json: its configuration is no object; restore it, or delete it and make"
    ):
        write_report_from_tables(tmp_path, title="t", provenance=provenance, output=tmp_path / "report.html")


def test_a_run_of_one_method_on_one_shift_is_shown() -> None:
    one = make_tables(["small"], ["mms"], SHIFTS[:1])
    told = words(one)
    assert "mms is the only method; its mean accuracy over 1 shift is 0." in told and "Its lead" not in told
    assert "correlate" not in told.split("Leaderboard")[0]
