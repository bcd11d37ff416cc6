"""Every comparison on the page has one verdict."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from test_page import TABLES, Page, make_tables, section, table

from genies.data.shifts import Shift
from genies.evaluation.averages import EXAMPLES, NEW_SHIFTS
from genies.evaluation.bootstrap import DrawnMeans
from genies.evaluation.scored import Scored
from genies.evaluation.simultaneous import LEVEL
from genies.evaluation.tables.comparisons import NOT_TESTED, compare
from genies.evaluation.tables.leaderboard import leaderboard
from genies.report.page import render
from genies.report.tables import Tables

FAR_APART = {"mms": 0.9, "lora": 0.88, "zero_shot": 0.5}
MANY = [
    Shift(f"s{n}", f"t{n}", f"t{n}", "probing" if n < 4 else "extreme", "skill", 1, benchmark="half" if n % 2 else None)
    for n in range(12)
]
ONE_SOURCE = [replace(shift, source="easy", benchmark=None) for shift in MANY]
FEW_SOURCES = [replace(shift, source=f"s{n % 3}") for n, shift in enumerate(MANY)]
PAIRS = 100


def made_of(shifts: list[Shift], known: bool = False) -> Tables:
    """Tables of interventions of which one is far below the two others, which are near each other.

    Args:
        shifts: of the run.
        known: whether it is known how single pairs were ranked.
    """
    run = make_tables(["small"], list(FAR_APART), shifts)
    # Other differences in every set of shifts, so that a difference on the page tells which comparison it is.
    wiggle = pl.Series("wiggle", np.random.default_rng(2).integers(-4, 4, len(run.metrics), endpoint=True) / 100)
    accuracy = pl.col("intervention").replace_strict(FAR_APART) + wiggle
    metrics = run.metrics.with_columns(generalization_accuracy=accuracy.round(2))
    sets = {"half": {(s.source, s.target) for s in shifts if s.benchmark}}
    scores = ranked(metrics) if known else {}
    comparisons = compare(metrics, scores, sets)
    board = leaderboard(metrics, sets, DrawnMeans(metrics, scores) if known else None, comparisons)
    return run.having(generalization_metrics=metrics, comparisons=comparisons, leaderboard=board)


def ranked(metrics: pl.DataFrame) -> dict[tuple[str, str, str, str], Scored]:
    """Single pairs, each of an example of its own, that are ranked as rightly as the metrics say."""
    generator, found = np.random.default_rng(3), {}
    for row in metrics.iter_rows(named=True):
        right = np.arange(PAIRS) < round(PAIRS * row["generalization_accuracy"])
        correct = generator.permutation(right).astype(float)
        found[row["model"], row["intervention"], row["source"], row["target"]] = Scored(
            correct, np.arange(PAIRS), correct
        )
    return found


RUNS: dict[str, Callable[[], Tables]] = {
    "alike": lambda: TABLES,
    "apart": lambda: made_of(MANY),
    "apart, pairs known": lambda: made_of(MANY, known=True),
    "few sources": lambda: made_of(FEW_SOURCES, known=True),
    "one source": lambda: made_of(ONE_SOURCE, known=True),
}


@pytest.fixture(scope="module", params=RUNS)
def run(request: pytest.FixtureRequest) -> Tables:
    return RUNS[request.param]()


def leaves_out_0(low: float | None, high: float | None) -> bool:
    """An interval without ends leaves nothing out."""
    return low is not None and (low > 0 or high < 0)


def judgements(run: Tables, names: tuple[str, str], difference: float) -> list[dict]:
    """The comparisons over sets of shifts that a difference on the page can be of."""
    return [
        row
        for row in run["comparisons"].filter(pl.col("target").is_null()).iter_rows(named=True)
        if (row["intervention"], row["other"]) in (names, names[::-1])
        and abs(row["difference"]) == pytest.approx(abs(difference), abs=1e-12)
    ]


def rows(page: str, name: str) -> list[dict[str, object]]:
    """The numbers behind the cells of a table of comparisons, and its texts."""
    found = []
    for row in re.findall(r"<tr>(.*?)</tr>", table(page, name), re.DOTALL)[1:]:
        values = [json.loads(text.replace("&#34;", '"')) for text in re.findall(r"data-values=[\"'](.*?)[\"']", row)]
        (difference, low, high), (p,) = values[0], values[1]
        won, lost = re.findall(r"<td>(\d+)</td>", row)[:2]
        names = re.findall(r"<th scope=\"row\">(.*?)</th><td>(.*?)</td>", row)
        verdict = re.search(r"<td class=\"verdict(?: soft)?\">(higher|lower|not distinguishable|not tested)", row)
        found.append({"names": names[0], "difference": difference, "low": low, "high": high, "p": p,
                      "won": int(won), "lost": int(lost), "verdict": verdict and verdict[1]})  # fmt: skip
    return found


def boards(page: str) -> list[tuple[str, str | None, str | None, str]]:
    """The tables of comparisons: model, label and benchmark if it is of one, and name."""
    headed = re.findall(r'<h3>([^<]*?), ([^<]*)</h3>(?:(?!<h3>).)*?data-name="(differences-\d+)"', page, re.DOTALL)
    labels = [re.search(r"the \d+ (extreme|probing) shift", over) for _, over, _ in headed]
    sets = [re.search(r"the \d+ shifts of (\w+)", over) for _, over, _ in headed]
    return [
        (model, label and label[1], of and of[1], name)
        for (model, _, name), label, of in zip(headed, labels, sets, strict=True)
    ]


def tables_of(page: str) -> list[str]:
    return re.findall(r'data-name="(differences-\d+)"', page)


def test_an_interval_leaves_out_0_exactly_where_p_is_below_the_level(run: Tables) -> None:
    page = render("trial", run, {})
    compared = [row for name in tables_of(page) for row in rows(page, name)]
    assert compared
    for row in compared:
        leaves_out = leaves_out_0(row["low"], row["high"])
        assert leaves_out == (row["p"] is not None and row["p"] < LEVEL)
        assert leaves_out == (row["verdict"] in ("higher", "lower"))
    if run is not TABLES:
        assert {row["verdict"] for row in compared} - {NOT_TESTED} == {"higher", "not distinguishable"}


def test_wins_and_losses_are_the_shifts_whose_interval_leaves_out_0(run: Tables) -> None:
    page = render("trial", run, {})
    shifts = {(row["source"], row["target"]): row for row in run.metrics.iter_rows(named=True)}
    single = run["comparisons"].filter(pl.col("target").is_not_null()).to_dicts()
    for row in single:
        assert leaves_out_0(row["low"], row["high"]) == (row["p_adjusted"] is not None and row["p_adjusted"] < LEVEL)
    shown = 0
    for model, label, benchmark, name in boards(page):
        for row in rows(page, name):
            own = [
                one for one in single if (one["intervention"], one["other"], one["model"]) == (*row["names"], model)
                and label in (None, shifts[one["source"], one["target"]]["label"])
                and benchmark in (None, shifts[one["source"], one["target"]]["benchmark"])
            ]  # fmt: skip
            won, lost = (
                sum(leaves_out_0(one["low"], one["high"]) and sign * one["difference"] > 0 for one in own)
                for sign in (1, -1)
            )
            assert (row["won"], row["lost"]) == (won, lost)
            shown += won + lost
    assert bool(shown) == any(one["p_adjusted"] is not None for one in single)


def test_every_block_of_the_leaderboard_has_one_verdict_with_the_comparisons(run: Tables) -> None:
    """In an interval for new examples of the same shifts alone, too, where all shifts have one source."""
    page = section(render("trial", run, {}), "leaderboard")
    verdicts = []
    for text in re.findall(r'<table data-name="leaderboard">.*?</table>', page, re.DOTALL):
        best = None
        for row in re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)[1:]:
            name = re.search(r'<th scope="row" title="(.*?)">', row)[1]
            values = [
                json.loads(found.replace("&#34;", '"')) for found in re.findall(r"data-values=[\"'](.*?)[\"']", row)
            ]
            # Both means have two intervals: accuracy, then the difference to the best.
            difference, low, high, *examples = [own for own in values if len(own) == 5][1]
            if best is None:
                best = name
                assert difference is None
                continue
            judged = judgements(run, (name, best), difference)
            assert judged
            for one in judged:
                ends = (low, high) if one["interval_over"] == NEW_SHIFTS else examples
                assert leaves_out_0(*ends) == (one["p_adjusted"] is not None and one["p_adjusted"] < LEVEL)
                assert one["interval_over"] != EXAMPLES or low is None
                verdicts.append(leaves_out_0(*ends))
    assert verdicts and (run is TABLES or set(verdicts) == {True, False})


def test_a_lead_is_more_than_noise_exactly_where_its_interval_leaves_out_0(run: Tables) -> None:
    page = render("trial", run, {})
    told = []
    found = page[page.index('<section id="findings"') : page.index("<nav")]
    for finding in re.findall("<dd>(.*?)</dd>", found, re.DOTALL):
        text = re.sub("<[^>]+>", "", finding)
        best = text.split()[0]
        for lead, interval, other, verdict in re.findall(
            r"Its lead of (\S+)(?: \((\S+ to \S+?)(?:, for new (?:examples of these )?shifts)?\))? over "
            r"(?:the runner-up, )?(\w+)[^,]*(?:, 0\.\d+\))?,? (is more than noise|may be noise)", text
        ):  # fmt: skip
            ends = [float(end.replace("−", "-")) for end in interval.split(" to ")] if interval else [None, None]
            above = interval != "" and ends[0] > 0
            assert above == (verdict == "is more than noise")
            judged = [
                one for one in run["comparisons"].filter(pl.col("target").is_null()).iter_rows(named=True)
                if {one["intervention"], one["other"]} == {best, other}
                and f"{abs(one['difference']):.3f}" == lead.lstrip("−")
            ]  # fmt: skip
            assert judged and all((one["p_adjusted"] < LEVEL) == above for one in judged)
            told.append(above)
    assert run is TABLES or set(told) == {True, False}


def test_the_leaderboard_has_the_intervals_of_the_comparisons() -> None:
    run = made_of(MANY)
    page = render("trial", run, {})
    first = tables_of(page)[0]
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
    assert shown.count(f'<td class="verdict soft">{NOT_TESTED}<small>the shifts of one source support') == 3
    assert NOT_TESTED not in Page(section(render("trial", made_of(MANY, known=True), {}), "differences")).texts("td")


def test_what_is_not_tested_has_no_interval_on_the_leaderboard_either() -> None:
    """Over all shifts lora has many sources and mms, the best one, few: only their comparison is not tested."""
    run = made_of(FEW_SOURCES, known=True)
    metrics = run.metrics.with_columns(source=pl.concat_str(pl.lit("s"), pl.int_range(pl.len()) % 12))
    few = (pl.col("intervention") != "mms") | pl.col("source").is_in(["s0", "s1", "s2"])
    metrics = metrics.filter(few)
    scores = ranked(metrics)
    comparisons = compare(metrics, scores)
    board = leaderboard(metrics, None, DrawnMeans(metrics, scores), comparisons)
    overall = {row["intervention"]: row for row in board.filter(label="all", averaged_over="distinct").to_dicts()}
    judged = comparisons.filter(pl.col("target").is_null(), label="all", averaged_over="distinct").to_dicts()
    verdicts = {frozenset((row["intervention"], row["other"])): row["verdict"] for row in judged}
    assert next(iter(overall)) == "mms" and verdicts[frozenset(("mms", "lora"))] == NOT_TESTED
    assert verdicts[frozenset(("zero_shot", "lora"))] != NOT_TESTED
    for end in ("low", "high"):
        assert overall["lora"][f"difference_to_best_{end}"] is None
        assert overall["lora"][f"difference_to_best_examples_{end}"] is None
    # An older table may still have one.
    stale = {"difference_to_best_examples_low": -0.3, "difference_to_best_examples_high": -0.1}
    of_lora = pl.col("intervention") == "lora"
    old = board.with_columns(pl.when(of_lora).then(pl.lit(v)).otherwise(k).alias(k) for k, v in stale.items())
    for leaders in (board, old):
        shown = run.having(generalization_metrics=metrics, comparisons=comparisons, leaderboard=leaders)
        page = section(render("trial", shown, {}), "leaderboard")
        row = page[page.index('<th scope="row" title="lora">') :].partition("</tr>")[0]
        _, cell = re.findall(r'<td data-values="\[(?:[^,"]*,){4}[^,"]*\]">.*?</td>', row, re.DOTALL)
        assert cell.endswith("<small>not tested</small></td>") and " to " not in cell
        assert json.loads(re.search('data-values="(.*?)"', cell)[1])[1:] == [None] * 4
    assert "not tested" not in section(render("trial", made_of(MANY, known=True), {}), "leaderboard")


def near_0(run: Tables) -> Tables:
    """The run with every interval of a difference over sets of shifts a hair's breadth away from 0."""
    sign = pl.when(pl.col("difference") > 0).then(1.0).otherwise(-1.0)
    judged = run["comparisons"].with_columns(
        low=pl.min_horizontal(sign * 0.0003, sign * 0.131), high=pl.max_horizontal(sign * 0.0003, sign * 0.131),
        p_adjusted=pl.lit(0.04), interval_over=pl.lit(NEW_SHIFTS),
        verdict=pl.when(sign > 0).then(pl.lit("higher")).otherwise(pl.lit("lower")),
    )  # fmt: skip
    ends = {"difference_to_best_low": -0.131, "difference_to_best_high": -0.0003}
    board = run["leaderboard"].with_columns(pl.lit(value).alias(name) for name, value in ends.items())
    return run.having(comparisons=judged, leaderboard=board)


def test_an_interval_that_ends_just_before_0_is_not_printed_as_if_it_contained_it() -> None:
    page = render("trial", near_0(made_of(MANY)), {})
    for name, text in (("differences", "0.0003 to 0.131"), ("leaderboard", "−0.131 to −0.0003")):
        assert text in section(page, name) and not re.search(r"\b0\.000 to|to 0\.000", section(page, name))
    found = page[page.index('<section id="findings"') : page.index("<nav")]
    assert "(0.0003 to 0.131, for new shifts)" in found
