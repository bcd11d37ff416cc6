"""The permutation null through the real workflow."""

from __future__ import annotations

import polars as pl
from project import Project

AGAIN = ("metrics", "details", "provenance", "report")


def test_a_null_of_every_probe_that_chooses_sites_on_every_shift(project: Project) -> None:
    results = project.folder / "results/mini"
    metrics = (results / "generalization_metrics.csv").read_bytes()
    assert not len(pl.read_csv(results / "nulls.csv"))
    project.config["permutations"] = 39
    assert project.jobs() == {"nulls": 1, **dict.fromkeys(AGAIN, 1)}
    (row,) = pl.read_csv(results / "nulls.csv").iter_rows(named=True)
    assert (row["intervention"], row["source"], row["target"], row["repeats"]) == ("mms", "north", "south", 39)
    assert 0 <= row["low"] <= row["median"] <= row["high"] <= 1
    assert 1 / 40 <= row["p"] == row["p_adjusted"] <= 1
    assert (results / "generalization_metrics.csv").read_bytes() == metrics
    assert project.jobs() == {}
    project.config["permutations"] = 0
    assert project.jobs() == dict.fromkeys(AGAIN, 1)
    assert not len(pl.read_csv(results / "nulls.csv"))
