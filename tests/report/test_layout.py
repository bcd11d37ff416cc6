"""What can be read on the page: labels apart and whole, and tables that show where they go on."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from test_page import BROWSER, TABLES, make_tables

from genies.data.shifts import Shift
from genies.report.page import render

if BROWSER is None:
    pytest.skip("needs a browser: install chromium", allow_module_level=True)

import layout
from playwright.sync_api import Browser, Page

WIDTHS = (1400, 400)
CATEGORIES = ["difficulty", "encoding", "skill", "context", "quality", "pretraining_similarity"]
METHODS = [
    "random", "zero_shot", "few_shot", "mms", "lat_stim_1", "lat_stim_2", "cra", "ccs", "lora_fine_tuning",
    "prompt_tuning",
]  # fmt: skip
MANY = [Shift(f"source_{n}", f"target_{n}", f"target_{n}", "extreme", CATEGORIES[n % 6], 1) for n in range(24)] + [
    Shift(f"source_{n % 5}", f"other_{n}", f"other_{n}", "probing", ("unwanted_personas", "spurious_cues")[n % 2], 1)
    for n in range(12)
]
RUNS = {
    "few of everything": TABLES,
    "ten interventions, eight categories, three sizes": make_tables(
        ["llama-7b", "llama-13b", "llama-30b"], METHODS, MANY
    ),
}


def shown(browser: Browser, html: str, folder: Path, width: int) -> Page:
    """A page whose figures are all drawn."""
    file = folder / "report.html"
    file.write_text(html, encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(file.as_uri())
    page.locator(".figure:not([data-drawn])").first.wait_for(state="detached", timeout=60_000)
    return page


@pytest.fixture(scope="module", params=RUNS)
def html(request: pytest.FixtureRequest) -> str:
    return render("trial", RUNS[request.param], {})


@pytest.fixture(scope="module", params=WIDTHS)
def page(request: pytest.FixtureRequest, browser: Browser, html: str, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return shown(browser, html, tmp_path_factory.mktemp("page"), request.param)


def test_no_label_of_a_figure_overlaps_another_or_is_cut_off(page: Page) -> None:
    found = layout.labels(page)
    assert found["labels"] > 100
    assert (found["overlapping"], found["cut"]) == ([], [])


def test_a_table_that_is_wider_than_its_place_shows_that_it_goes_on(page: Page) -> None:
    wide = layout.wide_tables(page)
    assert wide or page.evaluate("innerWidth") == 1400
    # Tables of one name, such as those of several models, are made alike.
    first = {name.rstrip("-0123456789"): number for number, name in reversed([*enumerate(wide)])}
    assert [name for name, number in first.items() if not layout.shows_that_it_scrolls(page, number)] == []


def test_the_dot_nearest_to_a_name_is_its_own(page: Page) -> None:
    found = layout.names_of_dots(page)
    assert found["strayed"] == []
    assert not found["dots"] or found["names"]


def test_verdicts_are_in_sight_however_long_their_remarks_are(browser: Browser, tmp_path: Path) -> None:
    """Long names beside them, as the published results have."""
    run = make_tables(["llama-7b"], ["target_tuned_zero_shot", "lora_fine_tuning", "prompt_tuning_twice"], MANY[:3])
    long = "the shifts of 3 sources support no claim about new shifts, and how single pairs were ranked is not known"
    carried = "programming_a_language → programming_another_language"
    comparisons = run["comparisons"].with_columns(remark=pl.lit(long), carried_by=pl.lit(carried))
    page = shown(browser, render("trial", run.having(comparisons=comparisons), {}), tmp_path, 1400)
    hidden = page.evaluate(
        """() => [...document.querySelectorAll("#differences td:nth-child(5)")].filter((cell) =>
          cell.getBoundingClientRect().right > cell.closest(".scroll").getBoundingClientRect().right).length"""
    )
    assert page.locator("#differences td:nth-child(5)").count() >= 3 and hidden == 0
    page.close()


def test_what_is_measured_would_be_seen(browser: Browser, tmp_path: Path) -> None:
    """A label moved onto another, one moved out, and shadows taken away."""
    page = shown(browser, render("trial", TABLES, {}), tmp_path, 400)
    before = layout.labels(page)
    page.evaluate(
        """() => {
          const [first, second] = document.querySelectorAll("#figure-leaderboard .role-axis-label text");
          first.textContent = second.textContent;
          first.setAttribute("transform", second.getAttribute("transform"));
          const out = document.querySelector("#figure-category-0 .role-axis-label text");
          out.setAttribute("transform", "translate(-900)");
          for (const place of document.querySelectorAll(".scroll")) place.style.background = "none";
        }"""
    )
    after = layout.labels(page)
    assert before["overlapping"] == before["cut"] == []
    assert [figure for figure, *_ in after["overlapping"]] == ["figure-leaderboard"]
    assert [figure for figure, *_ in after["cut"]] == ["figure-category-0"]
    wide = layout.wide_tables(page)
    assert wide and not any(layout.shows_that_it_scrolls(page, number) for number in range(len(wide))[:3])
    page.close()
