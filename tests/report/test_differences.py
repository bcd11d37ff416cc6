"""Every comparison on the page has one verdict."""

from __future__ import annotations

import json
import re

import polars as pl
import pytest
from test_page import SHIFTS, TABLES, Page, make_tables, section, table

from genies.data.shifts import Shift
from genies.evaluation.simultaneous import LEVEL
from genies.evaluation.tables.comparisons import NOT_TESTED
from genies.report.page import render
from genies.report.tables import Tables

FAR_APART = {"mms": 0.9, "lora": 0.88, "zero_shot": 0.5}
MANY = [Shift(f"s{n}", f"t{n}", f"t{n}", "extreme", "skill", 1, benchmark="half" if n % 2 else None) for n in range(12)]


def made_of(shifts: list[Shift]) -> Tables:
    """Tables of interventions of which one is far below the two others, which are near each other."""
    from genies.evaluation.tables.comparisons import compare
    from genies.evaluation.tables.leaderboard import leaderboard

    run = make_tables(["small"], list(FAR_APART), shifts)
    wiggle = pl.int_range(pl.len()).over("intervention") % 5 * 0.01
    accuracy = pl.col("intervention").replace_strict(FAR_APART) + wiggle * (1 - pl.col("intervention").eq("mms") * 2)
    metrics = run.metrics.with_columns(generalization_accuracy=accuracy)
    benchmarks = {"half": {(s.source, s.target) for s in shifts if s.benchmark}}
    comparisons = compare(metrics, {}, benchmarks)
    board = leaderboard(metrics, benchmarks, comparisons=comparisons)
    return run.having(generalization_metrics=metrics, comparisons=comparisons, leaderboard=board)


def rows(page: str, name: str) -> list[dict[str, object]]:
    """The numbers behind the cells of a table of comparisons, and its texts."""
    found = []
    for row in re.findall(r"<tr>(.*?)</tr>", table(page, name), re.DOTALL)[1:]:
        values = [json.loads(text.replace("&#34;", '"')) for text in re.findall(r"data-values=[\"'](.*?)[\"']", row)]
        (difference, low, high), (p,) = values[0], values[1]
        names = re.findall(r"<th scope=\"row\">(.*?)</th><td>(.*?)</td>", row)
        verdict = re.search(r"<td(?: class=\"soft\")?>(higher|lower|not distinguishable|not tested)", row)
        found.append({"names": names[0], "difference": difference, "low": low, "high": high, "p": p,
                      "verdict": verdict and verdict[1]})  # fmt: skip
    return found


def tables_of(page: str) -> list[str]:
    return re.findall(r'data-name="(differences-\d+)"', page)


@pytest.mark.parametrize("run", [TABLES, made_of(MANY)], ids=["alike", "apart"])
def test_an_interval_leaves_out_0_exactly_where_p_is_below_the_level(run: Tables) -> None:
    page = render("trial", run, {})
    compared = [row for name in tables_of(page) for row in rows(page, name)]
    assert compared
    for row in compared:
        # An interval without ends leaves nothing out.
        leaves_out = row["low"] is not None and (row["low"] > 0 or row["high"] < 0)
        assert leaves_out == (row["p"] < LEVEL)
        assert leaves_out == (row["verdict"] in ("higher", "lower"))
    if run is not TABLES:
        assert {row["verdict"] for row in compared} == {"higher", "not distinguishable"}


def test_the_leaderboard_has_the_intervals_of_the_comparisons() -> None:
    run = made_of(MANY)
    page = render("trial", run, {})
    (first, *_) = tables_of(page)
    assert "the 6 shifts of half" in page[: page.index(f'data-name="{first}"')].rsplit("<h3>", 1)[1]
    of_all = {row["names"]: row for row in rows(page, tables_of(page)[1])}
    board = run["leaderboard"].filter(label="all", averaged_over="distinct").to_dicts()
    best, *others = board
    for row in others:
        names = (row["intervention"], best["intervention"])
        own, sign = (of_all[names], 1) if names in of_all else (of_all[names[::-1]], -1)
        ends = sorted(sign * end for end in (own["low"], own["high"]))
        assert ends == pytest.approx([row["difference_to_best_low"], row["difference_to_best_high"]])
        assert row["may_be_best"] == (own["p"] >= LEVEL)
    assert best["may_be_best"] and not board[-1]["may_be_best"]


def test_what_is_not_tested_says_why_and_looks_different() -> None:
    one_source = [Shift("easy", f"t{n}", f"t{n}", "extreme", "skill", 1) for n in range(3)]
    shown = section(render("trial", made_of(one_source), {}), "differences")
    texts = Page(shown).texts("td")
    assert NOT_TESTED in texts and "not distinguishable" not in texts
    assert shown.count(f'<td class="soft">{NOT_TESTED}<small>all shifts have one source') == 3
    assert NOT_TESTED not in Page(section(render("trial", make_tables(["small"], ["mms", "lora"], SHIFTS), {}),
                                          "differences")).texts("td")  # fmt: skip
