"""Mean accuracy of each intervention."""

from __future__ import annotations

import altair as alt

from genies.evaluation.averages import ALL_LABELS
from genies.report.drawing import (
    RANDOM_ACCURACY,
    Figure,
    Figures,
    Kind,
    data_source,
    dots,
    dots_height,
    interval_tips,
    sized,
    tip,
    words,
)
from genies.report.subject import Subject

KIND = Kind("leaderboard", rank=0, panels=False, titled=False)

METRIC = "generalization_accuracy"


def draw(figures: Figures, subject: Subject) -> None:
    """Mean accuracy with its interval for new shifts; where there were several seeds, behind it their range."""
    spread = subject.tables["seeds"].filter(over=ALL_LABELS)
    spread = spread.select("model", "intervention", "seeds", "accuracy_least", "accuracy_most")
    overall = subject.overall
    if len(spread):
        overall = overall.join(spread, on=["model", "intervention"], how="left", maintain_order="left")
    figures.data["leaderboard"] = overall.to_dicts()
    tooltip = [
        *words("model", "intervention"),
        tip(METRIC, "mean accuracy"),
        *interval_tips(METRIC),
        alt.Tooltip("shifts:Q", title="shifts"),
    ]
    axis = alt.Axis(format=".4~f", values=[0, 0.25, 0.5, 0.75, 1], grid=True)
    x = alt.X(f"{METRIC}_low:Q", title="generalization accuracy", scale=alt.Scale(domain=[0, 1]), axis=axis)
    base = alt.Chart(data_source("leaderboard"))
    intervals, marks = dots(base, METRIC, x, subject.models, subject.order, tooltip)
    layers = [_guessing(), intervals, marks, _guessing_name()]
    if len(spread):
        ranges = intervals.mark_rule(strokeWidth=9, opacity=0.3, clip=True)
        layers.insert(1, ranges.encode(x=alt.X("accuracy_least:Q"), x2=alt.X2("accuracy_most")))
    figures.add(
        "leaderboard",
        Figure(
            "figure-leaderboard",
            "Generalization accuracy, mean over shifts",
            "Dots with 95 % intervals for new shifts: mean generalization accuracy of each intervention; guessing "
            "gives 0.5.",
            sized(layers, dots_height(subject.models, subject.order)),
        ),
    )


def _guessing() -> alt.Chart:
    """A dashed vertical line, the floor that answering at random gives."""
    line = alt.Chart(alt.InlineData(values=[{"x": RANDOM_ACCURACY}]))
    return line.mark_rule(strokeDash=[4, 3], color="var(--soft)").encode(x=alt.X("x:Q"))


def _guessing_name() -> alt.Chart:
    mark = {"align": "center", "baseline": "bottom", "fontSize": 11, "color": "var(--soft)", "dy": -3}
    text = alt.Chart(alt.InlineData(values=[{"x": RANDOM_ACCURACY, "text": "random 0.5"}]))
    return text.mark_text(**mark).encode(x=alt.X("x:Q"), y=alt.YValue(0), text=alt.Text("text:N"))
