"""What the page says of methods that saw different things, and what ``genies select`` prints."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from test_findings import SHIFTS, made, said
from test_page import write_run

from genies.cli import main
from genies.data.shifts import Shift
from genies.evaluation.choice import CHOICES
from genies.evaluation.table import read_csv
from genies.evaluation.tables.leaderboard import leaderboard
from genies.report.page import render
from genies.report.tables import Tables

CLASSES = {"random": "nothing", "zero_shot": "nothing", "mms": "source labels", "lora": "a judge"}


def classified(run: Tables, classes: dict[str, str]) -> Tables:
    board = leaderboard(run.metrics, comparisons=run["comparisons"], classes=classes)
    return run.having(leaderboard=board)


def test_the_best_is_named_within_each_class_and_compared_with_the_untouched_model() -> None:
    """lora is more accurate than mms, and zero_shot than both, but they saw other things."""
    run = classified(made({"zero_shot": 0.9, "mms": 0.7, "lora": 0.8}), CLASSES)
    found = said(run)
    own = found["Best on extreme shifts"]
    assert own.startswith("mms is the only method that saw source labels; its mean accuracy over 8 shifts is 0.7")
    assert "lora" not in own and re.search(r"distance of 0\.\d+ .*behind zero_shot \(the untouched model, 0\.9", own)
    assert not any("lora is the only method" in text for text in found.values())
    assert not any("zero_shot has the highest" in text or "runner-up" in text for text in found.values())


def test_each_class_of_several_methods_has_its_best() -> None:
    classes = {"random": "nothing", "zero_shot": "a judge", "mms": "source labels", "lora": "a judge"}
    found = said(classified(made({"zero_shot": 0.9, "mms": 0.7, "lora": 0.8}), classes))
    assert found["Best on extreme shifts"].startswith("Of the methods that saw a judge, zero_shot has the highest")
    assert not any("mms is the only method" in text for text in found.values())


def test_where_the_untouched_model_alone_saw_less_the_best_is_said_to_be_of_the_others() -> None:
    text = said(classified(made({"zero_shot": 0.9}), CLASSES | {"lora": "source labels"}))["Best on extreme shifts"]
    assert text.startswith("Of the methods that saw source labels, mms has the highest mean accuracy over 8 shifts")
    assert "over the runner-up, lora" in text


def test_the_leaderboard_shows_what_was_seen_and_ranks_within_it() -> None:
    run = classified(made({"zero_shot": 0.9, "mms": 0.7, "lora": 0.8}), CLASSES | {"lora": "source labels"})
    page = render("trial", run, {})
    start = page.index('<table data-name="leaderboard"')
    cells = page[start : page.index("</table>", start)]
    assert re.findall(r'title="(\w+)">', cells) == ["zero_shot", "lora", "mms", "random"]
    assert re.findall(r"<td>([a-z ]+)</td><td>(\d)</td>", cells) == [
        ("nothing", "1"), ("source labels", "1"), ("source labels", "2"), ("nothing", "2"),
    ]  # fmt: skip
    assert cells.count("best here") == 2
    assert "<em>Saw</em>" in page and "<em>Saw</em>" not in render("trial", made(), {})


def test_the_verb_chooses_from_several_runs_by_their_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second run has mms with other parameters, which is better on other shifts and worse on the benchmark's."""
    shifts = [
        Shift(s.source, s.target, s.target_reference, s.label, s.category, 1, benchmark="GENIES" if n % 2 else None)
        for n, s in enumerate(SHIFTS)
    ]
    of_benchmark = pl.col("benchmark").is_not_null()
    for name, sign in (("one", 1), ("two", -1)):
        level = {("mms", n): 0.6 + sign * (0.1 if n % 2 else -0.1) for n in range(16)}
        run = classified(made(places=level, shifts=shifts), CLASSES)
        assert run.metrics.filter(of_benchmark)["target"].n_unique() == 8
        write_run(tmp_path / name, run, 1)
    assert (
        main(["select", *(str(tmp_path / name) for name in ("one", "two")), "--output", str(tmp_path / "c.csv")]) == 0
    )
    out = capsys.readouterr().out
    assert "2 interventions that saw source labels\n" in out
    assert "best on 8 shifts without a distribution of GENIES (0 more share one): mms (two)," in out
    assert "its mean accuracy on the 8 shifts of GENIES: 0.500 (0.500 to 0.500)" in out
    assert ": mms (one), 0.700" in out and "by luck or as it suits these shifts: 0.200" in out
    row = read_csv(tmp_path / "c.csv", CHOICES).row(by_predicate=pl.col("saw") == "source labels", named=True)
    assert (row["chosen"], row["naive"], row["candidates"]) == ("mms (two)", "mms (one)", 2)
