"""The page can be read with a screen reader, a keyboard and weak eyes: axe-core finds nothing serious."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from test_browser import SCREENS, Browser, Opened
from test_page import ANSWERS, OF_MMS, REMARK, TABLES, TIES, planted

from genies.evaluation.tables import answers, ties
from genies.report.page import render

pytest.importorskip("axe_playwright_python", reason="needs axe-playwright-python")
from axe_playwright_python.sync_playwright import Axe

GRAVE = ("serious", "critical")


def violations(opened: Opened) -> dict[str, list[str]]:
    """Rules that the page breaks gravely, each with the elements that do."""
    found = Axe().run(opened.page).response["violations"]
    return {rule["id"]: [node["html"][:200] for node in rule["nodes"]] for rule in found if rule["impact"] in GRAVE}


@pytest.fixture(scope="module")
def everything() -> str:
    """A page with as many of its parts as one page can have."""
    seen = [{"models": ["small"], "before": "[user] ", "after": "[assistant] ", "dropped": 3, "prompt": "rd ?"}]
    code = TABLES.samples["code"]
    code = {**code, "pairs": [{**pair, "seen": seen} for pair in code["pairs"]]}
    run = planted(OF_MMS | {"remarks": REMARK}).having(
        sites=TABLES["sites"].with_columns(tied=pl.lit(5), tied_kept=pl.lit(2)),
        answers=pl.DataFrame(ANSWERS, schema=answers.TABLE.columns, orient="row"),
        ties=pl.DataFrame(TIES, schema=ties.TABLE.columns, orient="row"),
    )
    return render("trial", replace(run, samples={**run.samples, "code": code}), {"configuration": {"seed": 3}})


@pytest.mark.parametrize(("scheme", "width"), SCREENS)
def test_nothing_grave_is_found(browser: Browser, everything: str, tmp_path: Path, scheme: str, width: int) -> None:
    opened = Opened(browser, everything, tmp_path, width, scheme)
    opened.page.evaluate("document.querySelectorAll('details').forEach((element) => { element.open = true })")
    assert violations(opened) == {}
    opened.context.close()


def test_a_figure_is_one_image_beside_its_list(browser: Browser, everything: str, tmp_path: Path) -> None:
    opened = Opened(browser, everything, tmp_path, 400)
    figure = opened.page.locator("#figure-heatmap-0")
    assert figure.get_by_role("img", name="A row per shift").count() == 1
    assert figure.get_by_role("combobox").count() == 1
    assert figure.get_attribute("role") is None
    opened.check()


def test_what_is_grave_would_be_found(browser: Browser, everything: str, tmp_path: Path) -> None:
    opened = Opened(browser, everything, tmp_path, 1400)
    opened.page.evaluate("document.documentElement.style.setProperty('--soft', '#d5d6d9')")
    opened.page.evaluate("document.querySelector('#sample-source').parentElement.replaceWith("
                         "document.querySelector('#sample-source'))")  # fmt: skip
    assert {"color-contrast", "select-name"} <= violations(opened).keys()
    opened.context.close()
