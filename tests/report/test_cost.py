"""What the page says of costs: to compute everything, and of this run."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from test_page import make_tables

from genies.data.shifts import Shift
from genies.evaluation.records import COSTS, JOBS
from genies.report.cost import computing, costs, took
from genies.report.findings import findings
from genies.report.page import render
from genies.report.tables import Tables
from genies.report.words import size

SHIFTS = [Shift(f"s{n}", f"t{n}", f"t{n}", "extreme", "skill", 1) for n in range(3)]
KNOWN = {"device": "cpu", "cpu_seconds": 10.0, "peak_memory": 3 * 2**30, "bytes": 2048}
EXTRACT = {"stage": "extract", "seconds": 6000.0, "computed_tokens": 150, "distinct_tokens": 100, **KNOWN}
TUNE = {"stage": "tune", "intervention": "lora", "seconds": 2000.0, **KNOWN}
MMS = {"stage": "probe", "intervention": "mms", "seconds": 1.0, **KNOWN}
JOB_EXTRACT = {"rule": "extract", "seconds": 6100.0}
JOB_TUNE = {"rule": "tune", "intervention": "lora", "seconds": 2100.0}
METRICS = {"rule": "metrics", "model": None, "seconds": 4.0}


def run(made: list[dict[str, Any]], jobs: list[dict[str, Any]], models: tuple[str, ...] = ("small",)) -> Tables:
    tables = make_tables(list(models), ["zero_shot", "mms", "lora"], SHIFTS)
    return tables.having(
        costs=COSTS.frame({"model": models[0], **row} for row in made),
        jobs=JOBS.frame({"model": models[0], **row} for row in jobs),
    )


def said(tables: Tables) -> str | None:
    return next((found.text for found in findings(tables)["small"] if found.about == "Cost"), None)


def test_things_and_jobs_meet_by_stage_and_method() -> None:
    rows = costs(run([TUNE, EXTRACT, MMS, MMS], [METRICS, JOB_TUNE, JOB_EXTRACT]))
    assert [(row["model"], row["stage"], row["intervention"], row["things"], row["jobs"]) for row in rows] == [
        ("small", "extract", None, 1, 1),
        ("small", "probe", "mms", 2, None),
        ("small", "tune", "lora", 1, 1),
        (None, "other jobs", None, None, 1),
    ]
    assert [row["seconds"] for row in rows] == [6000, 2, 2000, None]
    assert [row["job_seconds"] for row in rows] == [6100, None, 2100, 4]


def test_what_is_not_kept_was_computed_by_its_jobs() -> None:
    plugin = {"rule": "plugin", "intervention": "plug", "seconds": 50.0}
    total = computing(costs(run([EXTRACT], [JOB_EXTRACT, plugin, METRICS])))
    assert (total["seconds"], total["job_seconds"]) == (6054, 6154)
    assert total["dearest"] == "extract" and total["share"] == pytest.approx(6000 / 6054)


@pytest.mark.parametrize(("job", "counted"), [(50.0, 50.0), (0.5, 1.0)], ids=["fitted now", "fits in the cache"])
def test_of_a_probe_the_tests_are_not_kept_so_that_its_job_counts_where_it_took_longer(
    job: float, counted: float
) -> None:
    probe = {"rule": "probe", "intervention": "mms", "seconds": job}
    assert computing(costs(run([MMS], [probe])))["seconds"] == counted
    assert [row["jobs"] for row in costs(run([MMS], [probe]))] == [1]


def test_stages_of_earlier_versions_come_last() -> None:
    rows = costs(run([MMS | {"stage": "fit"}, EXTRACT, TUNE], []))
    assert [row["stage"] for row in rows] == ["extract", "tune", "fit"]


@pytest.mark.parametrize(
    ("made", "jobs", "text"),
    [
        (
            [EXTRACT, TUNE],
            [JOB_EXTRACT, JOB_TUNE],
            "Computing all of it took 2.2 h on the CPU, 75\u00a0% of that for the stage extract. "
            "The 2 jobs of this run took 2.3 h in all.",
        ),
        (
            [EXTRACT, TUNE | {"seconds": 20_000.0, "device": "GPU X"}],
            [{**JOB_EXTRACT, "seconds": 3.0}],
            "Computing all of it took 7.2 h on the CPU and GPU X, 77\u00a0% of that for the stage tune. "
            "The 1 job of this run took 3 s in all; most was in the cache.",
        ),
        (
            [EXTRACT, {"stage": "probe", "intervention": "mms", "bytes": 3}],
            [JOB_EXTRACT],
            "Computing all of it took at least 1.7 h on the CPU: 1 of 2 results in the cache say nothing of what they "
            "took. The 1 job of this run took 1.7 h in all.",
        ),
        (
            [{"stage": "probe", "intervention": "mms", "bytes": 3}],
            [JOB_EXTRACT],
            "The 1 job of this run took 1.7 h in all. What the cache had before is not known: 1 of 1 results in the "
            "cache say nothing of what they took.",
        ),
    ],
)
def test_the_sentence_says_what_it_took_and_what_of_it_was_in_the_cache(
    made: list[dict[str, Any]], jobs: list[dict[str, Any]], text: str
) -> None:
    assert said(run(made, jobs)) == text


def test_terminal_and_page_count_the_same_things_and_jobs() -> None:
    """What is done once for all models belongs to no model, and to the run; unknown costs are no costs of 0."""
    unknown = {"stage": "probe", "intervention": "mms", "bytes": 3}
    shared = {"model": None, "stage": "extract", "seconds": 1800.0, "device": "cpu", "bytes": 1}
    for made, jobs, terminal, page in (
        ([EXTRACT, unknown], [JOB_EXTRACT, METRICS], "at least 1.7 h", "The 2 jobs of this run took 1.7 h"),
        ([EXTRACT, shared], [JOB_EXTRACT, METRICS], "2.2 h", "The 2 jobs of this run took 1.7 h"),
        ([unknown], [JOB_EXTRACT, METRICS], "not known", "The 2 jobs of this run took 1.7 h"),
    ):
        tables = run(made, jobs)
        assert took(tables) == terminal
        assert page in (said(tables) or "") and (terminal in (said(tables) or ""))
    assert took(run([], [])) is None


def test_of_several_models_the_cost_is_that_of_all() -> None:
    tables = run([EXTRACT], [JOB_EXTRACT, METRICS], ("small", "other"))
    tables = tables.having(costs=COSTS.frame([{"model": "small", **EXTRACT}, {"model": "other", **TUNE}]))
    assert took(tables) == "2.2 h" and said(tables) is None
    found = findings(tables)
    assert list(found) == ["small", "other", "All models"] and [one.about for one in found["All models"]] == ["Cost"]
    text = found["All models"][0].text
    assert text.startswith("Computing all of it took 2.2 h") and "The 2 jobs of this run" in text
    page = re.sub("<[^>]+>", "", html.unescape(render("run", tables, {"configuration": {}})))
    assert text in page


def test_a_cost_that_is_not_known_is_no_number_in_the_download() -> None:
    untimed = {"rule": "extract", "seconds": None}
    tables = run([{"stage": "probe", "intervention": "cra", "bytes": 7}], [untimed])
    fit, extract = sorted(costs(tables), key=lambda row: row["stage"], reverse=True)
    assert [fit[name] for name in ("seconds", "cpu_seconds", "computed_tokens", "distinct_tokens")] == [None] * 4
    assert extract["job_seconds"] is None and fit["bytes"] == 7
    page = render("run", tables, {"configuration": {}})
    section = page[page.index('<section id="cost">') :].partition("</section>")[0]
    assert 'data-values="[null]">–<' in section and "[0]" not in section and "[0.0]" not in section


def test_without_tables_nothing_is_said() -> None:
    tables = run([], [])
    assert said(tables) is None
    assert 'id="cost"' not in render("run", tables, {"configuration": {}})


def test_the_section_has_a_row_for_each_stage_and_method() -> None:
    page = render(
        "run",
        run([EXTRACT, MMS, {"stage": "probe", "intervention": "cra", "bytes": 7}], [JOB_EXTRACT, METRICS]),
        {"configuration": {}},
    )
    section = page[page.index('<section id="cost">') :].partition("</section>")[0]
    text = " ".join(html.unescape(re.sub("<[^>]+>", " ", section)).replace("\u00a0", " ").split())
    assert "extract – 1 1.7 h 10 s cpu 3 GiB 2 KiB 1.50 100 distinct 1 1.7 h" in text
    assert "probe cra 1 1 without a note – – – – 7 B – – –" in text
    assert "other jobs, once for the run – – – – – – – – 1 4 s" in text


def test_another_run_beside_it_brings_its_own_costs_unless_it_has_other_shifts() -> None:
    other = run([EXTRACT], [JOB_EXTRACT], ("other",))
    assert {row["model"] for row in costs(run([MMS], []).beside(other, "b"))} == {"small", "other"}
    fewer = run([MMS], [])
    fewer = fewer.having(generalization_metrics=fewer.metrics.filter(source="s0"))
    assert {row["model"] for row in costs(fewer.beside(other, "b"))} == {"small"}


@pytest.mark.parametrize(
    ("count", "text"), [(None, "–"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 2**30, "5 GiB")]
)
def test_sizes_have_few_digits(count: int | None, text: str) -> None:
    assert size(count).replace("\u00a0", " ") == text
