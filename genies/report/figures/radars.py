"""Radars: what all interventions reach around all shifts, inside what the model could."""

from __future__ import annotations

from typing import Any

import altair as alt

from genies.report.drawing import MODEL, Figure, Figures, Kind, data_source, layered, scales
from genies.report.figures._radar import add_grid, grid_layers, place_of, points, spokes_of, tooltip
from genies.report.subject import Subject

KIND = Kind(
    "categories",
    rank=2,
    heading="Against capability, all around",
    text="Each spoke is numbered as in the list below. The filled shape is capability, what the model reaches "
    "when fitted on the target's own kind of data; each line is what an intervention reaches from the source; the "
    "dashed ring is guessing. The space between line and shape was not elicited. Press a name to bring out its line "
    "with 95 % intervals along the spokes (of a category's mean only where it has shifts enough), press more to "
    "compare them, and press again to put one back.",
    panels=False,
    titled=False,
    by_model=True,
)

SIDE, NARROW_SIDE = 420, 280
"""Pixels of a radar's width and height, on wide screens and on narrow ones."""
CHOSEN = "chosen"
"""Names the selection of interventions that are brought out."""


def draw(figures: Figures, subject: Subject) -> None:
    """One radar of all interventions, of one model at a time; none where capability is not known everywhere."""
    spokes = spokes_of(subject.tables.metrics)
    if not spokes.make_a_radar:
        return
    add_grid(figures, spokes.names)
    numbers = {model: number for number, model in enumerate(subject.models)}
    count = len(spokes.names)
    rows = [{**row, "model_number": numbers[row["model"]]} for row in spokes.rows]
    figures.data["radar"] = [point for row in rows for point in points(row, count)]
    # Capability differs between interventions only where one was left out of those that it is chosen from.
    most = {(row["model"], row["number"]): row for row in sorted(rows, key=lambda row: row["capability"])}
    figures.data["radar-capability"] = [
        {name: point[name] for name in ("model_number", "number", "capability_x", "capability_y")}
        for row in sorted(most.values(), key=lambda row: row["number"])
        for point in points(row, count)
    ]
    known = [name for name in subject.order if any(row["intervention"] == name for row in rows)]
    right, below = {"orient": "right"}, {"orient": "bottom", "columns": 2}
    figures.add(
        "radars",
        Figure(
            "figure-radar",
            "All interventions, against capability",
            "A radar with a spoke per shift or category: accuracy as a line per intervention, capability as a filled "
            "shape.",
            _radar(known, SIDE, alt.Legend(title=None, labelLimit=160, symbolLimit=0, labelFontSize=12, **right)),
            _radar(known, NARROW_SIDE, alt.Legend(title=None, labelLimit=120, symbolLimit=0, **below)),
        ),
    )


def _radar(known: list[str], side: int, legend: alt.Legend) -> dict[str, Any]:
    """One radar; what is not chosen fades, and only what is chosen shows its intervals."""
    under, numbers = grid_layers()
    chosen = alt.selection_point(name=CHOSEN, fields=["intervention"], bind="legend", toggle="true")
    colors, shapes = scales(known)
    base, shape = (
        alt.Chart(data_source(name)).transform_filter(f"datum.model_number === {MODEL}")
        for name in ("radar", "radar-capability")
    )
    order = alt.Order("number:Q")
    capability = shape.mark_line(
        filled=True, fill="var(--soft)", fillOpacity=0.12, stroke="var(--soft)", strokeWidth=0.5
    ).encode(**place_of("capability"), order=order)
    base = base.encode(
        color=alt.Color("intervention:N", scale=colors, legend=legend), detail=alt.Detail("intervention:N")
    )
    faded = alt.when(chosen).then(alt.value(0.9)).otherwise(alt.value(0.1))
    line = base.mark_line(strokeWidth=1.5).encode(**place_of("accuracy"), order=order, opacity=faded)
    whiskers = base.mark_rule().encode(
        **place_of("low"),
        x2=alt.X2("high_x"),
        y2=alt.Y2("high_y"),
        opacity=alt.when(chosen, empty=False).then(alt.value(0.7)).otherwise(alt.value(0)),
    )
    dots = base.mark_point(filled=True, size=40).encode(
        **place_of("accuracy"),
        shape=alt.Shape("intervention:N", scale=shapes, legend=legend),
        opacity=faded,
        tooltip=tooltip("intervention"),
    )
    # The first marks with a legend have the selection, or else Vega-Lite's names cannot be pressed. Altair would number
    # the name of the chart that has it, over all figures of a process.
    whiskers = whiskers.properties(name="whiskers").add_params(chosen)
    layers = [*under, capability, whiskers, line, dots, numbers]
    return layered(layers, side, side, params=[alt.param(name=MODEL, value=0)])
