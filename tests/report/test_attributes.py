"""Values that tables of the page keep in attributes, for their download."""

from __future__ import annotations

import json

import pytest
from test_page import HOSTILE, TABLES, Page

from genies.evaluation.tables.claims import TABLE as CLAIMS
from genies.report.page import render

QUOTED = 'a "b" onmouseover="document.title=1" <i>\'c\' &quot; \\'


@pytest.mark.parametrize("text", [*(text for text in HOSTILE if "\u2028" not in text), QUOTED, "elicitation"])
def test_texts_in_attributes_come_back_as_they_are_and_end_no_attribute(text: str) -> None:
    row = {
        "claim": text, "stated_for": text, "stated": 0.5, "model": "small", "figure": text, "recomputed": 0.7,
        "low": 0.6, "high": 0.8, "over": text,
    }  # fmt: skip
    parsed = Page(render("trial", TABLES.having(claims=CLAIMS.frame([row])), {}))
    cells = [attributes for tag, attributes in parsed.elements if tag == "td"]
    assert not any(name not in ("class", "data-values") for attributes in cells for name in attributes)
    values = [json.loads(attributes["data-values"] or "") for attributes in cells if "data-values" in attributes]
    assert [text, text] in values
