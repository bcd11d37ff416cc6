"""How well scores of single texts separate good responses from worse ones, shift by shift."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from genies.report.drawing import ACCURACY_STEPS, Figure, Figures, Kind, colored_cells, rows_of, sized, tip, words
from genies.report.subject import Subject

KIND = Kind("scores", rank=0, heading="AUROC of single texts", panels=False)
TIPS = {
    "auroc": "AUROC",
    "auroc_low": "95 % from",
    "auroc_high": "95 % to",
    "pair_accuracy": "accuracy on pairs",
    "recall_5": "recall at the source's 5 %",
    "false_positives_5": "false positives there",
}


def draw(figures: Figures, subject: Subject) -> None:
    """AUROC, one figure per model: a row per shift, a column per method that scores single texts."""
    figures.data["auroc"] = []
    shifts = subject.tables.metrics.select("source", "target").unique(maintain_order=True)
    table = subject.tables["text_scores"].drop_nulls("auroc")
    table = table.select("model", "intervention", "source", "target", *TIPS, "comparable_across_prompts", "remark")
    table = table.join(shifts, on=["source", "target"], how="semi", maintain_order="left")
    star = pl.when(pl.col("comparable_across_prompts").eq_missing(True)).then(pl.lit("")).otherwise(pl.lit("*"))
    table = table.with_columns(pl.selectors.float().round(4), mark=star, remark=pl.col("remark").fill_null("none"))
    for index, ((model,), rows) in enumerate(table.group_by("model", maintain_order=True)):
        places = [f"{source} → {target}" for source, target in rows.select("source", "target").unique(
            maintain_order=True).iter_rows()]  # fmt: skip
        figures.data["auroc"] += [
            {**row, "index": index, "shift": f"{row['source']} → {row['target']}"} for row in rows.iter_rows(named=True)
        ]
        known = set(rows["intervention"])
        figures.add(
            "auroc",
            Figure(
                f"figure-auroc-{index}",
                str(model),
                "A row per shift, a column per method: how often a good response scores higher than a worse one of any "
                "prompt; a star marks scores that do not compare across prompts.",
                _layers(index, places, [name for name in subject.order if name in known]),
            ),
        )


def _layers(index: int, shifts: list[str], methods: list[str]) -> dict[str, Any]:
    across = alt.Axis(orient="top", labelAngle=-40, labelAlign="left", domain=False, ticks=False, labelLimit=180)
    base = rows_of("auroc", index).encode(
        x=alt.X("intervention:N", sort=None, scale=alt.Scale(domain=methods), axis=across, title=None),
        y=alt.Y("shift:N", sort=None, scale=alt.Scale(domain=shifts), title=None, axis=alt.Axis(labelLimit=330)),
        tooltip=[
            *words("intervention", "shift"),
            *(tip(name, title) for name, title in TIPS.items()),
            *words("remark"),
        ],
    )
    return sized(colored_cells(base, "auroc", ACCURACY_STEPS, mark="mark"), 20 * len(shifts), independent=["color"])
