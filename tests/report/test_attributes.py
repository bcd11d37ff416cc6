"""Values that tables of the page keep in attributes, for their download."""

from __future__ import annotations

import json

from test_page import HOSTILE, TABLES, Page

from genies.evaluation.tables.claims import TABLE as CLAIMS
from genies.report.page import render

QUOTED = 'a "b" onmouseover="document.title=1" <i>\'c\' &quot; \\'


TEXTS = (*(text for text in HOSTILE if "\u2028" not in text), QUOTED, "elicitation")


def test_texts_in_attributes_come_back_as_they_are_and_end_no_attribute() -> None:
    rows = [
        {"claim": text, "stated_for": text, "stated": 0.5, "model": "small", "figure": text, "recomputed": 0.7,
         "low": 0.6, "high": 0.8, "over": text}
        for text in TEXTS
    ]  # fmt: skip
    parsed = Page(render("trial", TABLES.having(claims=CLAIMS.frame(rows)), {}))
    cells = [attributes for tag, attributes in parsed.elements if tag == "td"]
    assert not any(name not in ("class", "data-values") for attributes in cells for name in attributes)
    values = [json.loads(attributes["data-values"] or "") for attributes in cells if "data-values" in attributes]
    assert [text for text in TEXTS if [text, text] not in values] == []
