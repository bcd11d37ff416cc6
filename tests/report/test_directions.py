"""What the page says of directions, and the heat map of a run that compares them."""

from __future__ import annotations

import polars as pl
import pytest
from test_page import TABLES, Page

from genies.evaluation.tables import causal, direction_layers, directions, erasure
from genies.report.causal import used
from genies.report.directions import main_layer, one_or_several, verdict
from genies.report.page import render

METHOD = "mean_difference"
ROW = {
    "model": "small", "intervention": METHOD, "layer": 3, "sources": 4, "own_accuracy": 0.9, "agreement": 0.1,
    "ceiling": 0.8, "effective": 3.4, "effective_if_shared": 1.4, "effective_if_unrelated": 3.6, "p_related": 0.02,
    "transfer_r": 0.83, "transfer_p": 0.04, "transfer_p_adjusted": 0.2,
}  # fmt: skip
LAYERS = direction_layers.TABLE.frame([{**ROW, "layer": 2, "own_accuracy": 0.7}, ROW, {**ROW, "intervention": "mms"}])
ERASED = erasure.TABLE.frame(
    {"model": "small", "intervention": METHOD, "source": source, "target": target, "loss": loss, "random_loss": 0.01}
    for source, target, loss in (
        ("easy", "easy", 0.49), ("hard", "hard", 0.1), ("code", "code", 0.34), ("other", "other", 0.5),
        ("easy", "hard", 0.05), ("easy", "code", 0.07), ("code", "hard", 0.06),
    )
)  # fmt: skip
PLACE = {"model": "small", "intervention": METHOD, "other": METHOD, "agreement": 0.1, "ceiling": 0.8}
ALIKE = [
    {**PLACE, "source": source, "other_source": other, "layer": layer}
    for source, other, layer in (("easy", "hard", 3), ("easy", "code", 3), ("easy", "hard", 2))
]
CHANGE = {
    "model": "small", "source": "easy", "layer": 3, "texts": 200, "lead": 1.5, "random_effect": 0.01,
    "random_low": -0.1, "random_high": 0.1, "draws": 19, "p": 0.05,
}  # fmt: skip
CAUSED = causal.TABLE.frame(
    {**CHANGE, "target": target, "change": change, "strength": strength, "effect": effect, "low": effect - 0.1,
     "high": effect + 0.1, "p_adjusted": p}
    for target, change, strength, effect, p in (
        ("easy", "erased", None, -0.4, 0.05), ("easy", "added", 1.0, 0.2, 0.3), ("easy", "added", 2.0, 0.5, 0.05),
        ("hard", "erased", None, -0.2, 0.6), ("hard", "added", 1.0, 0.1, 0.6), ("hard", "added", 2.0, 0.3, 0.05),
    )
)  # fmt: skip
DIRECTIONS = {
    "causal": CAUSED,
    "directions": directions.TABLE.frame([*ALIKE, {**ALIKE[0], "other": "mms", "other_source": "easy"}]),
    "direction_layers": LAYERS,
    "erasure": ERASED,
}


def test_the_answer_names_the_layer_and_what_one_direction_would_give():
    assert one_or_several(LAYERS, ERASED) == (
        "Differences of means of 4 sources agree by 0.100 on average (correlation of their scores in layer 3, where "
        "they are most accurate on their own source), and would by 0.800 if all shared one direction: in effect 3.4 "
        "directions, between 1.4 for one that is shared and 3.6 for unrelated ones; nearly every source has a "
        "direction of its own. Agreement goes with how well one source's direction ranks the other's pairs (r = 0.83, "
        "p = 0.040). Erasing a source's direction takes 0.060 of accuracy from the target's own probe, over 3 shifts "
        "(0.010 for random directions); erasing the target's own takes 0.180."
    )
    assert one_or_several(direction_layers.TABLE.frame(), ERASED) is None
    untested = direction_layers.TABLE.frame([{**ROW, "transfer_p": None}])
    assert one_or_several(untested, erasure.TABLE.frame()).endswith("agreement goes with transfer cannot be tested.")
    assert main_layer(LAYERS)["layer"] == 3


def test_what_erasing_its_own_takes_is_a_mean_over_the_targets_of_shifts():
    """Sources that are no target, and references, do not count; a target counts as often as shifts have it."""
    one = ERASED.filter(
        (pl.col("source") == pl.col("target")) | (pl.col("source") == "easy") & (pl.col("target") == "hard")
    )
    text = str(one_or_several(LAYERS, one))
    assert "takes 0.050 of accuracy from the target's own probe, over 1 shift (" in text
    assert text.endswith("erasing the target's own takes 0.100.")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"effective": 1.5, "agreement": 0.7}, "nearly one direction"),
        ({"effective": 1.5, "agreement": 0.1}, "some sources point the other way"),
        ({"effective": 2.5}, "share part"),
        ({"p_related": 0.3}, "not shown to be more alike than unrelated"),
        ({"effective_if_shared": 3.5}, "too uncertain"),
    ],
)
def test_verdicts(changed, words):
    assert words in verdict({**ROW, **changed})


def test_a_heat_map_of_the_layer_has_every_two_sources_both_ways():
    html = render("trial", TABLES.having(**DIRECTIONS), {"configuration": {"seed": 3}})
    drawn = Page(html).content()["data"]["directions"]
    assert {(row["source"], row["other_source"]) for row in drawn} == {
        ("easy", "hard"), ("hard", "easy"), ("easy", "code"), ("code", "easy"),
    }  # fmt: skip
    assert len(drawn) == 4 and 'id="directions"' in html and "One direction, or several?" in html


def test_without_directions_the_page_has_no_section():
    assert 'id="directions"' not in render("trial", TABLES, {"configuration": {"seed": 3}})


def test_what_directions_change_is_said_and_drawn():
    assert used(CAUSED) == (
        "Erasing the direction of the source from every layer changes the model's own preference for best responses, "
        "1.500 nats on average, by −0.300 (random directions by 0.010; more than chance in 1 of 2 cells). Adding it "
        "to one layer changes it, with 1 times its length, by 0.150 (random directions by 0.010; more than chance in "
        "0 of 2 cells); with 2 times its length, by 0.400 (random directions by 0.010; more than chance in 2 of 2 "
        "cells)."
    )
    assert used(causal.TABLE.frame()) is None
    assert used(CAUSED.filter(change="erased")).endswith("in 1 of 2 cells).")
    html = render("trial", TABLES.having(causal=CAUSED), {"configuration": {"seed": 3}})
    page = Page(html).content()
    rows = page["data"]["causal"]
    assert {(row["place"], row["kind"]) for row in rows} == {
        (f"easy → {target}", kind) for target in ("easy", "hard") for kind in ("erased", "added 1×", "added 2×")
    }
    assert all((row["random_low"], row["random_high"]) == (-0.1, 0.1) for row in rows)
    assert "Does the model use it?" in html and 'id="figure-causal-0"' in html
    # Nothing is said of agreement, which this run did not look at.
    assert "Two directions" not in html and 'id="figure-directions-0"' not in html
