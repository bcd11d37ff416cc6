"""How finished reward models were read is on the page: the format, what they were compared with, a judge's bias."""

from __future__ import annotations

import pytest
from test_page import TABLES, Page, render, table

from genies.evaluation.records import REWARD_MODELS
from genies.report.details import reward_models

CHAT = {
    "model": "small", "intervention": "reward_model", "format": "chat", "written": "chat",
    "library": "transformers 5.23.0", "texts": 3, "difference": 1e-7, "elsewhere": 0,
}  # fmt: skip
JUDGE = CHAT | {"intervention": "judge", "format": "judge", "written": "text", "elsewhere": 0}
ROWS = [
    CHAT | {"source": "easy", "distribution": "hard"},
    CHAT | {"source": "easy", "distribution": "code"},
    CHAT | {"source": "hard", "distribution": "code", "difference": 3e-6, "elsewhere": 2},
    JUDGE | {"source": "easy", "distribution": "hard", "judged": 30, "order_decides": 6, "toward_first": 0.5},
    JUDGE | {"source": "easy", "distribution": "code", "judged": 10, "order_decides": 1, "toward_first": -0.3},
    # The same target once more, after another source.
    JUDGE | {"source": "hard", "distribution": "code", "judged": 10, "order_decides": 1, "toward_first": -0.3},
]


def test_texts_count_by_source_and_pairs_by_target() -> None:
    chat, judge = reward_models(REWARD_MODELS.frame(ROWS))
    assert (chat["texts"], chat["difference"], chat["elsewhere"], chat["judged"]) == (6, 3e-6, 2, None)
    assert (judge["texts"], judge["judged"], judge["order_decides"]) == (6, 40, 7)
    assert judge["toward_first"] == pytest.approx((0.5 * 30 - 0.3 * 10) / 40)


def test_the_page_states_format_library_and_bias() -> None:
    page = render("trial", TABLES.having(reward_models=REWARD_MODELS.frame(ROWS)), {})
    cells = Page(table(page, "reward-models")).texts("td")
    assert cells[:9] == ["small", "chat template", "transformers 5.23.0", "6", "3.0e-06", "2", "–", "–", "–"]
    assert cells[9:] == [
        "small",
        "judge, asked in plain text",
        "transformers 5.23.0",
        "6",
        "1.0e-07",
        "0",
        "40",
        "7",
        "+0.30",
    ]
    assert "reward-models" not in render("trial", TABLES, {})
