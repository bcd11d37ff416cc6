"""What directions of sources change in the model itself, next to random directions."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from genies.report.drawing import Figure, Figures, Kind, interval_tips, rows_of, scales, sized, tip, words
from genies.report.subject import Subject

KIND = Kind(
    "directions",
    rank=1,
    heading="What directions change in the model",
    text="By how much the model's own preference for best responses (log-probability of the best response less that of "
    "the worse one, in nats) changes when the direction of the source is erased from every layer, or added to one. "
    "Intervals are for other examples; the bands span the effects of random directions.",
    panels=False,
)


def draw(figures: Figures, subject: Subject) -> None:
    """A figure per model: a row per source and target, in it a dot for every change."""
    times = pl.concat_str(pl.lit("added "), pl.col("strength").cast(pl.String).str.strip_suffix(".0"), pl.lit("×"))
    table = subject.tables["causal"].with_columns(
        place=pl.concat_str("source", "target", separator=" → "),
        kind=pl.when(pl.col("strength").is_null()).then("change").otherwise(times),
    )
    kinds = table["kind"].unique(maintain_order=True).to_list()
    figures.data["causal"], figures.keys["causal"] = [], kinds
    for index, ((model,), rows) in enumerate(table.group_by("model", maintain_order=True)):
        shown = rows.drop("model", "change", "strength").with_columns(pl.selectors.float().round(5))
        figures.data["causal"] += [{**row, "index": index} for row in shown.iter_rows(named=True)]
        figures.add(
            "causal",
            Figure(
                f"figure-causal-{index}",
                str(model),
                "A row per source and target: dots with 95 % intervals are effects on the model's preference, each "
                "over the band of random directions.",
                _layers(index, shown["place"].unique(maintain_order=True).to_list(), kinds),
            ),
        )


def _layers(index: int, places: list[str], kinds: list[str]) -> dict[str, Any]:
    colors, shapes = scales(kinds)
    base = rows_of("causal", index).encode(
        y=alt.Y("place:N", sort=None, scale=alt.Scale(domain=places), title=None, axis=alt.Axis(labelLimit=330)),
        yOffset=alt.YOffset("kind:N", sort=None, scale=alt.Scale(domain=kinds)),
        tooltip=[
            *words("place", "kind"),
            tip("effect"),
            *interval_tips(),
            tip("random_effect", "random, on average"),
            tip("p_adjusted"),
            tip("lead", "untouched"),
        ],
    )
    x = alt.X("effect:Q", title="change in nats", axis=alt.Axis(grid=True))
    band = base.mark_bar(height=7, color="var(--soft)", opacity=0.35).encode(
        x=alt.X("random_low:Q"), x2=alt.X2("random_high:Q")
    )
    intervals = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("low:Q"), x2=alt.X2("high:Q"), color=alt.Color("kind:N", scale=colors, legend=None)
    )
    marks = base.mark_point(filled=True, size=45, opacity=1).encode(
        x=x,
        color=alt.Color("kind:N", scale=colors, legend=None),
        shape=alt.Shape("kind:N", scale=shapes, legend=None),
    )
    return sized([band, intervals, marks], len(places) * max(24, 13 * len(kinds)))
