"""What people do with the page, done in a real browser: sort, search, point, take along."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import polars as pl
import pytest
from test_page import (
    ANSWERS,
    BROWSER,
    HOSTILE,
    OF_MMS,
    REMARK,
    TABLES,
    TIES,
    full_matrix,
    make_tables,
    planted,
)  # fmt: skip

from genies.data.shifts import Shift
from genies.evaluation.tables import answers, ties
from genies.report import details
from genies.report.page import render

if BROWSER is None:
    pytest.skip("needs a browser: install chromium", allow_module_level=True)

from playwright.sync_api import Browser, Page

WIDTHS = (1400, 400)
SCREENS = [
    ("light", 1400),
    ("dark", 400),
    *(pytest.param(*screen, marks=pytest.mark.torture) for screen in (("dark", 1400), ("light", 400))),
]
"""Colour schemes and widths; every run of the tests has each scheme and each width."""


class Opened:
    """A page in a tab, and what went wrong or left it."""

    def __init__(self, browser: Browser, html: str, folder: Path, width: int, scheme: str = "light") -> None:
        file = folder / "report.html"
        file.write_text(html, encoding="utf-8")
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, accept_downloads=True
        )
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())
        # Not with an expression: the page's policy forbids to evaluate one while figures are still being drawn.
        self.page.locator(".figure:not([data-drawn])").first.wait_for(state="detached")

    def check(self, close: bool = True) -> None:
        """Nothing was complained of, and nothing but the file itself was asked for."""
        assert self.complaints == []
        assert [url for url in self.requests if not url.startswith(("file:", "blob:", "data:"))] == []
        if close:
            self.context.close()


@pytest.fixture(scope="module")
def html() -> str:
    return render("trial", TABLES, {"configuration": {"seed": 3}})


@pytest.fixture(scope="module")
def shared(browser: Browser, html: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Opened]:
    """The page in a tab of a width, which tests share that use different parts of it: to draw it takes long."""
    return cache(lambda width, scheme="light": Opened(browser, html, tmp_path_factory.mktemp("page"), width, scheme))


@pytest.mark.parametrize(("scheme", "width"), SCREENS)
def test_every_figure_is_drawn_within_the_window(shared: Callable[..., Opened], scheme: str, width: int) -> None:
    opened = shared(width) if scheme == "light" else shared(width, scheme)
    assert opened.page.locator(".figure svg").count() >= opened.page.locator(".figure").count() > 5
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    opened.check(close=False)


@pytest.mark.parametrize("width", WIDTHS)
def test_tables_of_single_shifts_stay_within_the_window(browser: Browser, tmp_path: Path, width: int) -> None:
    shown = planted(OF_MMS | {"remarks": REMARK}).having(
        sites=TABLES["sites"].with_columns(tied=pl.lit(5), tied_kept=pl.lit(2)),
        answers=pl.DataFrame(ANSWERS, schema=answers.TABLE.columns, orient="row"),
        ties=pl.DataFrame(TIES, schema=ties.TABLE.columns, orient="row"),
    )
    opened = Opened(browser, render("trial", shown, {}), tmp_path, width)
    opened.page.evaluate("document.querySelectorAll('details').forEach((element) => { element.open = true })")
    for name in ("elicitation", "calibration", "answers", "ties", "tied-sites"):
        assert opened.page.locator(f"table[data-name={name}]").is_visible()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    opened.check()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_large_matrix_scrolls_on_a_phone(browser: Browser, tmp_path: Path, width: int) -> None:
    shown = TABLES.having(cells=full_matrix([f"distribution_{number}" for number in range(30)]))
    opened = Opened(browser, render("trial", shown, {}), tmp_path, width)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    figure = opened.page.locator("#figure-matrix-0")
    scrolls = figure.evaluate("(element) => element.parentElement.scrollWidth > element.parentElement.clientWidth")
    assert scrolls == (width < 640)
    assert figure.locator(".mark-rect path").first.bounding_box()["width"] > 20
    opened.check()


def test_a_table_is_taken_along_as_csv(shared: Callable[..., Opened]) -> None:
    opened = shared(1400)
    with opened.page.expect_download() as download:
        opened.page.locator("#leaderboard .download").first.click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
    assert download.value.suggested_filename == "leaderboard.csv"
    board = TABLES["leaderboard"].filter(model="small", label="all", averaged_over="distinct")
    assert [row["intervention"] for row in rows] == board["intervention"].to_list() and len(rows) == 3
    own = [name for name in board.columns if name in rows[0]]
    # Six means with an interval, two of them with another one, and the shifts at chance of how many.
    assert len(own) == 1 + 6 * 3 + 2 * 2 + 2
    assert set(rows[0]) - set(own) == {"accuracy_sd", "accuracy_least", "accuracy_most"}
    written = csv.DictReader(io.StringIO(board.select(own).write_csv()))
    for row, expected in zip(rows, written, strict=True):
        for name in own[1:]:
            assert (row[name] and float(row[name])) == (expected[name] and float(expected[name])), name
    assert [row["accuracy_sd"] for row in rows if row["intervention"] == "mms"] == ["0.012"]
    opened.check(close=False)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_press_on_a_heading_sorts_and_another_reverses(shared: Callable[..., Opened], width: int) -> None:
    opened = shared(width)
    table = opened.page.locator("#leaderboard table").first
    heading = table.locator("thead th").nth(1)
    for order in ("ascending", "descending"):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == order
        texts = table.locator("tbody tr > :nth-child(2)").all_inner_texts()
        values = [float(text.split("\n")[0].replace("−", "-")) for text in texts]
        assert values == sorted(values, reverse=order == "descending") and len(set(values)) > 1
    opened.check(close=False)


@pytest.mark.parametrize("width", WIDTHS)
def test_samples_are_chosen_and_searched(shared: Callable[..., Opened], width: int) -> None:
    opened = shared(width)
    page = opened.page
    page.select_option("#sample-target", "code")
    cards = page.locator("#sample-list article")
    assert cards.count() == 2
    assert "disputed" in cards.nth(0).inner_text() and "hard ?" in cards.nth(0).inner_text()
    assert cards.nth(0).locator(".verdicts tr").count() == 6 and cards.nth(0).locator(".right").count() == 3
    page.fill("#sample-search", "PLAIN")
    assert cards.count() == 1 and "plain words" in cards.nth(0).inner_text()
    assert page.locator("#sample-count").inner_text() == "1 of 2 pairs"
    page.fill("#sample-search", "nowhere")
    assert cards.count() == 0
    page.select_option("#sample-target", "")
    page.fill("#sample-search", "plain")
    assert {text.split(":")[0] for text in cards.all_inner_texts()} == {"hard", "code", "persona"}
    opened.check(close=False)


@pytest.mark.parametrize("width", WIDTHS)
def test_samples_are_found_by_method_and_verdict(browser: Browser, tmp_path: Path, width: int) -> None:
    """mms is wrong on pairs 1 and 3, surely on 3; zero_shot on 2 and 3, and on 1 where it was fitted on hard."""
    columns = [["small", "zero_shot", "easy"], ["small", "mms", "easy"], ["small", "zero_shot", "hard"]]
    verdicts = [[0.7, 0.4, 0.2], [0.3, 0.8, 0.9], [0.1, 0.05, 0.6], [0.9, 0.6, None]]
    pairs = [
        {"prompt": f"pair {number}", "best": "b", "worse": "w", "example": number, "pair": 0, "disputed": False,
         "verdicts": own}
        for number, own in enumerate(verdicts, 1)
    ]  # fmt: skip
    shown = replace(TABLES, samples={"code": {"columns": columns, "pairs": pairs}})
    opened = Opened(browser, render("trial", shown, {}), tmp_path, width)
    page = opened.page
    method, verdict = page.locator(".sample-method"), page.locator(".sample-verdict")

    def found() -> list[str]:
        return [text.split("\n")[3] for text in page.locator("#sample-list article").all_inner_texts()]

    everything = found()
    assert len(everything) == 4
    method.nth(0).select_option("mms")
    verdict.nth(0).select_option("wrong")
    assert found() == [everything[0], everything[2]]
    method.nth(1).select_option("zero_shot")
    verdict.nth(1).select_option("right")
    # The same fit's verdict counts: zero_shot fitted on hard is right on 3, where mms was not fitted on hard.
    assert found() == [everything[0]]
    verdict.nth(1).select_option("")
    page.fill("#sample-confidence", "0.9")
    assert found() == [everything[2]]
    page.fill("#sample-confidence", "0.5")
    method.nth(0).select_option("zero_shot")
    page.select_option("#sample-source", "hard")
    method.nth(1).select_option("")
    assert found() == [everything[0]]
    assert page.locator("#sample-count").inner_text() == "1 of 4 pairs"
    opened.check()


def test_prompts_are_shown_as_the_models_saw_them_and_as_they_are_written(browser: Browser, tmp_path: Path) -> None:
    hostile = HOSTILE[6]
    seen = [
        {"models": ["small"], "before": "[user] ", "after": hostile, "dropped": 0},
        {"models": ["large", "huge"], "before": "[user] ", "after": hostile, "dropped": 4, "prompt": "green ?"},
    ]
    pair = {"prompt": "red green ?", "best": "b", "worse": "w", "pair": 0, "disputed": False, "verdicts": [0.7]}
    pairs = [{**pair, "example": 1, "seen": seen}, {**pair, "example": 2}, {**pair, "example": 3, "seen": seen[:1]}]
    shown = replace(TABLES, samples={"code": {"columns": [["small", "mms", "easy"]], "pairs": pairs}})
    opened = Opened(browser, render("trial", shown, {}), tmp_path, 1400)
    cards = opened.page.locator("#sample-list article")

    def prompts(card: int) -> list[str]:
        # The last two texts are the responses.
        return cards.nth(card).locator("pre").all_text_contents()[:-2]

    assert prompts(0) == [f"[user] red green ?{hostile}", f"[user] green ?{hostile}"]
    assert (prompts(1), prompts(2)) == (["red green ?"], [f"[user] red green ?{hostile}"])
    assert cards.nth(0).locator("h4").all_text_contents()[:2] == [
        "Prompt, as seen by small", "Prompt, as seen by large, huge"
    ]  # fmt: skip
    assert "The first 4 characters were dropped" in cards.nth(0).inner_text()
    assert "dropped" not in cards.nth(2).inner_text()
    assert cards.nth(0).locator(".template").all_text_contents() == ["[user] ", hostile] * 2
    opened.page.select_option("#sample-prompts", "written")
    assert [prompts(card) for card in range(3)] == [["red green ?"]] * 3
    assert "dropped" not in cards.nth(0).inner_text()
    assert opened.page.locator("#sample-list :is(script, img, svg, iframe, link)").count() == 0
    opened.check()


def test_where_models_saw_what_is_written_there_is_no_choice(html: str) -> None:
    assert 'id="sample-prompts"' not in html and "as the models saw them" not in html


def test_samples_open_with_the_distribution_on_which_most_is_lost() -> None:
    accuracy = pl.when(target="code").then(0.2).otherwise(0.6)
    metrics = TABLES.metrics.with_columns(generalization_accuracy=accuracy, source_ID_accuracy=pl.lit(0.8))
    run = TABLES.having(generalization_metrics=metrics)
    run = replace(run, samples={**run.samples, "a_reference": run.samples["code"]})
    assert details.by_loss(run) == ["code", "hard", "persona", "a_reference"]


def test_on_a_phone_the_heatmap_shows_one_intervention_at_a_time(shared: Callable[..., Opened]) -> None:
    opened = shared(400)
    figure = opened.page.locator("#figure-heatmap-0")

    def numbers() -> list[str]:
        texts = figure.locator("svg text").all_text_contents()
        return [text for text in texts if text.replace(".", "").isdigit()]

    board = TABLES["leaderboard"].filter(model="small", label="all", averaged_over="distinct")
    first, *_, last = board["intervention"].to_list()
    for method in (first, last):
        figure.locator("select").select_option(method)
        own = TABLES.metrics.filter(model="small", intervention=method)["generalization_accuracy"]
        mean = board.filter(intervention=method)["generalization_accuracy"].item()
        assert sorted(numbers()) == sorted(f"{value:.2f}" for value in [mean, *own])
    figure.locator("select").select_option("capability")
    known = TABLES.metrics.filter(model="small", intervention=first)["target_tuned_capability"]
    assert sorted(numbers()) == sorted(f"{value:.2f}" for value in [known.mean(), *known])
    opened.check(close=False)


def test_pointing_at_a_cell_tells_its_details(shared: Callable[..., Opened]) -> None:
    opened = shared(1400)
    # The first rectangles are means and capabilities.
    opened.page.locator("#figure-heatmap-0 .mark-rect").nth(1).locator("path").first.hover(force=True)
    tooltip = opened.page.locator("#vg-tooltip-element.visible")
    tooltip.wait_for()
    told = tooltip.inner_text()
    assert "source" in told and "95 % from" in told and "elicitation, 95 % from" in told and "0.111" in told
    opened.check(close=False)


def test_names_that_would_be_formulas_are_taken_along_as_texts(browser: Browser, tmp_path: Path) -> None:
    names = ['=HYPERLINK("http://outside.invalid")', "@SUM(1)", "+1\x1b[31m", "-1"]
    shown = render("run", make_tables(["small"], names, [Shift("a", "b", "b", "l", "c", 1)]), {})
    opened = Opened(browser, shown, tmp_path, 1400)
    with opened.page.expect_download() as download:
        opened.page.locator("#leaderboard .download").first.click()
    rows = csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8")))
    expected = {f"'{name}".replace("\x1b", "\ufffd") for name in names}
    assert {row["intervention"] for row in rows} == expected
    opened.check()


def test_hostile_texts_of_data_stay_text(browser: Browser, tmp_path: Path) -> None:
    a, b, c, d, e, f, g = HOSTILE
    shifts = [Shift(a, b, b, d, c, 1), Shift(f, g, g, g, f, 1)]
    opened = Opened(browser, render(a, make_tables([b], [d, e, a], shifts), {a: b}), tmp_path, 1400)
    page = opened.page
    for target in (b, g):
        page.select_option("#sample-target", target)
        assert target in page.locator("#sample-list").inner_text()
        assert page.locator("#sample-list :is(script, img, svg, iframe, link)").count() == 0
    assert page.title().startswith(a)
    opened.check()


def test_what_the_tests_watch_for_would_be_seen(browser: Browser, tmp_path: Path) -> None:
    opened = Opened(browser, f"<title>x</title>{HOSTILE[5]}<script>console.log('ran')</script>", tmp_path, 800)
    opened.page.wait_for_timeout(300)
    assert "ran" in opened.complaints
    assert "http://outside.invalid/i" in opened.requests


def test_pressing_a_name_brings_out_its_line_in_the_radar(shared: Callable[..., Opened]) -> None:
    opened = shared(1400)
    figure = opened.page.locator("#figure-radar")

    def opacities() -> dict[str, float]:
        """Of the lines, by their colour, once the browser has drawn them again."""
        opened.page.wait_for_timeout(200)
        return {
            str(line.get_attribute("stroke")): float(line.get_attribute("opacity") or 1)
            for line in figure.locator(".mark-line path[stroke^='var(--model']").all()
        }

    before = opacities()
    names = figure.locator(".role-legend-label text")
    assert len(before) == 2 == names.count() and len(set(before.values())) == 1
    names.nth(1).click(force=True)
    chosen = opacities()
    assert sorted(chosen.values()) == [0.1, before["var(--model-1)"]] and chosen["var(--model-0)"] == 0.1
    names.nth(0).click(force=True)
    assert opacities() == before  # both are brought out
    names.nth(0).click(force=True)
    assert opacities() == chosen
    opened.check(close=False)


def test_a_choice_of_model_changes_ellipses_and_radar(shared: Callable[..., Opened]) -> None:
    opened = shared(1400)

    def drawn(name: str) -> str:
        marks = opened.page.locator(f"{name} .mark-symbol path").all()
        return " ".join(str(mark.get_attribute("transform")) for mark in marks)

    for name in ("#figure-ellipses-0", "#figure-ellipses-1", "#figure-radar"):
        select = opened.page.locator(f"select[data-figures~='{name[1:]}']")
        select.select_option("small")
        small = drawn(name)
        select.select_option("large")
        opened.page.wait_for_timeout(200)
        assert drawn(name) != small
        select.select_option("small")
        opened.page.wait_for_timeout(200)
        assert drawn(name) == small
    opened.check(close=False)
