"""Figures of categories of shifts: ellipses, radars and elicitation; and accuracy by size."""

from __future__ import annotations

import json
import math

import polars as pl
import pytest
from test_page import SHIFTS, TABLES, Page, make_tables

from genies.data.shifts import Shift
from genies.report.page import render


@pytest.fixture(scope="module")
def page() -> str:
    return render("trial", TABLES, {})


def test_radars_show_every_shift_inside_capability(page):
    content = Page(page).content()
    assert Page(page).texts("ol")  # the names behind the numbers
    rows = content["data"]["radar"]
    assert {row["spoke"] for row in rows} == {f"{s.source} → {s.target}" for s in SHIFTS}
    for row in rows:
        assert math.hypot(row["accuracy_x"], row["accuracy_y"]) == pytest.approx(row["accuracy"], abs=1e-3)
        assert math.hypot(row["capability_x"], row["capability_y"]) == pytest.approx(row["capability"], abs=1e-3)
    lines = {(row["model"], row["intervention"]) for row in rows}
    assert lines == {(model, name) for model in ("small", "large") for name in ("zero_shot", "mms")}
    for line in lines:
        own = [row for row in rows if (row["model"], row["intervention"]) == line]
        first, *_, last = sorted(own, key=lambda r: r["number"])
        assert (first["accuracy_x"], first["accuracy_y"]) == (last["accuracy_x"], last["accuracy_y"])


def test_all_interventions_are_in_one_radar_and_models_in_one_of_each_intervention(page):
    content = Page(page).content()
    ids = [figure["id"] for figure in content["figures"] if "radar" in figure["id"]]
    assert ids == ["figure-radar", "figure-radar-of-models-0", "figure-radar-of-models-1"]
    # The first model's shape of capability, closed.
    own = [row for row in content["data"]["radar-capability"] if row["model_number"] == 0]
    capability = TABLES.metrics.filter(model="small").group_by("source", "target", maintain_order=True)
    most = capability.agg(pl.max("target_tuned_capability"))["target_tuned_capability"]
    corners = sorted(own, key=lambda row: row["number"])
    radii = [math.hypot(row["capability_x"], row["capability_y"]) for row in corners]
    assert radii == pytest.approx([*most, most[0]], abs=1e-3)
    one = Page(render("trial", make_tables(["small"], ["zero_shot", "mms"], SHIFTS), {})).content()
    assert [figure["id"] for figure in one["figures"] if "radar" in figure["id"]] == ["figure-radar"]


def spread_out(sources: int, shifts: int = 20) -> list[Shift]:
    """Shifts of four categories."""
    return [Shift(f"s{n % sources}", f"t{n}", f"t{n}", "extreme", f"kind {n % 4}", 1) for n in range(shifts)]


def test_with_many_shifts_a_radar_has_a_spoke_per_category():
    for sources in (20, 4):  # 20 sources are five in each category, and 4 are one
        content = Page(render("trial", make_tables(["small"], ["zero_shot", "mms"], spread_out(sources)), {})).content()
        spokes = {row["spoke"]: row for row in content["data"]["radar"] if row["intervention"] == "mms"}
        assert set(spokes) == {f"extreme · kind {n}" for n in range(4)}
        if sources == 20:
            assert all(row["low"] < row["accuracy"] < row["high"] for row in spokes.values())
        else:
            assert all(row["low"] is row["high"] is None for row in spokes.values())


def test_without_capability_everywhere_there_is_no_radar_and_no_ellipse():
    content = Page(render("trial", make_tables(["small"], ["zero_shot", "mms"], SHIFTS, capability=[]), {})).content()
    assert not [figure for figure in content["figures"] if "radar" in figure["id"] or "ellipse" in figure["id"]]


def test_accuracy_is_drawn_against_capability_by_category():
    tables = make_tables(["small", "large"], ["random", "zero_shot", "mms"], [*spread_out(20), *SHIFTS[3:]])
    page = render("trial", tables, {})
    content = Page(page).content()
    table = tables["elicitation_by_category"]
    rows = {(row["model"], row["index"], row["category"]): row for row in content["data"]["ellipses"]}
    drawn = [figure for figure in content["figures"] if "ellipses" in figure["id"]]
    titles = [text for text in Page(page).texts("figcaption") if text in ("random", "zero_shot", "mms")]
    assert len(drawn) == 2 and "random" not in titles  # guessing has no ellipse
    assert len(rows) == 2 * 2 * 5
    order = [name for name in tables["leaderboard"]["intervention"].unique(maintain_order=True) if name != "random"]
    for row in table.filter(pl.col("intervention") != "random").iter_rows(named=True):
        place = f"{row['label']} · {row['category']}"
        shown = rows[row["model"], order.index(row["intervention"]), place]
        assert shown["capability"] == row["target_tuned_capability"]
        assert shown["accuracy"] == row["generalization_accuracy"]
        assert shown["accuracy"] - shown["accuracy_down"] == pytest.approx(row["generalization_accuracy_low"])
        assert shown["accuracy"] + shown["accuracy_up"] == pytest.approx(row["generalization_accuracy_high"])
        known = row["target_tuned_capability_low"]
        assert shown["capability"] - shown["capability_down"] == pytest.approx(known or shown["capability"])
        assert shown["interval_over"] == row["interval_over"] == ("new shifts" if row["shifts"] == 5 else "examples")
        spec = drawn[shown["index"]]["wide"]
        lines = json.dumps(spec["layer"][0])
        assert '"type": "line"' in lines and '"color": "var(--soft)"' in lines


def test_a_category_of_too_few_shifts_says_so_in_words():
    def notes(sources: int, **over: object) -> list[str]:
        tables = make_tables(["small"], ["zero_shot", "mms"], spread_out(sources))
        ends = {f"elicitation_{end}": pl.lit(value) for end, value in (("low", 0.2), ("high", 0.4))} if over else {}
        changed = tables["elicitation_by_category"].with_columns(**over, **ends)
        parsed = Page(render("trial", tables.having(elicitation_by_category=changed), {}))
        return [text for text in parsed.texts("small") if "too few" in text]

    assert notes(20) == []
    assert notes(4) == ["5 shifts of 1 source: too few for an interval."] * 4
    words = "5 shifts of 1 source: too few for an interval for new shifts. Dashed: new examples."
    assert notes(4, interval_over=pl.lit("examples")) == [words] * 4


def test_accuracy_by_size_is_over_all_shifts_where_they_have_other_labels():
    own = [Shift(s.source, s.target, s.target_reference, "mine", s.category, 1) for s in SHIFTS]
    content = Page(render("trial", make_tables(["x-30b", "x-7b"], ["mms"], own), {})).content()
    assert [(row["model"], row["label"]) for row in content["data"]["sizes"]] == [("x-7b", "all"), ("x-30b", "all")]
    figure = next(figure["wide"] for figure in content["figures"] if figure["id"] == "figure-size-0")
    assert '"domain": ["all"]' in json.dumps(figure)
