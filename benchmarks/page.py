"""The report page at the size of a whole study: its bytes, and how long a browser takes to show it and to answer.

Run as ``python benchmarks/page.py [--data DISTRIBUTIONS_FOLDER]``; see ``docs/benchmarks.md``. The tables are made up:
one model, the published shifts, ten interventions of which those that read stored features were tested on every target
(``matrix``). Texts of samples are those of the distributions, or words of about the published lengths.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from genies.data.distributions import read_split
from genies.data.pairs import test_pairs
from genies.data.shifts import Shift, benchmarks, read_shifts
from genies.evaluation.bootstrap import COLUMNS as INTERVALS
from genies.evaluation.records import SITES, TEXTS, TRAINING
from genies.evaluation.seen import COUNTS
from genies.evaluation.tables.cells import TABLE as CELLS
from genies.evaluation.tables.comparisons import compare
from genies.evaluation.tables.elicitation_by_category import by_category
from genies.evaluation.tables.generalization_metrics import generalization_metrics
from genies.evaluation.tables.leaderboard import leaderboard
from genies.evaluation.tables.reliability import TABLE as RELIABILITY
from genies.report.page import render
from genies.report.tables import Tables
from genies.stages.samples import DISPUTED, DRAWN, shortened

MODEL = "pythia-410m"
PROBES = ("random", "mms", "lat_stim_1", "lat_stim_2", "lat_pca", "cra", "ccs")
"""Interventions that read stored features, and so are tested on every target."""
OTHERS = ("zero_shot", "few_shot", "lora")
TEST_PAIRS, STEPS, SITES_CHOSEN, LAYERS = 250, 75, 24, 24
LENGTHS = {"prompt": 440, "best": 180, "worse": 150}
"""Characters of texts where none are given: means over the published test splits."""

if TYPE_CHECKING:
    from playwright.sync_api import Page

Random = np.random.Generator


def tables(shifts: Sequence[Shift], probes: Sequence[str], others: Sequence[str], data: Path | None = None) -> Tables:
    """Tables of a run on these shifts, with the matrix, made up.

    Args:
        shifts: of the run.
        probes: interventions that were tested on every target.
        others: interventions that were tested on the shifts.
        data: folder of the distributions whose texts samples show; None makes words up.
    """
    random = np.random.default_rng(0)
    names = sorted({name for s in shifts for name in (s.source, s.target, s.target_reference)})
    on_shifts = sorted({(s.source, s.target) for s in shifts} | {(name, name) for name in names})
    everywhere = [(source, target) for source in names for target in names]
    places = [(method, *place) for method in probes for place in everywhere]
    places += [(method, *place) for method in others for place in on_shifts]
    cells = CELLS.frame(_cell(random, *place) for place in places)
    metrics = generalization_metrics(cells, shifts, [*probes, *others])
    sets = benchmarks(shifts)
    comparisons = compare(metrics, {}, sets)
    board = leaderboard(metrics, sets, comparisons=comparisons)
    frames = {
        "cells": cells,
        "generalization_metrics": metrics,
        "comparisons": comparisons,
        "leaderboard": board,
        "elicitation_by_category": by_category(metrics),
        "intervals": pl.DataFrame([_filled(random, INTERVALS, row) for row in metrics.to_dicts()], schema=INTERVALS),
        **_of_names(random, names, on_shifts, [*probes, *others]),
    }
    return Tables(frames, samples=_samples(random, shifts, names, [*probes, *others], data))


def _of_names(
    random: Random, names: Sequence[str], places: Sequence[tuple[str, str]], methods: Sequence[str]
) -> dict[str, pl.DataFrame]:
    """Tables that go by distributions and methods alone."""
    return {
        "reliability": RELIABILITY.frame(
            _filled(random, RELIABILITY.columns, {"model": MODEL, "intervention": method, "bin": bin_, "pairs": 900})
            for method in methods
            for bin_ in range(10)
        ),
        "texts": TEXTS.frame(
            {"model": MODEL, "distribution": name, "split": split, "available": 600, "examples": 600, "left_out": 3,
             "shortened": 0, "indistinct": 1, "merged": 0}
            for name in names for split in ("train", "test")
        ),
        "training": TRAINING.frame(_training(random, names, methods)),
        "sites": SITES.frame(_sites(random, names, methods)),
        "overlap": COUNTS.frame(
            {"source": source, "target": target, "examples": 250, "seen": 20, "same_prompt": 20, "same_text": 5,
             "other_label": 1, "complete": 1, "near": 8, "near_prompt": 8, "near_text": 2, "near_other_label": 0}
            for source, target in places
        ),
    }  # fmt: skip


def _filled(random: Random, columns: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """A row with ``known`` where it is known, and elsewhere with numbers of as many digits as real ones."""
    return {
        name: known[name] if known.get(name) is not None else float(random.uniform()) if kind == pl.Float64 else None
        for name, kind in columns.items()
    }


def _cell(random: Random, intervention: str, source: str, target: str) -> dict[str, Any]:
    accuracy = 0.5 if intervention == "random" else float(random.uniform(0.3, 1))
    known = {"model": MODEL, "intervention": intervention, "source": source, "target": target, "accuracy": accuracy}
    known |= {"low": accuracy - 0.05, "high": accuracy + 0.05, "test_pairs": TEST_PAIRS}
    without = {f"{kind}_{of}": TEST_PAIRS - 20 for kind in ("clean", "fresh") for of in ("pairs", "clusters")}
    return _filled(random, CELLS.columns, known | without)


def _training(random: Random, names: Sequence[str], methods: Sequence[str]) -> Iterator[dict[str, Any]]:
    for source in names if "lora" in methods else ():
        for step in range(1, STEPS + 1):
            place = {"model": MODEL, "intervention": "lora", "source": source, "step": step, "learning_rate": 1e-4}
            yield {**place, "loss": float(random.uniform())}


def _sites(random: Random, names: Sequence[str], methods: Sequence[str]) -> Iterator[dict[str, Any]]:
    for method in (name for name in ("mms", "lat_stim_1", "lat_stim_2") if name in methods):
        for source in names:
            for layer, head in random.integers(0, (LAYERS, 16), (SITES_CHOSEN, 2)).tolist():
                yield {"model": MODEL, "intervention": method, "source": source, "layer": layer, "head": head,
                       "accuracy": float(random.uniform()), "tied": 2, "tied_kept": 1}  # fmt: skip


def _samples(
    random: Random, shifts: Sequence[Shift], names: Sequence[str], methods: Sequence[str], data: Path | None
) -> dict[str, Any]:
    found = {}
    for target in names:
        sources = dict.fromkeys(s.source for s in shifts if s.target == target) or {target: None}
        columns = [[MODEL, method, source] for method in methods if method != "random" for source in sources]
        pairs = []
        for number, texts in enumerate(_texts(random, target, data)):
            verdicts = [round(float(value), 3) for value in random.uniform(size=len(columns))]
            place = {"example": number, "pair": 0, "disputed": number < DISPUTED}
            pairs.append({**{name: shortened(text) for name, text in texts.items()}, **place, "verdicts": verdicts})
        found[target] = {"columns": columns, "pairs": pairs}
    return found


def _texts(random: Random, target: str, data: Path | None) -> list[dict[str, str]]:
    if data is None:
        words = np.array("how what is the a river of sum prime city answer to in please code explain".split())
        return [
            {name: " ".join(random.choice(words, length // 5)) for name, length in LENGTHS.items()}
            for _ in range(DISPUTED + DRAWN)
        ]
    examples = read_split(data / target / "test.json")
    pairs = test_pairs(examples)
    chosen = [pairs[number] for number in random.permutation(len(pairs))[: DISPUTED + DRAWN]]
    return [
        {"prompt": examples[pair.example].prompt, "best": examples[pair.example].responses[pair.best],
         "worse": examples[pair.example].responses[pair.worse]}
        for pair in chosen
    ]  # fmt: skip


def in_browser(html: Path, width: int) -> Iterator[tuple[str, float]]:
    """What was done in headless Chromium, and the seconds until the page had settled after it."""
    from playwright.sync_api import sync_playwright

    executable = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = opened.new_page(viewport={"width": width, "height": 900})
        page.set_default_timeout(300_000)
        begin = time.perf_counter()
        page.goto(html.as_uri(), wait_until="commit")
        page.wait_for_selector("#findings")
        settle(page)
        yield "first screen", time.perf_counter() - begin
        board = page.locator("#leaderboard thead button").nth(1)
        yield "sort the leaderboard while figures are drawn", timed(page, board.click)
        page.locator(".figure:not([data-drawn])").first.wait_for(state="detached")
        yield "every figure drawn", time.perf_counter() - begin
        for what, act in actions(page).items():
            yield what, timed(page, act)
        opened.close()


def actions(page: Page) -> dict[str, Callable[[], Any]]:
    """What a reader presses, by what it does."""
    method, verdict = page.locator(".sample-method").first, page.locator(".sample-verdict").first
    choices = {box.evaluate("(e) => e.closest('.figure').id"): box for box in page.locator(".figure select").all()}
    return {
        "samples: another distribution": lambda: page.select_option("#sample-target", index=3),
        "samples: all distributions": lambda: page.select_option("#sample-target", ""),
        "samples: a method": lambda: method.select_option(index=1),
        "samples: its verdict": lambda: verdict.select_option("wrong"),
        "samples: search": lambda: page.fill("#sample-search", "river"),
        "sort the differences": page.locator("#differences thead button").nth(1).click,
        **{f"{name}: another": partial(box.select_option, index=1) for name, box in choices.items()},
    }


def timed(page: Page, act: Callable[[], Any]) -> float:
    """Seconds from an action until the page has settled."""
    begin = time.perf_counter()
    act()
    settle(page)
    return time.perf_counter() - begin


def settle(page: Page) -> None:
    """Wait for two frames after the last task: what was changed has been laid out and painted."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the page, measure it, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the published distributions, for texts of real length")
    parser.add_argument("--shifts", default="published69", help="list of shifts")
    parser.add_argument("--probes", nargs="*", default=PROBES)
    parser.add_argument("--others", nargs="*", default=OTHERS)
    parser.add_argument("--widths", type=int, nargs="*", default=(1400, 400))
    parser.add_argument("--output", type=Path, help="keep the page here")
    chosen = parser.parse_args(arguments)
    run = tables(read_shifts(chosen.shifts), chosen.probes, chosen.others, chosen.data)
    with tempfile.TemporaryDirectory() as folder:
        html = chosen.output or Path(folder) / "report.html"
        begin = time.perf_counter()
        html.write_text(render("study", run, {"configuration": {}}), encoding="utf-8")
        rendered = time.perf_counter() - begin
        print(f"{html.stat().st_size / 1e6:.2f} MB, rendered in {rendered:.1f} s")
        print("| what | window | seconds |\n|---|---|---|")
        for width in chosen.widths:
            for what, seconds in in_browser(html, width):
                print(f"| {what} | {width} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
