"""How alike sources' directions rank pairs."""

from __future__ import annotations

from typing import Any

import polars as pl

from genies.report.directions import MEAN_DIFFERENCE, main_layer
from genies.report.drawing import CORRELATION_STEPS, Figure, Figures, Kind, rows_of, tip, words
from genies.report.figures._cells import matrix
from genies.report.subject import Subject

KIND = Kind(
    "directions",
    rank=0,
    panels=False,
    scrolls=True,
    text="Agreement of every two sources' differences of means, in the layer where they are most accurate on their own "
    "source.",
)


def draw(figures: Figures, subject: Subject) -> None:
    """Agreement of the differences of means of every two sources, a figure per model."""
    figures.data["directions"] = []
    for index, model in enumerate(subject.models):
        row = main_layer(subject.tables["direction_layers"].filter(model=model))
        if row is None:
            continue
        of_layer = subject.tables["directions"].filter(model=model, layer=row["layer"], intervention=MEAN_DIFFERENCE)
        columns = ("source", "other_source", "agreement", "ceiling")
        pairs = of_layer.filter(pl.col("other") == MEAN_DIFFERENCE).select(columns)
        found = pairs.with_columns(pl.selectors.float().round(4)).to_dicts()
        mirrored = [{**one, "source": one["other_source"], "other_source": one["source"]} for one in found]
        figures.data["directions"] += [{**one, "index": index} for one in (*found, *mirrored)]
        sources = sorted({*pairs["source"], *pairs["other_source"]})
        figures.add(
            "directions",
            Figure(
                f"figure-directions-{index}",
                f"{model}, layer {row['layer']}",
                "A row and a column per source; colour and number are the correlation of their directions' scores.",
                *_matrix(index, sources),
            ),
        )


def _matrix(index: int, sources: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    tooltip = [*words("source", "other_source"), tip("agreement"), tip("ceiling", "if they shared one direction")]
    base = rows_of("directions", index)
    return matrix(base, "other_source", sources, sources, "agreement", CORRELATION_STEPS, tooltip)
