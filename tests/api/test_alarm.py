"""The alarm of a fit for texts without labels, from a run's tables and evaluations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from unlabelled_worlds import METHODS, world

import genies
from genies.errors import ConfigError, DataError, StoreError
from genies.evaluation.evaluations import PAIR_COLUMNS, write_evaluation
from genies.evaluation.jackknife import Direct
from genies.evaluation.measurements import Measurements
from genies.evaluation.related import SHARED
from genies.evaluation.scored import Scored
from genies.evaluation.seen import COUNTS
from genies.evaluation.table import Table
from genies.evaluation.tables import cells, prediction_alarms, prediction_errors, predictions, surface
from genies.evaluation.unlabelled import QUANTITIES, Panel

NAMES = ("zero_shot", *METHODS)


def write(folder: Path, follows: float, shifts: int = 16) -> Path:
    """A run of a planted world, as far as the alarm reads it."""
    metrics, scores = world(shifts, 60, follows, 3)
    run = Measurements(pl.DataFrame(), metrics, scores)
    for name, module in (("predictions", predictions), ("prediction_errors", prediction_errors),
                         ("prediction_alarms", prediction_alarms)):  # fmt: skip
        module.TABLE.write(run[name], folder)
    rows = []
    for (model, name, source, target), own in scores.items():
        rows.append({"model": model, "intervention": name, "source": source, "target": target,
                     "accuracy": own.correct.mean(), "test_pairs": 60})  # fmt: skip
        if target == source:
            frame = pl.DataFrame(
                {"target": [source] * 60, "example": own.cluster, "pair": [0] * 60, "cluster": own.cluster,
                 "probability": own.probability}
            )  # fmt: skip
            lacking = [pl.lit(None, kind).alias(n) for n, kind in PAIR_COLUMNS.items() if n not in frame.columns]
            path = folder / "evaluations" / model / name / f"{source}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_evaluation(path, [frame.with_columns(lacking).select(*PAIR_COLUMNS)], {})
    cells.TABLE.write(cells.TABLE.frame(rows), folder)
    surface.TABLE.write(surface.TABLE.frame(), folder)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("run"), 1.0)


def verdicts(agree: float, pairs: int = 200) -> dict[str, np.ndarray]:
    """Probabilities of pairs in any order; methods rank so many as zero_shot does."""
    generator = np.random.default_rng(0)
    base = generator.random(pairs)
    same = generator.random((len(METHODS), pairs)) < agree
    return {"zero_shot": base} | {n: np.where(row, base, 1 - base) for n, row in zip(METHODS, same, strict=True)}


def test_the_alarm_is_raised_for_texts_on_which_the_probe_goes_against_the_cue(run: Path) -> None:
    alarm = genies.load_alarm(run, "mms", "s0", below=0.6)
    assert {*alarm.needs} == {*NAMES} and alarm.smallest_batch <= 60
    bad, good = alarm.foresee(verdicts(0.02)), alarm.foresee(verdicts(0.98))
    assert bad.predicted < 0.45 < 0.55 < good.predicted and bad.low <= bad.predicted <= bad.high
    assert not bad.carries_over and not alarm.carries_over(verdicts(0.02)) and good.carries_over
    assert str(bad).startswith("this probe does not carry over to these texts: predicted accuracy 0.")
    assert 0 <= alarm.miss_rate <= 1 and alarm.false_alarm_rate <= 0.2


def test_an_interval_from_few_sources_says_what_is_sure(run: Path) -> None:
    found = genies.load_alarm(run, "mms", "s0").foresee(verdicts(0.5))
    assert found.sources == 15 and "(90 % from 0." in str(found)
    few = str(replace(found, sources=6))
    assert "sure in 6 of 7 cases at best: 6 sources to learn from)" in few and "90 %" not in few
    assert "sure in 1 of 2 cases at best: 1 source to learn from)" in str(replace(found, sources=1))


def test_a_copy_of_the_source_under_another_name_is_not_learned_from(tmp_path: Path) -> None:
    """Whatever accuracy there is on the copy, the alarm says the same; by names alone it does not."""
    shared = SHARED.frame([{"first": "s0", "second": "t1", "examples": 10, "shared": 9}])
    found = {}
    for of_copy in (0.1, 0.9):
        folder = write(tmp_path / str(of_copy), 1.0)
        table = predictions.TABLE.read(folder)
        changed = pl.when(target="t1").then(of_copy).otherwise("accuracy")
        predictions.TABLE.write(table.with_columns(accuracy=changed), folder)
        by_name = genies.load_alarm(folder, "mms", "s0").foresee(verdicts(0.5))
        SHARED.write(shared, folder)
        found[of_copy] = by_name, genies.load_alarm(folder, "mms", "s0").foresee(verdicts(0.5))
    (name_low, text_low), (name_high, text_high) = found.values()
    assert name_low.predicted != name_high.predicted and (name_low.sources, text_low.sources) == (15, 14)
    assert (text_low.predicted, text_low.low, text_low.high) == (text_high.predicted, text_high.low, text_high.high)
    assert str(name_low).endswith("; texts were not compared, so a copy of the source may be learned from")
    assert text_low.texts_compared and "not compared" not in str(text_low)


def test_a_run_that_compared_texts_and_lacks_what_it_found_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, 1.0)
    COUNTS.write(COUNTS.frame(), folder)
    with pytest.raises(StoreError, match=r"shared_texts\.csv: file not found, and copies .* run snakemake again"):
        genies.load_alarm(folder, "mms", "s0")
    SHARED.write(SHARED.frame(), folder)
    assert genies.load_alarm(folder, "mms", "s0").texts_compared


@pytest.mark.parametrize("table", [prediction_errors.TABLE, surface.TABLE, cells.TABLE])
def test_a_lost_table_is_not_taken_for_an_empty_one(table: Table, tmp_path: Path) -> None:
    folder = write(tmp_path, 1.0)
    (folder / table.file).unlink()
    with pytest.raises(StoreError, match=rf"{table.file}: file not found; run snakemake again"):
        genies.load_alarm(folder, "mms", "s0")


@pytest.mark.parametrize("column", ["examples", "shared", "first"])
def test_a_copy_without_its_counts_is_not_passed_over(column: str, tmp_path: Path) -> None:
    folder = write(tmp_path, 1.0)
    row = {"first": "s0", "second": "s1", "examples": 60, "shared": 60}
    SHARED.write(SHARED.frame([row | {column: None}]), folder)
    with pytest.raises(StoreError, match=r"shared_texts\.csv: a row has an empty field; delete it and run snakemake"):
        genies.load_alarm(folder, "mms", "s0")


def test_a_source_without_an_accuracy_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, 1.0)
    own = (pl.col("intervention") == "mms") & (pl.col("source") == "s0") & (pl.col("target") == "s0")
    given = cells.TABLE.read(folder)
    cells.TABLE.write(given.with_columns(pl.when(~own).then("accuracy")), folder)
    with pytest.raises(StoreError, match=r"cells\.csv: a row has no accuracy; delete it and run snakemake again"):
        genies.load_alarm(folder, "mms", "s0")


def test_which_response_comes_first_plays_no_part(run: Path) -> None:
    alarm = genies.load_alarm(run, "mms", "s0")
    given = verdicts(0.5)
    turned = np.random.default_rng(1).random(200) < 0.5
    assert alarm.foresee(given) == alarm.foresee({name: np.where(turned, 1 - p, p) for name, p in given.items()})


def test_what_it_cannot_judge_is_refused_with_the_remedy(run: Path) -> None:
    alarm = genies.load_alarm(run, "mms", "s0")
    given = verdicts(0.5)
    with pytest.raises(DataError, match="no probabilities of lora; score the pairs with these, too"):
        alarm.foresee({name: p for name, p in given.items() if name != "lora"})
    with pytest.raises(DataError, match="different numbers of pairs"):
        alarm.foresee({**given, "lora": given["lora"][:100]})
    with pytest.raises(DataError, match="give the column probability"):
        alarm.foresee({**given, "lora": given["lora"] + 1})
    with pytest.raises(DataError, match="5 pairs are too few"):
        alarm.foresee({name: p[:5] for name, p in given.items()})


def test_where_the_source_says_nothing_there_is_no_prediction_and_no_alarm(run: Path) -> None:
    """All methods rank the source's pairs right, so that no line goes through their agreements: NaN is no alarm."""
    alarm = genies.load_alarm(run, "mms", "s0")
    sure = Scored(np.ones(60), np.arange(60), np.linspace(0.6, 0.9, 60))
    methods = len(NAMES)
    by_line = replace(
        alarm,
        _panel=Panel.of(dict.fromkeys(NAMES, sure)),
        _jackknife=Direct(QUANTITIES.index("agreement_line"), np.full((10, methods), 0.1), np.arange(10)),
    )
    with pytest.raises(DataError, match="nothing can be predicted for mms"):
        by_line.foresee(verdicts(0.5))
    assert not np.isnan(replace(by_line, _panel=alarm._panel).foresee(verdicts(0.5)).high)


