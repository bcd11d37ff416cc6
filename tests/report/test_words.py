"""Numbers in words and digits, as sentences of the page have them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from genies.report.words import ROUNDING, counted, number, p_value, percent, span


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.12345, "0.123"), (-0.5, "−0.500"), (-0.0004, "0.000"), (-0.0005001, "−0.001"), (0.0, "0.000")],
)
def test_a_number_has_a_minus_sign_where_it_is_shown_to_be_negative(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("p", "text"),
    [(None, "–"), (0.0009, "< 0.001"), (0.001, "0.001"), (0.0494, "0.049"), (0.0499, "< 0.05"), (0.05, "0.050")],
)
def test_small_p_values_are_bounded(p: float | None, text: str) -> None:
    assert p_value(p) == text


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (1, "shift", "1 shift"),
        (0, "shift", "0 shifts"),
        (2, "entry of the published list", "2 entries of the published list"),
        (1, "entry of the published list", "1 entry of the published list"),
    ],
)
def test_nouns_agree_with_their_number(count: int, noun: str, text: str) -> None:
    assert counted(count, noun) == text


def test_shares_are_in_whole_per_cent() -> None:
    assert percent(0.456) == "46\u00a0%"


@pytest.mark.parametrize(
    ("low", "high", "digits", "text"),
    [
        (-0.131, -0.0004, 3, "−0.131 to −0.0004"),
        (0.0002, 0.5, 3, "0.0002 to 0.500"),
        (-0.25, 0.00004, 3, "−0.250 to just above 0"),
        (-0.00001, 0.2, 3, "just below 0 to 0.200"),
        (0.0, 0.4, 3, "0.000 to 0.400"),
        (-1e-17, 0.4, 3, "0.000 to 0.400"),
        (-0.004, 0.31, 2, "−0.004 to 0.31"),
        (-0.0006, 0.31, 3, "−0.001 to 0.310"),
    ],
)
def test_rounding_moves_no_end_of_an_interval_onto_0(low: float, high: float, digits: int, text: str) -> None:
    assert span(low, high, digits) == text


@given(st.floats(-1, 1), st.floats(-1, 1), st.integers(2, 3))
@example(0.0, ROUNDING, 2)
def test_an_interval_leaves_out_0_in_print_exactly_where_it_does(one: float, other: float, digits: int) -> None:
    low, high = sorted((one, other))
    first, last = span(low, high, digits).split(" to ")
    for end, text in ((low, first), (high, last)):
        printed = {"just below 0": -1.0, "just above 0": 1.0}.get(text) or float(text.replace("−", "-"))
        assert (printed > 0, printed < 0) == (end > ROUNDING, end < -ROUNDING)
