"""The report page: what it says, that hostile names stay text, and that a real browser draws it."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import polars as pl
import pytest

from genies.data.shifts import Shift
from genies.errors import ConfigError
from genies.evaluation import records, seen
from genies.evaluation.evaluations import PLACE
from genies.evaluation.records import CHECKS, SITES, TRAINING
from genies.evaluation.tables import answers, ties
from genies.evaluation.tables.cells import TABLE as CELLS
from genies.evaluation.tables.comparisons import compare
from genies.evaluation.tables.elicitation_by_category import by_category
from genies.evaluation.tables.generalization_metrics import generalization_metrics
from genies.evaluation.tables.intervals import TABLE as INTERVALS
from genies.evaluation.tables.leaderboard import leaderboard
from genies.evaluation.tables.reliability import TABLE as RELIABILITY
from genies.evaluation.tables.seeds import TABLE as SEEDS
from genies.files import write_json
from genies.report import drawing, sizes
from genies.report import tables as report_tables
from genies.report.page import render, write_report, write_report_from_tables
from genies.report.tables import Tables

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = (
    "</script><script>document.title='broken'</script>",
    '"><img src=x onerror="document.title=\'broken\'">',
    "{{ 7 * 7 }}${7*7}<!--",
    "']; document.title='broken'; ['",
    "datum.x\u2028\u2029\\u003cscript\\u003e&lt;b&gt;",
    '<img src="http://outside.invalid/i"><link rel=stylesheet href="http://outside.invalid/c">',
    "<script src=http://outside.invalid/s></script><svg onload=\"fetch('http://outside.invalid/f')\">",
)


TEXTS = [
    {
        "distribution": "easy",
        "split": "train",
        "examples": 40,
        "available": 40,
        "left_out": 0,
        "shortened": 0,
        "indistinct": 0,
        "merged": 0,
    },
    {
        "distribution": "code",
        "split": "test",
        "examples": 30,
        "available": 30,
        "left_out": 3,
        "shortened": 2,
        "indistinct": 4,
        "merged": 1,
    },
    {"distribution": "hard", "split": "test", "source": "easy", "intervention": "few_shot", "dropped_shots": 17},
    {"distribution": "hard", "split": "test", "source": "easy", "same_prompt": 3, "same_text": 1, "other_label": 0},
]


CHECK = {
    "distribution": "easy", "split": "test", "packed": True, "examples": 2, "texts": 18, "relative_difference": 3.2e-7,
    "log_probability_difference": 2.5e-6, "decisions": 5, "decisions_changed": 1, "reason": "",
}  # fmt: skip


def make_tables(
    models: list[str], interventions: list[str], shifts: list[Shift], capability: list[str] | None = None
) -> Tables:
    """Tables of a small run with invented accuracies."""
    places = {(s.source, s.source) for s in shifts} | {(s.source, s.target) for s in shifts}
    places |= {(s.target_reference, s.target_reference) for s in shifts}
    rows = []
    for m, model in enumerate(models):
        for i, intervention in enumerate(interventions):
            for p, (source, target) in enumerate(sorted(places)):
                accuracy = 0.5 if intervention == "random" else 0.3 + (0.17 * p + 0.09 * i + 0.05 * m) % 0.6
                errors = {"RMS_calibration_error": None, "calibration_error": 0.1, "brier": 0.2, "test_pairs": 40}
                interval = {"accuracy": accuracy, "low": accuracy - 0.05, "high": accuracy + 0.05}
                key = {"model": model, "intervention": intervention, "source": source, "target": target}
                rows.append(key | interval | errors)
    cells = pl.DataFrame(rows, schema=CELLS.columns)
    metrics = generalization_metrics(cells, shifts, interventions if capability is None else capability)
    texts = records.TEXTS.frame({"model": "small", **row} for row in TEXTS)
    sources = list(dict.fromkeys(s.source for s in shifts))
    training = [
        {"model": model, "intervention": name, "source": source, "step": step, "loss": 0.7, "learning_rate": 0.1}
        for model in models
        for name in interventions[-1:]
        for source in sources[:2]
        for step in (1, 2)
    ]
    sure = [
        {"model": model, "intervention": name, "bin": b, "confidence": 0.5 + b / 20, "accuracy": 0.5 + b / 25,
         "low": 0.4, "high": 0.9, "pairs": 30}
        for model in models for name in interventions[1:] for b in (1, 6)
    ]  # fmt: skip
    chosen = [
        {"model": models[0], "intervention": interventions[-1], "source": source, "layer": n % 3, "head": n,
         "accuracy": 0.6}
        for source in sources for n in range(4)
    ]  # fmt: skip
    spread = [
        {"model": models[0], "intervention": interventions[-1], "over": over, **place, "seeds": 3, "accuracy_mean": 0.6,
         "accuracy_sd": 0.012, "accuracy_least": 0.58, "accuracy_most": 0.61}
        for over, place in [("all", {}), ("shift", {"source": shifts[0].source, "target": shifts[0].target})]
    ]  # fmt: skip
    intervals = [
        {**{name: row[name] for name in PLACE}, "elicitation_low": 0.111, "elicitation_high": 0.999}
        for row in metrics.iter_rows(named=True)
    ]
    comparisons = compare(metrics, {})
    frames = {
        "generalization_metrics": metrics,
        "leaderboard": leaderboard(metrics, comparisons=comparisons),
        "elicitation_by_category": by_category(metrics),
        "texts": texts,
        "training": TRAINING.frame(training),
        "checks": CHECKS.frame([{"model": models[0], **CHECK}]),
        "sites": SITES.frame(chosen),
        "seeds": SEEDS.frame(spread),
        "comparisons": comparisons,
        "reliability": RELIABILITY.frame(sure),
        "cells": cells,
        "intervals": INTERVALS.frame(intervals),
    }
    return Tables(frames, samples={shift.target: sample(models, interventions, shift) for shift in shifts})


def sample(models: list[str], interventions: list[str], shift: Shift) -> dict:
    """Two pairs of a target with texts from its and its source's name."""
    columns = [[model, name, shift.source] for model in models for name in interventions]
    text = {"prompt": f"{shift.source} ?", "best": shift.target, "worse": "no", "pair": 0}
    verdicts = [round(0.3 + 0.4 * (n % 2), 2) for n in range(len(columns))]
    return {
        "columns": columns,
        "pairs": [
            {**text, "example": 4, "disputed": True, "verdicts": verdicts},
            {**text, "prompt": "plain words", "example": 7, "disputed": False, "verdicts": [None, *verdicts[1:]]},
        ],
    }


