"""Numbers in words and digits, as sentences of the page have them."""

from __future__ import annotations

import pytest

from genies.report.words import counted, number, p_value, percent


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
