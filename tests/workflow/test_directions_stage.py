"""Directions through the real workflow."""

from __future__ import annotations

import polars as pl
from project import Project

AGAIN = ("metrics", "provenance", "costs", "report")


def test_directions_of_every_source_on_every_shift(project: Project) -> None:
    results = project.folder / "results/mini"
    assert not len(pl.read_csv(results / "directions.csv"))
    project.config["directions"] = True
    refused = project.run("-n")
    assert refused.returncode
    assert "directions: no intervention of the run reads the layers" in refused.stdout + refused.stderr
    project.config["interventions"] = [*project.config["interventions"], "logistic"]
    assert project.jobs()["directions"] == 1
    names = ("directions", "direction_layers", "transfer", "erasure")
    pairs, layers, transfers, erased = (pl.read_csv(results / f"{name}.csv") for name in names)
    assert set(layers["intervention"]) == {"mean_difference", "logistic"}
    assert set(layers["sources"]) == {2} and layers["transfer_p"].null_count() == len(layers)
    assert pairs["agreement"].is_between(-1 - 1e-9, 1 + 1e-9).all()
    assert set(transfers.select("source", "target").iter_rows()) == {
        ("north", "north"), ("north", "south"), ("south", "south"),
    }  # fmt: skip
    assert set(erased.select("source", "target").iter_rows()) == set(transfers.select("source", "target").iter_rows())
    own = erased.filter(pl.col("source") == pl.col("target"))
    assert (own["erased_accuracy"] == 0.5).filter(own["intervention"] == "mean_difference").all()
    assert project.jobs() == {}
