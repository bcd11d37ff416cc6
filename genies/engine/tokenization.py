"""From texts to tokens: the code that decides them, which is part of their name."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genies.data.texts import Text
from genies.data.views import VIEWS, View
from genies.engine.tokens import Tokens, shared_prefix
from genies.errors import readable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def tokenize(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Text],
    view: View,
    prompts: Mapping[str, np.ndarray] | None = None,
) -> Tokens:
    """Tokenize each text as one string, with the tokenizer's default special tokens.

    Args:
        tokenizer: the model's.
        texts: the texts; of an example either all that are read or none.
        view: what is read of each.
        prompts: what ``prompt_tokens`` gave for them, which is the same under every view; None asks here.
    """
    ids = [
        np.asarray(text, np.int32)
        for text in encode(tokenizer, [view.text(text.prompt_text, text.response_text) for text in texts])
    ]
    alone = prompt_tokens(tokenizer, texts) if prompts is None else prompts
    shared = [shared_prefix(alone[text.prompt_text], own) for text, own in zip(texts, ids, strict=True)]
    of_example: dict[int, int] = {}
    for text, length in zip(texts, shared, strict=True):
        of_example[text.example] = min(of_example.get(text.example, length), length)
    return Tokens(
        ids=np.concatenate([np.zeros(0, np.int32), *ids]),
        offsets=np.cumsum([0, *map(len, ids)], dtype=np.int64),
        prompt_tokens=np.array([of_example[text.example] for text in texts], np.int32),
        merged=np.array([n < len(alone[t.prompt_text]) for t, n in zip(texts, shared, strict=True)], np.bool_),
        example=np.array([text.example for text in texts], np.int32),
        response=np.array([text.response for text in texts], np.int32),
    )


def prompt_tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text]) -> dict[str, np.ndarray]:
    """Token ids of each prompt alone, without an EOS that the tokenizer sets at its end, int32 (length,)."""
    prompts = list(dict.fromkeys(text.prompt_text for text in texts))
    return {
        prompt: np.asarray(ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids, np.int32)
        for prompt, ids in zip(prompts, encode(tokenizer, prompts), strict=True)
    }


def encode(tokenizer: PreTrainedTokenizerBase, strings: Sequence[str]) -> list[list[int]]:
    """Token ids of each string, with the tokenizer's default special tokens."""
    if not strings:
        return []
    with readable(Path(tokenizer.name_or_path), "its tokenizer cannot be used on these texts"):
        return tokenizer(list(strings), return_attention_mask=False, return_token_type_ids=False, verbose=False)[
            "input_ids"
        ]


def context_room(tokenizer: PreTrainedTokenizerBase, context: int, views: Collection[str]) -> int:
    """Tokens that a text may have for the context to hold it under each of the views, and as it is.

    A view's own words are counted apart from the text (an upper bound up to a token or two).
    """
    words = [f"{VIEWS[name].before} {VIEWS[name].after}" for name in {*views, "plain"}]
    return context - max(len(ids) for ids in encode(tokenizer, words))


def tokens_over(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], plain: Tokens, context: int, views: Collection[str]
) -> dict[int, int]:
    """Examples that the model's context cannot hold under every view that is read, and by how many tokens.

    The views are those of a whole run, so that all of its interventions leave out the same examples.

    Args:
        tokenizer: the model's.
        texts: the texts.
        plain: their tokens under the plain view.
        context: tokens that the model can hold.
        views: names of the views that are read.
    """
    room = context_room(tokenizer, context, views)
    over: dict[int, int] = {}
    for text, length in zip(texts, np.diff(plain.offsets).tolist(), strict=True):
        if length > room:
            over[text.example] = max(over.get(text.example, 0), length - room)
    return over