SHIFTS = [
    Shift("easy", "hard", "hard", "extreme", "difficulty", 1),
    Shift("easy", "code", "code", "extreme", "skill", 1),
    Shift("hard", "code", "code", "extreme", "skill", 1),
    Shift("plain", "persona", "plain", "probing", "personas", 2),
]
TABLES = make_tables(["small", "large"], ["random", "zero_shot", "mms"], SHIFTS)


class Page(html.parser.HTMLParser):
    """What a browser would make of a page: its elements with their attributes, and the text of each kind."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.contents: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.contents.append((tag, ""))

    def handle_data(self, data):
        if self.contents:
            tag, text = self.contents[-1]
            self.contents[-1] = (tag, text + data)

    def texts(self, tag: str) -> list[str]:
        return [text.strip() for name, text in self.contents if name == tag]

    def content(self) -> dict:
        scripts = [e for e in self.elements if e[0] == "script"]
        index = next(i for i, (_, attributes) in enumerate(scripts) if attributes.get("id") == "content")
        return json.loads(self.texts("script")[index])


@pytest.fixture(scope="module")
def page() -> str:
    return render("trial", TABLES, {"genies": "0", "configuration": {"seed": 3, "shifts": ["list.yaml"]}})


def test_page_states_title_results_intervals_and_provenance(page):
    parsed = Page(page)
    assert parsed.texts("title") == ["trial: how reward models generalize"]
    board = TABLES["leaderboard"].filter((pl.col("label") == "all") & (pl.col("averaged_over") == "distinct"))
    for row in board.iter_rows(named=True):
        assert f">{row['generalization_accuracy']:.3f}" in page
    first = board.row(0, named=True)
    assert f"{first['generalization_accuracy_low']:.3f} to {first['generalization_accuracy_high']:.3f}" in page
    assert "5 entries of the published list" in page
    assert dict(zip(parsed.texts("dt"), parsed.texts("dd"), strict=True))["seed"] == "3"
    assert "<details><summary>configuration</summary><dl>" in page[page.index('<section id="provenance">') :]


def test_page_shows_both_intervals_of_a_mean_and_says_which_is_which(page):
    assert ">new shifts: " in page and "<em>New shifts</em>: where" in page
    assert ">new examples: " not in page  # these tables know nothing of single pairs
    ends = {"generalization_accuracy_examples_low": 0.123, "generalization_accuracy_examples_high": 0.456}
    ends |= {"difference_to_best_examples_low": -0.098, "difference_to_best_examples_high": -0.012}
    board = TABLES["leaderboard"].with_columns(pl.lit(value).alias(name) for name, value in ends.items())
    # What is not tested has no interval.
    untested = TABLES["comparisons"].clear()
    shown = render("trial", TABLES.having(leaderboard=board, comparisons=untested), {})
    assert "<small>new examples: 0.123 to 0.456</small>" in shown
    assert "<small>new examples: −0.098 to −0.012</small>" in shown


def test_page_says_where_shifts_cannot_support_a_claim(page):
    """Four shifts of three sources have 1.8 degrees of freedom, and the probing one has one source."""
    assert "These shifts cannot support a claim about new shifts" in page
    assert "they all have one source" in page
    board = TABLES["leaderboard"].with_columns(degrees_of_freedom=pl.lit(4.2))
    shown = render("trial", TABLES.having(leaderboard=board), {})
    assert "These shifts cannot support" not in shown and "; 4.2 degrees of freedom</caption>" in shown


def test_page_counts_shifts_at_chance(page):
    counts = TABLES["leaderboard"].filter(label="all", averaged_over="distinct")["shifts_at_chance"]
    texts = Page(page).texts("td")
    assert counts.null_count() == 0 and all(f"{count} of 4" in texts for count in counts)


def test_page_states_what_was_computed_in_which_type():
    stated = [
        {"model": "small", "of": "activations", "computed": "float32", "devices": ["cpu"], "stored": "bfloat16"},
        {"model": "small", "of": "lora", "computed": "float32"},
        {"model": "small", "of": "few_shot", "computed": "float32"},
        {"model": "large", "of": "activations", "computed": "bfloat16", "devices": ["cuda"], "stored": "bfloat16"},
    ]
    lines = Page(render("trial", TABLES, {"arithmetic": stated})).texts("p")
    assert [line for line in lines if line.startswith("Computed in")] == [
        "Computed in float32 on the CPU, stored as bfloat16: activations (small).",
        "Computed in float32: lora, few_shot (small).",
        "Computed in bfloat16 on a GPU, stored as bfloat16: activations (large).",
    ]


def test_every_figure_has_its_element_and_its_data(page):
    parsed = Page(page)
    content = parsed.content()
    ids = {attributes.get("id") for tag, attributes in parsed.elements if tag == "div"}
    assert {figure["id"] for figure in content["figures"]} <= ids
    # One overall, one of labels, ellipses, the radar, radars of models, a heatmap per model, one per category,
    # correlations, reliability, sites, heads, one per training.
    assert len(content["figures"]) == 1 + 1 + 2 + 1 + 2 + 2 + 3 + 2 + 2 + 1 + 1 + 2
    for figure in content["figures"]:
        for spec in (figure["wide"], figure["narrow"]):
            names = set(re.findall(r'"data": \{"name": "([^"]+)"', json.dumps((spec or {}).get("layer", []))))
            assert {name for name in names if not name.startswith("data-")} <= set(content["data"])
    assert len(content["data"]["cells-0"]) == 3 * len(SHIFTS)


def test_figures_show_what_guessing_gives(page):
    content = Page(page).content()
    by_id = {figure["id"]: json.dumps(figure["wide"]) for figure in content["figures"]}
    assert '"x": 0.5' in by_id["figure-leaderboard"] and "strokeDash" in by_id["figure-leaderboard"]
    assert all("random_elicitation" in spec for name, spec in by_id.items() if "category" in name)
    # An odd number of colours, the middle one around 0.5.
    assert drawing.ACCURACY_STEPS[4:6] == (0.45, 0.55) and len(drawing.ACCURACY_STEPS) == 10


def test_policy_allows_only_what_the_page_holds(page):
    parsed = Page(page)
    policy = next(a["content"] for tag, a in parsed.elements if a.get("http-equiv") == "Content-Security-Policy")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    hashes = {
        kind: [f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'" for t in texts]
        for kind, texts in (("script-src", scripts), ("style-src", styles))
    }
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives == {
        "default-src": "'none'",
        "script-src": " ".join(hashes["script-src"]),
        "style-src": " ".join(hashes["style-src"]),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert len(scripts) == 2 and len(styles) == 1
    assert not any("src" in a or "style" in a or any(k.startswith("on") for k in a) for _, a in parsed.elements)
    assert all(a["href"].startswith("#") for _, a in parsed.elements if "href" in a)


@pytest.fixture(scope="module")
def hostile_page() -> str:
    a, b, c, d, e, f, g = HOSTILE
    shifts = [Shift(a, b, b, d, c, 1), Shift(a, e, e, d, c, 1), Shift(b, a, a, e, d, 2), Shift(f, g, g, g, f, 1)]
    return render(a, make_tables([b, c], [d, "mms", e, a], shifts), {a: {b: [c, d]}, "list": [{e: g}, {f: None}]})


def test_hostile_names_stay_text(hostile_page):
    parsed = Page(hostile_page)
    assert len([tag for tag, _ in parsed.elements if tag == "script"]) == 3
    assert not [tag for tag, _ in parsed.elements if tag in ("img", "b")]
    assert parsed.texts("title") == [f"{HOSTILE[0]}: how reward models generalize"]
    assert HOSTILE[2] in parsed.texts("h3")
    # Not even a harmless <: some sequences of it change how a browser reads the rest of a script element.
    assert "<" not in re.search(r'id="content">(.*?)</script>', hostile_page, re.DOTALL)[1]
    content = parsed.content()
    assert {row["intervention"] for row in content["data"]["leaderboard"]} == {
        HOSTILE[3],
        "mms",
        HOSTILE[4],
        HOSTILE[0],
    }


def expressions(page: str) -> set[str]:
    """Vega expressions of the figures of a page, with 0 for each number."""
    figures = json.dumps(Page(page).content()["figures"])
    found = re.findall(r'"(?:filter|labelExpr|expr|test|calculate|toggle)": "((?:[^"\\]|\\.)*)"', figures)
    return {re.sub(r"[0-9]+", "0", text) for text in found}


def test_no_name_becomes_part_of_an_expression(page, hostile_page):
    found = expressions(hostile_page)
    assert len(found) > 5 and found <= expressions(page)
    plain = r"datum\.index === 0|datum\.intervention === method_0|datum\.model_number === model|labels\[datum\.value\]"
    rest = {text for text in found if not re.fullmatch(plain, text)}
    shape = "(cos(datum.corner * 0 * PI / 0) < 0 ? datum.capability_down : datum.capability_up)"
    across = f"datum.capability + {shape} * cos(datum.corner * 0 * PI / 0)"
    up = across.replace("capability", "accuracy").replace("cos", "sin")
    assert rest == {"sequence(0, 0)", "true", across, up}


def test_left_out_and_shortened_examples_and_dropped_shots_are_counted(page):
    assert "70 examples in 2 splits" in page and "3 examples did not fit" in page and "2 prompts were shortened" in page
    assert "In 4 examples two responses are the same tokens" in page
    assert "All fit into" not in page and "In 1 text the end of the prompt" in page
    cells = Page(page).texts("td")
    start = cells.index("test")
    assert cells[start : start + 5] == ["test", "small", "30", "3", "2"]
    assert "17" in cells


def test_where_every_example_fits_and_is_distinct_nothing_else_is_said():
    read = TABLES["texts"].filter(pl.col("intervention").is_null() & pl.col("source").is_null())
    zero = dict.fromkeys(("left_out", "shortened", "indistinct", "merged"), pl.lit(0))
    shown = section(render("trial", TABLES.having(texts=read.with_columns(**zero)), {}), "texts")
    assert "All fit into the model's context." in shown
    assert not any(
        said in shown for said in ("did not fit", "shortened in front", "same tokens", "the end of the prompt")
    )
    assert "dropped shots" not in shown and "want more room" not in shown


def test_whether_intervals_of_differences_are_for_new_shifts_is_said(page):
    assert "These intervals are for other test examples" not in page
    over = TABLES["comparisons"].with_columns(interval_over=pl.lit("examples"))
    assert "<strong>These intervals are for other test examples" in render("trial", TABLES.having(comparisons=over), {})


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        ({"train": 60, "test": 40}, "at most 60 training examples and at most 40 test examples of each distribution."),
        ({"train": 60, "test": None}, "at most 60 training examples and all test examples of each distribution."),
        (
            {"train": None, "test": None, "distributions": {"<b>": {"train": 1}}},
            "all training examples and all test examples of each distribution, but at most 1 training example of "
            "&lt;b&gt;.",
        ),
        (
            {"train": 9, "test": 9, "distributions": {"west": {"train": None, "test": 5}, "code": {"test": 7}}},
            "at most 9 training examples and at most 9 test examples of each distribution, but at most 7 test examples "
            "of code; all training examples and at most 5 test examples of west.",
        ),
    ],
)
def test_a_limit_is_stated_in_front_and_with_the_texts(limit, sentence):
    page = render("trial", TABLES, {"configuration": {"limit": limit}})
    assert page.count(f"The run reads {sentence}") == 2
    assert "70 of the 70 examples in 2 splits" in page


@pytest.mark.parametrize("limit", [{}, {"train": None, "test": None, "distributions": {}}])
def test_without_a_limit_nothing_is_said_of_one(limit):
    assert "The run reads" not in render("trial", TABLES, {"configuration": {"limit": limit}})


def test_what_packing_changes_is_stated(page):
    cells = Page(page).texts("td")
    start = cells.index("18")
    assert cells[start : start + 4] == ["18", "3.2e-07", "2.5e-06", "1 of 5"]


def test_equal_tables_give_equal_bytes(tmp_path):
    for name in ("one.html", "two.html"):
        write_report("trial", TABLES, {"seed": 3}, tmp_path / name)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_tooltips_leave_out_what_was_not_run(page, hostile_page):
    assert '"title":"baseline"' in page and '"title":"capability by"' in page
    assert '"title":"baseline"' not in hostile_page


def test_a_run_without_capability_says_so_instead_of_drawing():
    page = render("trial", make_tables(["m"], ["zero_shot"], SHIFTS, capability=[]), {})
    assert "no elicitation to show" in page and "no elicitation to show" not in render("trial", TABLES, {})
    assert len(Page(page).content()["figures"]) == 6


def test_one_model_one_shift_needs_no_interval_and_no_key():
    page = render("trial", make_tables(["m"], ["zero_shot", "mms"], SHIFTS[:1]), {})
    assert "1 distribution shift\n" in page
    assert ("ul", {"class": "key", "aria-label": "Models"}) not in Page(page).elements
    assert "dashed lines are for the same shifts with new examples" in page
    assert "1 shift: too few for an interval.</small>" in page


def write_run(folder: Path, run: Tables, seed: int) -> Path:
    """A run's results as its stages write them; returns the file of its provenance."""
    for name, table in report_tables.TABLES.items():
        table.write(run[name], folder)
    write_json(folder / records.SAMPLES_FILE, run.samples)
    provenance = folder / "provenance.json"
    stated = {"models": [{"name": "small", "weights": "0123abcd"}], "configuration": {"seed": seed}}
    provenance.write_text(json.dumps(stated))
    return provenance