def test_a_predictor_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    write(tmp_path, 1.0)
    errors = prediction_errors.TABLE.read(tmp_path).with_columns(pl.lit("oracle").alias("predictor"))
    prediction_errors.TABLE.write(errors, tmp_path)
    with pytest.raises(StoreError, match=r"prediction_errors\.csv: oracle is no predictor; delete the file and run"):
        genies.load_alarm(tmp_path, "mms", "s0")


@pytest.mark.parametrize("below", [60, 1.01, 0, -0.5, float("nan"), True, "0.5", None])
def test_a_limit_that_is_no_accuracy_is_refused(run: Path, below: Any) -> None:
    with pytest.raises(ConfigError, match="below: .* is no accuracy to fall below; give one above 0 and up to 1"):
        genies.load_alarm(run, "mms", "s0", below=below)
    assert genies.load_alarm(run, "mms", "s0", below=1).below == 1


def test_unknown_names_are_refused(run: Path) -> None:
    for arguments, said in (
        (("ccs", "s0"), "has no rows of ccs; choose one of"),
        (("mms", "elsewhere"), "no row of mms from elsewhere to itself"),
    ):
        with pytest.raises(ConfigError, match=said):
            genies.load_alarm(run, *arguments)
    with pytest.raises(ConfigError, match="give one of these as model: m"):
        genies.load_alarm(run, "mms", "s0", model="other")


@pytest.mark.parametrize(
    ("follows", "shifts", "why"),
    [(0.0, 16, "predictions without labels are not shown to be better"), (1.0, 8, "too few shifts can be predicted")],
)
def test_no_alarm_is_offered_where_predictions_are_no_better_than_trivial(
    tmp_path: Path, follows: float, shifts: int, why: str
) -> None:
    with pytest.raises(ConfigError, match=rf"no alarm is offered for m: {why}"):
        genies.load_alarm(write(tmp_path, follows, shifts), "mms", "s0")
