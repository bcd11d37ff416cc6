"""Conversations in a tokenizer's own chat template, as tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genies.data.clock import STILL_CLOCK
from genies.data.records import Turn
from genies.errors import ModelError, readable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TRIED = "its chat template cannot be used on {}; use another format, or leave out what it cannot show"


def encode_chat(
    tokenizer: PreTrainedTokenizerBase, conversation: Sequence[Turn], what: str, asks: bool = False
) -> np.ndarray:
    """Token ids of a conversation, int32 (length,), as the tokenizer's own pipeline makes them in one step.

    So there are the special tokens of the template, and no others. The date that a template may write is always the
    same (``genies.data.clock``).

    Args:
        tokenizer: the model's.
        conversation: its turns.
        what: whose it is, for errors.
        asks: whether the beginning of the assistant's next turn ends it.

    Raises:
        ModelError: there is no chat template, or it refuses the conversation, as some do a system prompt.
    """
    return np.array(_applied(tokenizer, conversation, what, asks, tokenize=True), np.int32)


def chat_gap(tokenizer: PreTrainedTokenizerBase, question: str, answer: str) -> tuple[str, str]:
    """The text of a user's turn up to the beginning of the assistant's, and the white space before what that says."""
    turns = (Turn("user", question),)
    text = str(_applied(tokenizer, turns, "a question", asks=True, tokenize=False))
    whole = str(_applied(tokenizer, (*turns, Turn("assistant", answer)), "an answer", asks=False, tokenize=False))
    before = whole.removeprefix(text).partition(answer)[0] if whole.startswith(text) else ""
    return text, before if before.isspace() else ""


def _applied(
    tokenizer: PreTrainedTokenizerBase, conversation: Sequence[Turn], what: str, asks: bool, tokenize: bool
) -> object:
    if not tokenizer.chat_template:
        raise ModelError(f"{tokenizer.name_or_path}: its tokenizer has no chat template; use format: prompt_response")
    with readable(Path(tokenizer.name_or_path), TRIED.format(what)):
        return tokenizer.apply_chat_template(
            [{"role": turn.role, "content": turn.content} for turn in conversation],
            chat_template=STILL_CLOCK + tokenizer.get_chat_template(),
            add_generation_prompt=asks,
            tokenize=tokenize,
            return_dict=False,
        )