def test_report_is_made_from_written_tables(tmp_path):
    provenance = write_run(tmp_path, TABLES, 11)
    write_report_from_tables(tmp_path, title="trial", provenance=provenance, output=tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "0123abcd" in page
    assert dict(zip(Page(page).texts("dt"), Page(page).texts("dd"), strict=True))["seed"] == "11"
    assert Page(page).content()["data"] == Page(render("trial", TABLES, {})).content()["data"]


def test_another_run_stands_beside_this_one_on_the_shifts_that_both_have(tmp_path):
    own, other = tmp_path / "own", tmp_path / "published"
    provenance = write_run(own, make_tables(["small"], ["zero_shot", "mms"], SHIFTS[:3]), 11)
    write_run(other, TABLES, 12)
    write_report_from_tables(own, title="trial", provenance=provenance, output=own / "report.html", beside=[other])
    page = Page((own / "report.html").read_text(encoding="utf-8"))
    content = page.content()
    assert {row["model"] for row in content["data"]["leaderboard"]} == {"small", "small (published)", "large"}
    assert {row["shifts"] for row in content["data"]["leaderboard"]} == {3}
    assert all(len(content["data"][f"cells-{n}"]) == 3 * count for n, count in enumerate((2, 3, 3)))
    seeds_stated = [text for name, text in zip(page.texts("dt"), page.texts("dd"), strict=True) if name == "seed"]
    assert seeds_stated == ["11", "12"]
    # Means of the other run are those of its metrics over these shifts, not those of its own table.
    shared = TABLES.metrics.filter(pl.col("label") == "extreme", model="large", intervention="mms")
    row = next(r for r in content["data"]["leaderboard"] if r["model"] == "large" and r["intervention"] == "mms")
    assert row["generalization_accuracy"] == pytest.approx(shared["generalization_accuracy"].mean())


def test_an_intervention_of_published_results_goes_by_this_runs_name():
    ours = make_tables(["small"], ["zero_shot", "lora"], SHIFTS)
    theirs = make_tables(["llama-7b"], ["zero_shot", "lora_fine_tuning"], SHIFTS)
    both = ours.beside(theirs, "published")
    assert set(both.metrics["intervention"]) == {"zero_shot", "lora"}
    assert set(both["comparisons"]["other"]) <= {"zero_shot", "lora"}
    assert set(both.metrics["target_tuned_capability_intervention"]) <= {"zero_shot", "lora"}


def test_a_run_without_a_common_shift_cannot_stand_beside(tmp_path):
    ours, theirs = (make_tables(["small"], ["mms"], shifts) for shifts in (SHIFTS[:1], SHIFTS[1:]))
    with pytest.raises(ConfigError, match="the run other has no shift that this run has"):
        ours.beside(theirs, "other")


def test_spread_over_seeds_stands_beside_the_interval(page):
    content = Page(page).content()
    assert ">0.012<small>0.580 to 0.610</small>" in page and "drawn 3 times" in page
    spec = next(json.dumps(f["wide"]) for f in content["figures"] if f["id"] == "figure-leaderboard")
    assert "accuracy_least" in spec
    assert [row["accuracy_most"] for row in content["data"]["cells-0"] if row["accuracy_most"]] == [0.61]
    one_seed = render("trial", TABLES.having(seeds=TABLES["seeds"].clear()), {})
    assert "over seeds</th>" not in one_seed and "accuracy_least" not in one_seed


@pytest.mark.skipif(BROWSER is None, reason="needs a browser: install chromium")
@pytest.mark.parametrize("width", [1400, 500])
def test_a_browser_draws_every_figure_of_a_hostile_page_without_a_complaint(tmp_path, hostile_page, width):
    file = tmp_path / "report.html"
    file.write_text(hostile_page, encoding="utf-8")
    result = open_in_browser(file, tmp_path / "profile", width)
    drawn = re.findall(r'<div class="figure[^>]*data-drawn', result.stdout)
    assert len(drawn) == len(Page(hostile_page).content()["figures"])
    assert result.stdout.count("<svg") >= len(drawn)
    assert "<title>broken" not in result.stdout
    # Breaches of the policy and errors of scripts are reported on the console.
    assert "CONSOLE" not in result.stderr, result.stderr
    assert not result.asked, f"requests left the page: {result.asked}"


class Proxy(ThreadingHTTPServer):
    """Stands between the browser and the network, refuses everything, and notes what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Refusing)
        self.asked: list[str] = []


class Refusing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_error(502)

    do_CONNECT = do_POST = do_HEAD = do_GET

    def log_message(self, *_: object) -> None: ...


@dataclass
class Opened:
    """What a browser made of a page: its elements after its scripts have run, its console, and requests that left."""

    stdout: str
    stderr: str
    asked: list[str]


@pytest.mark.skipif(BROWSER is None, reason="needs a browser: install chromium")
def test_a_request_that_leaves_a_page_would_be_seen(tmp_path):
    file = tmp_path / "page.html"
    file.write_text(HOSTILE[5], encoding="utf-8")
    assert "http://outside.invalid/i" in open_in_browser(file, tmp_path / "profile", 800).asked


def open_in_browser(file: Path, profile: Path, width: int) -> Opened:
    """Open a file in a browser whose every request goes to a proxy that only listens."""
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --enable-logging=stderr --dump-dom --virtual-time-budget=10000"
    )
    proxy = Proxy()
    Thread(target=proxy.serve_forever, daemon=True).start()
    flags += f" --proxy-server=127.0.0.1:{proxy.server_port} --window-size={width},900"
    command = [BROWSER, *flags.split(), f"--user-data-dir={profile}", file.as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    proxy.shutdown()
    proxy.server_close()
    return Opened(result.stdout, result.stderr, [url for url in proxy.asked if "outside" in url])


def test_heads_that_probes_chose_are_counted_over_sources():
    own = [("easy", 2, 0, 0.7), ("easy", 0, 5, 0.6), ("hard", 2, 0, 0.9), ("hard", 2, 0, 0.8)]
    rows = [("small", "mms", *site, 0, 0) for site in own] + [("small", "lat_stim_1", "easy", 1, None, 0.7, 0, 0)]
    chosen = pl.DataFrame(rows, schema=records.SITES.columns, orient="row")
    content = Page(render("trial", TABLES.having(sites=chosen), {})).content()
    assert content["data"]["heads"] == [
        {"layer": 0, "head": 5, "sources": 1, "accuracy": 0.6, "index": 0},
        {"layer": 2, "head": 0, "sources": 2, "accuracy": 0.9, "index": 0},
    ]
    assert [figure["id"] for figure in content["figures"] if "heads" in figure["id"]] == ["figure-heads-0"]


def full_matrix(names: list[str]) -> pl.DataFrame:
    """Cells of one intervention, fitted and tested on each of the distributions."""
    rows = [
        {**dict.fromkeys(CELLS.columns), "model": "small", "intervention": "mms", "source": source,
         "target": target, "accuracy": 0.25 * (n + m) / len(names)}
        for n, source in enumerate(names) for m, target in enumerate(names)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=CELLS.columns)


def test_how_alike_models_generalize_is_drawn():
    models = ["x-30b", "x-7b", "x-13b"]
    content = Page(render("trial", make_tables(models, ["random", "mms"], SHIFTS), {})).content()
    rows = content["data"]["correlations"]
    assert {(row["of"], row["with"]) for row in rows} == {(a, b) for a in models for b in models if a != b}
    assert all(
        row["r"] == next(o["r"] for o in rows if (o["of"], o["with"]) == (row["with"], row["of"])) for row in rows
    )
    drawn = [figure for figure in content["figures"] if "correlation" in figure["id"]]
    assert len(drawn) == 1 and '["x-7b", "x-13b", "x-30b"]' in json.dumps(drawn[0]["wide"])
    one = Page(render("trial", make_tables(["x-7b"], ["random", "mms"], SHIFTS), {})).content()
    assert not one["data"]["correlations"]


def test_the_full_matrix_is_drawn_where_it_was_computed():
    names = sorted({name for shift in SHIFTS for name in (shift.source, shift.target)})
    everything = full_matrix(names)
    content = Page(render("trial", TABLES.having(cells=everything), {})).content()
    assert len(content["data"]["matrix-0"]) == len(names) ** 2
    assert [figure["id"] for figure in content["figures"] if "matrix" in figure["id"]] == ["figure-matrix-0"]
    partial = Page(render("trial", TABLES.having(cells=everything[1:]), {})).content()
    assert not [figure for figure in partial["figures"] if "matrix" in figure["id"]]


def test_a_models_name_tells_its_size():
    names = {
        "llama-7b": 7 * 10**9, "pythia-410m": 410 * 10**6, "pythia-1.4b-deduped": 14 * 10**8,
        "org_Llama-2-70B": 7 * 10**10, "mixtral-8x7B": 56 * 10**9, "demo": None,
        "gpt2": None, "x-4bit": None, "3b1b": None, "a-0b": None,
        "qwen1.5-0.5b (published)": 5 * 10**8,
    }  # fmt: skip
    assert {name: sizes.parameters(name) for name in names} == names


def test_models_are_listed_by_size_everywhere():
    assert sizes.by_size(["demo", "a-30b", "b", "a-7b", "a-13b"]) == ["demo", "a-7b", "b", "a-13b", "a-30b"]
    models = ["llama-13b", "llama-30b", "llama-7b"]
    ordered = ["llama-7b", "llama-13b", "llama-30b"]
    parsed = Page(render("trial", make_tables(models, ["zero_shot", "mms"], SHIFTS), {}))
    content = parsed.content()
    assert [text for text in parsed.texts("h3") if text in models][:3] == ordered
    assert [row["size"] for row in content["data"]["labels"] if row["intervention"] == "mms"] == [0, 1, 2]
    assert list(dict.fromkeys(row["model"] for row in content["data"]["leaderboard"])) == ordered
    sample = content["samples"]["hard"]
    assert [model for model, _, _ in sample["columns"]] == [model for model in ordered for _ in range(2)]
    # The verdicts went along with their columns: that of the first pair of the last model given stands first now.
    assert sample["pairs"][1]["verdicts"] == [0.3, 0.7, None, 0.7, 0.3, 0.7]


def test_accuracy_by_size_is_drawn_where_sizes_differ():
    content = Page(render("trial", make_tables(["x-30b", "x-7b", "y-410m", "z"], ["mms"], SHIFTS), {})).content()
    rows = content["data"]["sizes"]
    assert {(row["model"], row["label"]) for row in rows} == {
        (model, label) for model in ("x-30b", "x-7b", "y-410m") for label in ("extreme", "probing")
    }
    assert {row["family"] for row in rows} == {"x-", "y-"}
    figure = next(figure["wide"] for figure in content["figures"] if figure["id"] == "figure-size-0")
    assert figure["params"] == [
        {"name": "labels", "value": {"410000000": "410M", "7000000000": "7B", "30000000000": "30B"}}
    ]
    same = Page(render("trial", make_tables(["x-7b", "y-7b", "z"], ["mms"], SHIFTS), {})).content()
    assert not same["data"]["sizes"] and not [f for f in same["figures"] if "size" in f["id"]]


def overlapping(rows: list[tuple], cells: dict[tuple[str, str], dict]) -> Tables:
    """The tables of a run of which some splits overlap, with further figures of ``mms`` by source and target."""
    clean = {
        place: {"clean_accuracy": 0.404, "clean_low": 0.303, "clean_high": 0.505, "clean_pairs": 31,
                "clean_clusters": 30, "seen_difference": 0.212, "seen_difference_low": -0.011,
                "seen_difference_high": 0.434, "fresh_accuracy": 0.397, "fresh_low": 0.287, "fresh_high": 0.507,
                "fresh_pairs": 28, "fresh_clusters": 27, "near_difference": 0.199, "near_difference_low": -0.015,
                "near_difference_high": 0.411} | own
        for place, own in cells.items()
    }  # fmt: skip
    changed = [
        {**cell, **(clean.get((cell["source"], cell["target"]), {}) if cell["intervention"] == "mms" else {})}
        for cell in TABLES["cells"].iter_rows(named=True)
    ]
    counts = pl.DataFrame(rows, schema=seen.COUNTS.columns, orient="row")
    return TABLES.having(cells=pl.DataFrame(changed, schema=CELLS.columns), overlap=counts)


def test_overlap_and_accuracy_without_it_are_shown():
    shared = [
        ("easy", "easy", 40, 9, 8, 7, 0, 3, 5, 4, 2, 1), ("hard", "hard", 40, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        ("easy", "hard", 40, 18, 17, 5, 1, 2, 0, 0, 0, 0), ("easy", "code", 30, 0, 0, 0, 0, 0, 6, 6, 0, 0),
        ("hard", "plain", 40, 40, 40, 0, 0, 0, 0, 0, 0, 0),
    ]  # fmt: skip
    few = {**dict.fromkeys(("clean_accuracy", "clean_low", "clean_high")), "clean_pairs": 12, "clean_clusters": 1}
    few |= dict.fromkeys(("seen_difference", "seen_difference_low", "seen_difference_high"))
    run = overlapping(shared, {("easy", "easy"): {}, ("easy", "hard"): few, ("plain", "plain"): {"clean_pairs": 40}})
    page = render("trial", run, {})
    front = " ".join(page[: page.index("<nav")].split())
    assert "In 1 shift more than 5&nbsp;% of the target's test examples also appear in the source's" in front
    assert "most of all in easy → hard (45 %). <a" in front
    section = page[page.index('<section id="overlap">') : page.index('<section id="texts">')]
    assert section.count("<details>") == 2 and "<details open" not in section
    within, across, clean = (Page(part) for part in section.split("<table ")[1:])
    assert within.texts("th")[12:] == ["easy"]
    assert within.texts("td") == ["easy", "40", "9", "8", "7", "0", "3", "5", "4", "2", "1"]
    # What is no shift of the page, as with matrix, is in the file alone.
    assert across.texts("td") == [
        *("hard", "40", "18", "17", "5", "1", "2", "0", "0", "0", "0"),
        *("code", "30", "0", "0", "0", "0", "0", "6", "6", "0", "0"),
    ]
    assert ">0.404<small>0.303 to 0.505</small>" in section and ">0.212<small>−0.011 to 0.434</small>" in section
    assert ">0.397<small>0.287 to 0.507</small>" in section and ">0.199<small>−0.015 to 0.411</small>" in section
    assert "too few clean pairs\n<small>12 pairs in 1 cluster</small>" in section
    assert clean.texts("th")[11:] == ["easy", "easy"] * len(TABLES.metrics["model"].unique())


def test_overlap_that_is_small_is_not_named_in_front_and_none_is_said():
    page = render("trial", overlapping([("easy", "hard", 40, 2, 2, 0, 0, 0, 0, 0, 0, 0)], {}), {})
    assert "more than 5&nbsp;%" not in page[: page.index("<nav")] and 'href="#overlap"' in page
    page = render("trial", overlapping([("easy", "hard", 40, *[0] * 9)], {}), {})
    assert "No test example appears in a training split" in page


def test_where_texts_are_not_known_nothing_is_said_of_overlap(page):
    assert 'id="overlap"' not in page and "#overlap" not in page


def test_overlap_is_that_of_this_run_whatever_is_beside_it():
    run = overlapping([("easy", "hard", 40, 18, 17, 5, 1, 2, 0, 0, 0, 0)], {("easy", "hard"): {}})
    both = run.beside(TABLES.having(overlap=run["overlap"]), "published").by_size()
    assert both["overlap"].equals(run["overlap"])
    assert both["cells"].filter(pl.col("clean_pairs").is_not_null())["model"].unique(maintain_order=True).to_list() == [
        "small",
        "large",
    ]


REMARK = "the capability is the best of mms, ccs, without this intervention"
OF_MMS = {
    "target_tuned_capability": 0.812, "capability_low": 0.734, "capability_high": 0.891,
    "target_tuned_capability_intervention": "ccs", "capability_chosen_by": "out-of-fold accuracy on training pairs",
    "capability_chosen_from": "mms, ccs", "elicitation": 0.654, "chance_adjusted_elicitation": 0.321,
    "calibration_error": 0.045, "calibration_error_by_chance": 0.067,
}  # fmt: skip


def planted(own: dict) -> Tables:
    """Tables of which the rows of ``mms`` on easy → hard have these values in the metrics, and no other a remark."""
    place = (pl.col("intervention") == "mms") & (pl.col("source") == "easy") & (pl.col("target") == "hard")
    changed = [pl.when(place).then(pl.lit(value)).otherwise(pl.col(name)).alias(name) for name, value in own.items()]
    adjusted = {"chance_adjusted_elicitation_low": 0.201, "chance_adjusted_elicitation_high": 0.432}
    intervals = TABLES["intervals"].with_columns(pl.lit(value).alias(name) for name, value in adjusted.items())
    metrics = TABLES.metrics.with_columns(remarks=pl.lit(None, pl.String))
    return TABLES.having(generalization_metrics=metrics.with_columns(changed), intervals=intervals)


def section(page: str, name: str) -> str:
    """The source of one section of a page."""
    start = page.index(f'<section id="{name}">')
    return page[start : page.index("</section>", start)]


def table(page: str, name: str) -> str:
    """The source of one table."""
    start = page.index(f'<table data-name="{name}">')
    return page[start : page.index("</table>", start)]


def test_elicitation_is_shown_with_its_capability_and_remarks():
    page = render("trial", planted(OF_MMS | {"remarks": REMARK}), {})
    shown = table(page, "elicitation")
    row = next(row for row in shown.split("<tr>") if REMARK in row)
    assert ">0.812<small>0.734 to 0.891</small>" in row and "<td>ccs</td>" in row
    assert ">0.654*<small>0.111 to 0.999</small>" in row and ">0.321<small>0.201 to 0.432</small>" in row
    assert shown.count(REMARK) == len(TABLES.metrics["model"].unique())
    of_categories = section(page, "categories")
    assert "small, 1 shift:\nout-of-fold accuracy on training pairs; chosen from mms, ccs</li>" in of_categories
    assert "Measured against a capability without them: mms." in of_categories
    assert section(page, "leaderboard").count("*<small>") > 0 and "A star marks" in section(page, "leaderboard")


def test_a_cell_of_the_heatmap_with_a_remark_is_framed_and_says_why():
    page = Page(render("trial", planted(OF_MMS | {"remarks": REMARK}), {})).content()
    others = {(row["intervention"], row["source"], row["target"]): row for row in page["data"]["cells-0"]}
    own = others.pop(("mms", "easy", "hard"))
    assert (own["framed"], own["remarks"]) == (1, REMARK)
    assert {(row["framed"], row["remarks"]) for row in others.values()} == {(0, "none")}
    spec = next(json.dumps(f["wide"]) for f in page["figures"] if f["id"] == "figure-heatmap-0")
    for title in ("capability, 95 % from", "chance-adjusted elicitation", "chosen by", "chosen from", "remarks"):
        assert f'"title": "{title}"' in spec, title
    assert '"field": "framed"' in spec


def test_without_remarks_nothing_is_marked():
    page = render("trial", planted({}), {})
    assert "*<small>" not in page and "frame" not in section(page, "shifts")
    assert "Measured against a capability without" not in page
    other = render("trial", planted({"remarks": "more accurate than the capability"}), {})
    assert "Measured against a capability without" not in other and "more accurate than" in table(other, "elicitation")


def test_a_calibration_error_stands_next_to_what_chance_gives():
    every = {"calibration_error": 0.045, "calibration_error_by_chance": 0.067}
    metrics = TABLES.metrics.with_columns(pl.lit(value).alias(name) for name, value in every.items())
    large = pl.when(source=pl.lit("plain")).then(0.068).otherwise("calibration_error").alias("calibration_error")
    page = render("trial", TABLES.having(generalization_metrics=metrics.with_columns(large)), {})
    assert Page(table(page, "calibration-larger")).texts("td")[:2] == ["small", "1 of 4"]
    cells = Page(table(page, "calibration")).texts("td")
    assert cells[3:6] == ["0.045", "0.067", "40"] and cells.count("0.068") == 6
    boards = section(page, "leaderboard")
    assert "By chance up to</th>" in boards and ">0.067</td>" in boards
    assert "only a larger error shows" in section(page, "calibration")


def test_where_it_is_not_known_what_chance_gives_nothing_is_said_of_it(page):
    assert "By chance up to" not in page and "by chance" not in page.lower()


ANSWERS = [
    ("small", "mms", "easy", "hard", 80, 0.5, 0.911, 0.122, 0.733, 0.655, 0.822),
    ("small", "mms", "easy", "easy", 80, 0.5, 0.9, 0.1, 0.7, 0.6, 0.8),
]


def test_answers_to_questions_are_shown_of_shifts(page):
    rows = pl.DataFrame(ANSWERS, schema=answers.TABLE.columns, orient="row")
    shown = section(render("trial", TABLES.having(answers=rows), {}), "answers")
    assert Page(shown).texts("td") == ["hard", "mms", "small", "80", "0.911", "0.122", "0.500", "0.733"]
    assert ">0.733<small>0.655 to 0.822</small>" in shown and "<details open" not in shown
    assert 'id="answers"' not in page and "#answers" not in page


TIES = [
    ("small", "mms", "easy", "hard", 20, 0.611, 0.622, 0.013, 0.6, 0.644),
    ("small", "mms", "easy", "code", 20, 0.711, 0.722, 0.024, 0.6, 0.755),
    ("small", "mms", "easy", "easy", 20, 0.811, 0.822, 0.024, 0.6, 0.855),
]


def test_other_orders_of_tied_sites_are_shown(page):
    rows = pl.DataFrame(TIES, schema=ties.TABLE.columns, orient="row")
    run = TABLES.having(ties=rows)
    boards = section(render("trial", run, {}), "leaderboard")
    # Those that move most come first.
    assert Page(table(boards, "ties")).texts("td")[::7] == ["code", "hard"]
    assert ">0.622<small>0.600 to 0.644</small>" in boards and ">0.013</td>" in boards
    assert 'data-name="ties"' not in page


def test_how_many_sites_tie_is_said_where_sites_are_shown(page):
    tied = pl.when(source=pl.lit("easy")).then(5).otherwise(0).alias("tied")
    sites = TABLES["sites"].with_columns(tied, tied_kept=pl.lit(2))
    shown = section(render("trial", TABLES.having(sites=sites), {}), "sites")
    assert "In 1 of the 3 fits several sites are as accurate" in shown
    assert Page(table(shown, "tied-sites")).texts("td") == ["mms", "small", "5", "2"]
    none = section(render("trial", TABLES.having(sites=sites.with_columns(tied=pl.lit(0))), {}), "sites")
    assert "In none of the 3 fits" in none and "tied-sites" not in none
    assert "tied-sites" not in page and "In none of the" not in page  # nothing is known of ties


def test_runs_beside_may_lack_answers_and_ties(tmp_path):
    """As those of ``genies published``, whose folder has no such files."""
    known = {
        "answers": pl.DataFrame(ANSWERS, schema=answers.TABLE.columns, orient="row"),
        "ties": pl.DataFrame(TIES, schema=ties.TABLE.columns, orient="row"),
    }
    own, other = tmp_path / "own", tmp_path / "published"
    provenance = write_run(own, TABLES.having(**known), 11)
    write_run(other, TABLES, 12)
    for name in (answers.TABLE.file, ties.TABLE.file):
        (other / name).unlink()
    write_report_from_tables(own, title="trial", provenance=provenance, output=own / "report.html", beside=[other])
    page = (own / "report.html").read_text(encoding="utf-8")
    assert Page(table(page, "answers")).texts("td")[:3] == ["hard", "mms", "small"]
    # The other way round, rows go by the other run's model, and only those of shifts that both have are kept.
    both = TABLES.having(generalization_metrics=TABLES.metrics.filter(target="hard")).beside(
        TABLES.having(**known), "published"
    )
    assert both["answers"].rows() == [("small (published)", *ANSWERS[0][1:])]
    assert both["ties"].rows() == [("small (published)", *TIES[0][1:])]
