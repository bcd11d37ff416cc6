"""Names in the figure of extreme against probing shifts: each is next to its own dot."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genies.report.figures import labels
from genies.report.figures.labels import HEIGHT, LETTER, NAME_HEIGHT, NARROW, WIDE, X, Y, _name_last_models

places = st.floats(0.3, 0.9)


def rows_at(dots: list[tuple[float, float]], models: int = 1) -> list[dict[str, Any]]:
    return [{"intervention": f"method_{n // models}", "size": n % models, X: x, Y: y} for n, (x, y) in enumerate(dots)]


@settings(max_examples=60)
@given(st.lists(st.tuples(places, places), min_size=1, max_size=14), st.integers(1, 2))
@pytest.mark.parametrize(("names", "widths"), [("wide", WIDE), ("narrow", NARROW)])
def test_the_dot_nearest_to_a_name_is_its_own(
    names: str, widths: tuple[int, ...], dots: list[tuple[float, float]], models: int
) -> None:
    rows = rows_at(dots, models)
    _name_last_models(rows, [0.3, 0.9], names, widths)
    named = [row for row in rows if f"{names}_left" in row or f"{names}_right" in row]
    for width in widths:
        at = [((row[X] - 0.3) / 0.6 * width, (0.9 - row[Y]) / 0.6 * HEIGHT) for row in rows]
        boxes = []
        for row in named:
            own = at[rows.index(row)]
            side = "left" if f"{names}_left" in row else "right"
            sign, length = (1, -1)[side == "left"], LETTER * len(row["intervention"])
            ends = sorted((own[0] + sign * labels.AWAY, own[0] + sign * (labels.AWAY + length)))
            middle = (0.9 - row[f"{names}_{side}"]) / 0.6 * HEIGHT
            distances = [
                math.hypot(max(ends[0] - x, x - ends[1], 0), max(abs(y - middle) - NAME_HEIGHT / 2, 0)) for x, y in at
            ]
            assert min(distances) == pytest.approx(distances[rows.index(row)])
            boxes.append((*ends, middle))
        for n, one in enumerate(boxes):
            for other in boxes[n + 1 :]:
                assert one[0] >= other[1] or other[0] >= one[1] or abs(one[2] - other[2]) >= NAME_HEIGHT - 1e-6


def test_dots_apart_all_have_names() -> None:
    rows = rows_at([(0.4, 0.3 + 0.05 * n) for n in range(10)])
    _name_last_models(rows, [0.3, 0.9], "narrow", NARROW)
    assert all("narrow_right" in row for row in rows)
