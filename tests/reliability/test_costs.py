"""The stage ``costs``: of what the cache has, of a run that took all from there, and of a run that computed it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from verbs import Verbs, contents

from genies.evaluation.records import COSTS, JOBS
from genies.spent import SPENT_FILE, read_spent

RUN = Path("results/run")


def costs(run: Verbs) -> pl.DataFrame:
    assert run.run("costs") == 0
    return COSTS.read(RUN)


def test_every_store_fit_and_test_has_its_cost(run: Verbs) -> None:
    table = costs(run)
    things = table.select("stage", "intervention", "source", "distribution", "split").rows()
    assert things == [
        ("extract", None, None, "north", "train"),
        ("extract", None, None, "north", "test"),
        ("probe", "mms", "north", None, None),
        ("probe", "cra", "north", None, None),
        ("tune", "lora", "north", None, None),
        ("test", "lora", "north", "north", "test"),
    ]
    assert table["model"].unique().to_list() == ["tiny"] and table["device"].unique().to_list() == ["cpu"]
    for name in ("seconds", "cpu_seconds", "peak_memory", "bytes"):
        assert (table[name] > 0).all()
    extracted = table.filter(stage="extract")
    assert (extracted["computed_tokens"] >= extracted["distinct_tokens"]).all()
    assert table.filter(pl.col("stage") != "extract")["computed_tokens"].null_count() == 4


def test_stores_that_were_computed_together_count_once(run: Verbs) -> None:
    stores = json.loads(Path(run.activations).read_text())["stores"]
    folders = [Path("cache/activations", store["digest"]) for store in stores if store["split"] == "train"]
    notes = [read_spent(folder)["store"] for folder in folders]
    assert len(folders) > 1 and all(note == notes[0] for note in notes)
    (row,) = costs(run).filter(split="train").to_dicts()
    assert row["seconds"] == pytest.approx(sum(note.seconds for note in notes[0]))


def test_what_comes_from_the_cache_costs_what_it_took_when_it_was_made(run: Verbs) -> None:
    before = costs(run)
    for verb in ("extract", "fit mms", "tune", "costs"):
        for file in run.made[verb]:
            Path(file).unlink()
        assert run.run(verb) == 0
    assert costs(run).equals(before)


def test_what_has_no_note_is_unknown_and_not_free(run: Verbs) -> None:
    notes = sorted(Path("cache").rglob(SPENT_FILE))
    assert len(notes) == len({note.parent for note in notes}) > 4
    for note in notes:
        note.unlink()
    table = costs(run)
    assert table["seconds"].null_count() == len(table) == 6 and (table["bytes"] > 0).all()


def test_a_fit_that_is_made_anew_by_a_plain_rerun_adds_nothing_of_others(run: Verbs) -> None:
    before = costs(run).filter(pl.col("intervention").is_null() | (pl.col("intervention") != "mms"))
    (digest,) = json.loads(Path(run.fits["mms"]).read_text())["fits"].values()
    shutil.rmtree(Path("cache/interventions", digest))
    Path(run.fits["mms"]).unlink()
    assert run.run("fit mms") == 0
    after = costs(run).filter(pl.col("intervention").is_null() | (pl.col("intervention") != "mms"))
    assert after.equals(before)


def test_jobs_are_as_snakemake_measured_them_last(run: Verbs) -> None:
    header = "s\th:m:s\tmax_rss\tcpu_time\n"
    for name, row in {
        "extract/tiny/0": "12.5\t0:00:12\t100.0\t20.0",
        "tune/tiny/lora/0": "3.0\t0:00:03\t-\tNA",
        "metrics": "1.5\t0:00:01\t50.0\t1.4",
    }.items():
        file = RUN / "benchmarks" / f"{name}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{header}{row}\n")
    costs(run)
    assert JOBS.read(RUN).rows() == [
        ("extract", "tiny", None, "0", 12.5, 20.0, 100 * 2**20),
        ("metrics", None, None, None, 1.5, 1.4, 50 * 2**20),
        ("tune", "tiny", "lora", "0", 3.0, None, None),
    ]


def test_what_other_configurations_left_is_no_job_of_the_run(run: Verbs) -> None:
    for name in ("probe/tiny/mms", "probe/removed/mms", "few_labels/tiny", "few_labels/tiny/north", "metrics"):
        file = RUN / "benchmarks" / f"{name}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("s\tmax_rss\tcpu_time\n1.0\t1.0\t1.0\n")
    run.commands["costs"] += ("--jobs", "metrics", "probe/tiny/mms", "few_labels/tiny/north", "few_labels/tiny/south")
    costs(run)
    assert JOBS.read(RUN).select("rule", "model", "intervention", "job").rows() == [
        ("few_labels", "tiny", None, "north"),
        ("metrics", None, None, None),
        ("probe", "tiny", "mms", None),
    ]


def test_nothing_that_was_spent_is_part_of_a_name_or_of_a_checksum(run: Verbs) -> None:
    kept = contents(Path())
    for note in Path("cache").rglob(SPENT_FILE):
        note.write_text("{}")
    for verb in ("extract", "fit mms", "tune", "gather", "evaluate", "metrics", "records", "provenance"):
        for file in run.made[verb]:
            Path(file).unlink()
        assert run.run(verb) == 0
    now = contents(Path())
    assert [name for name in kept if kept[name] != now.get(name) and "costs" not in name and "log" not in name] == []
