"""Made rows of preference sets, with the columns that the published ones have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from genies.data.preferences.layouts import reader
from genies.data.preferences.reading import record_of_row


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}


QUESTION, FOLLOW_UP = "What is the capital of Norland?", "And that of Sudland?"
HISTORY = [user(QUESTION), assistant("Aris."), user(FOLLOW_UP)]
TRANSCRIPT = f"\n\nHuman: {QUESTION}\n\nAssistant: Aris.\n\nHuman: {FOLLOW_UP}\n\nAssistant:"

SINGLE = {
    "explicit prompt": {"prompt": QUESTION, "chosen": "Aris", "rejected": "Borum"},
    "explicit prompt of messages": {
        "prompt": [user(QUESTION)], "chosen": [assistant("Aris")], "rejected": [assistant("Borum")],
    },
    "implicit prompt": {
        "chosen": [user(QUESTION), assistant("Aris")], "rejected": [user(QUESTION), assistant("Borum")], "source": "x",
    },
    "UltraFeedback, binarized": {
        "prompt": QUESTION, "prompt_id": "1",
        "chosen": [user(QUESTION), assistant("Aris")], "rejected": [user(QUESTION), assistant("Borum")],
        "messages": [user(QUESTION), assistant("Aris")], "score_chosen": 8.0, "score_rejected": 2.0,
    },
    "margin": {"prompt": QUESTION, "chosen": "Aris", "rejected": "Borum", "margin": 0.5},
    "Math-Preference": {
        "instruction": QUESTION, "chosen_response": "Aris", "rejected_response": "Borum",
        "chosen_rating": 5.0, "rejected_rating": 2.0,
    },
    "HH transcript": {
        "chosen": f"\n\nHuman: {QUESTION}\n\nAssistant: Aris", "rejected": f"\n\nHuman: {QUESTION}\n\nAssistant: Borum",
    },
    "HelpSteer3, first is better": {
        "domain": "general", "language": "english", "context": [user(QUESTION)], "response1": "Aris",
        "response2": "Borum", "overall_preference": -2, "individual_preference": [{"score": -2, "reasoning": "r"}],
    },
    "HelpSteer3, second is better": {
        "domain": "general", "language": "english", "context": [user(QUESTION)], "response1": "Borum",
        "response2": "Aris", "overall_preference": 1, "individual_preference": [{"score": 1, "reasoning": "r"}],
    },
    "Chatbot Arena": {
        "question_id": "q", "model_a": "m", "model_b": "n", "winner": "model_b", "judge": "j",
        "conversation_a": [user(QUESTION), assistant("Borum")], "conversation_b": [user(QUESTION), assistant("Aris")],
        "turn": 1, "language": "English",
    },
    "SHP": {
        "history": QUESTION, "human_ref_A": "Aris", "human_ref_B": "Borum", "labels": 1, "score_A": 9, "score_B": 2,
    },
}  # fmt: skip
"""One row in each layout, all of one meaning: Aris is better than Borum."""
PKU = {
    "prompt": QUESTION, "response_0": "Aris", "response_1": "Borum", "is_response_0_safe": False,
    "is_response_1_safe": True, "better_response_id": 0, "safer_response_id": 1,
}  # fmt: skip
ULTRAFEEDBACK = {
    "source": "s", "instruction": QUESTION, "models": ["a", "b", "c"],
    "completions": [
        {"model": "a", "response": "Borum", "overall_score": 3.5, "fine-grained_score": 4.0},
        {"model": "b", "response": "Aris", "overall_score": 8.5, "fine-grained_score": 3.0},
        {"model": "c", "response": "Cetis", "overall_score": 3.0, "fine-grained_score": 1.0},
    ],
}  # fmt: skip
NECTAR = {
    "prompt": f"\n\nHuman: {QUESTION}\n\nAssistant: ", "source": ["s"], "turns": 1, "num_responses": 3,
    "answers": [
        {"answer": "Borum", "model": "a", "rank": 2.0}, {"answer": "Aris", "model": "b", "rank": 1.0},
        {"answer": "Cetis", "model": "c", "rank": 3.0},
    ],
}  # fmt: skip
REWARDBENCH = {
    "id": "7", "prompt": QUESTION, "chosen": ["Aris"], "rejected": ["Borum", "Cetis", "Dorn"], "num_correct": 1,
    "num_rejected": 3, "total_completions": 4, "models": ["a", "b", "c", "d"], "subset": "Factuality",
    "additional_metadata": None,
}  # fmt: skip


def written(path: Path, rows: list[Any]) -> Path:
    """Write rows in the format that the suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pl.DataFrame(rows).write_parquet(path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def record(row: dict[str, Any], layout: str | None = None, **columns: str) -> dict[str, Any]:
    """The record that a row alone makes."""
    return record_of_row(reader("set", row, layout, columns, ())(row), {})


def responses(made: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Good and worse responses."""
    return tuple([text for text, label in made["responses"].items() if label == value] for value in (1, 0))
