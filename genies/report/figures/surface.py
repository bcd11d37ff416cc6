"""Methods next to surface baselines, shift by shift."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from genies.evaluation.tables.comparisons import HIGHER
from genies.report.drawing import Figure, Figures, Kind, rows_of, sized, tip, words
from genies.report.subject import Subject

KIND = Kind("surface", rank=0, panels=False)


def draw(figures: Figures, subject: Subject) -> None:
    """A row per shift: a band from the least to the most accurate baseline, and the dot of the best method."""
    figures.data["surface"] = []
    table = subject.tables["surface"]
    for index, model in enumerate(table["model"].unique(maintain_order=True)):
        rows = _rows(table.filter(model=model))
        figures.data["surface"] += [{**row, "index": index} for row in rows]
        figures.add(
            "surface",
            Figure(
                f"figure-surface-{index}",
                str(model),
                "A row per shift: the band spans the surface baselines, the dot is the most accurate method; it is "
                "full where its lead over the best baseline is more than noise.",
                _layers(index, [row["shift"] for row in rows]),
            ),
        )


def _rows(table: pl.DataFrame) -> list[dict[str, Any]]:
    """What a row of the figure shows and says."""
    spans = table.group_by("source", "target").agg(least=pl.min("accuracy"), most=pl.max("accuracy"))
    best = table.filter("best").join(spans, on=["source", "target"], how="left", maintain_order="left")
    return [
        {
            "shift": f"{row['source']} → {row['target']}",
            "baseline": row["intervention"],
            "least": row["least"],
            "most": row["most"],
            "method": row["other"],
            "accuracy": None if row["lead"] is None else row["accuracy"] + row["lead"],
            "lead": row["lead"],
            "lead_low": row["lead_low"],
            "lead_high": row["lead_high"],
            "verdict": row["verdict"],
            "shown": int(row["verdict"] == HIGHER),
        }
        for row in best.iter_rows(named=True)
    ]


def _layers(index: int, shifts: list[str]) -> dict[str, Any]:
    scale, values = alt.Scale(domain=[0, 1]), [0, 0.25, 0.5, 0.75, 1]
    x = {"scale": scale, "axis": alt.Axis(format=".4~f", values=values, grid=True)}
    base = rows_of("surface", index).encode(
        y=alt.Y("shift:N", sort=None, scale=alt.Scale(domain=shifts), title=None, axis=alt.Axis(labelLimit=330)),
        tooltip=[
            *words("shift", "method"),
            tip("accuracy"),
            *words("baseline"),
            tip("most", "its accuracy"),
            tip("lead"),
            tip("lead_low", "95 % from"),
            tip("lead_high", "95 % to"),
            *words("verdict"),
        ],
    )
    band = base.mark_bar(height=11, color="var(--model-1)", opacity=0.55).encode(
        x=alt.X("least:Q", title="accuracy", **x), x2=alt.X2("most:Q")
    )
    # Where all baselines are equally accurate the band has no width.
    ends = base.mark_tick(size=11, thickness=2, color="var(--model-1)").encode(x=alt.X("most:Q", **x))
    dots = base.mark_point(size=60, strokeWidth=2, color="var(--model-0)").encode(
        x=alt.X("accuracy:Q", **x),
        fill=alt.Fill("shown:O", scale=alt.Scale(domain=[0, 1], range=["var(--paper)", "var(--model-0)"]), legend=None),
    )
    return sized([band, ends, dots], 20 * len(shifts))
