"""Prompts are shown as published, in a chat template, or shortened in front."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from genies.data.distributions import Example
from genies.data.prompts import Presentation, characters_over, without_front
from genies.data.records import Turn
from genies.errors import ModelError
from genies.models.load import load_tokenizer

EXAMPLES = [Example("red green blue", ("Yes", "No"), 0, (1,)), Example("one two", ("No", "Yes"), 1, (0,))]
TEMPLATE = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}[assistant] "


def test_the_published_format_leaves_prompts_as_they_are() -> None:
    assert Presentation().apply(None, EXAMPLES) == EXAMPLES


def test_a_shortened_prompt_loses_its_first_characters() -> None:
    shown = Presentation("published", {0: 4}).apply(None, EXAMPLES)
    assert [example.prompt for example in shown] == ["green blue", "one two"]


def test_the_chat_template_is_the_tokenizers_own_and_brings_no_second_bos(model_folders: dict[str, Path]) -> None:
    tokenizer = load_tokenizer(model_folders["llama"])
    tokenizer.chat_template = TEMPLATE
    (shown, _) = Presentation("chat").apply(tokenizer, EXAMPLES)
    assert shown.prompt == "[user] red green blue [assistant] "
    assert tokenizer(shown.prompt)["input_ids"].count(tokenizer.bos_token_id) == 1


def test_a_template_that_writes_the_date_gives_the_same_prompt_on_every_day(model_folders: dict[str, Path]) -> None:
    tokenizer = load_tokenizer(model_folders["llama"])
    tokenizer.chat_template = "\n {{ strftime_now('%d %b %Y') }}: {{ messages[0].content }}"
    assert Presentation("chat").prompt(tokenizer, "red") == "\n 26 Jul 2024: red"


TURNS = (Turn("system", "be right"), Turn("user", "red ?"), Turn("assistant", "blue"), Turn("user", "one two ?"))


def test_a_conversation_is_shown_turn_by_turn(model_folders: dict[str, Path]) -> None:
    tokenizer = load_tokenizer(model_folders["llama"])
    tokenizer.chat_template = TEMPLATE
    example = replace(EXAMPLES[0], conversation=TURNS)
    (shown,) = Presentation("chat").apply(tokenizer, [example])
    assert shown.prompt == "[system] be right [user] red ? [assistant] blue [user] one two ? [assistant] "
    assert shown.conversation == TURNS
    assert Presentation().apply(None, [example]) == [example]


@pytest.mark.parametrize("dropped", [0, 3, 8, 12, 25, 40])
def test_a_shortened_conversation_loses_its_first_characters_and_keeps_its_turns(dropped: int) -> None:
    kept = without_front(TURNS, dropped)
    assert [turn.role for turn in kept] == [turn.role for turn in TURNS]
    said, whole = ("".join(turn.content for turn in turns) for turns in (kept, TURNS))
    assert whole.endswith(said) and len(said) == max(0, len(whole) - dropped)


def test_a_tokenizer_without_a_template_is_refused(model_folders: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match="no chat template"):
        Presentation("chat").apply(load_tokenizer(model_folders["llama"]), EXAMPLES)


def test_dropping_characters_drops_at_least_as_many_tokens(model_folders: dict[str, Path]) -> None:
    tokenizer = load_tokenizer(model_folders["llama"])
    prompt = EXAMPLES[0].prompt
    tokens = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
    for count in range(tokens):
        dropped = characters_over(tokenizer, prompt, count)
        assert len(tokenizer(prompt[dropped:], add_special_tokens=False)["input_ids"]) <= tokens - count
    assert characters_over(tokenizer, prompt, tokens) is None


def test_a_tokenizer_that_does_not_know_places_is_refused() -> None:
    slow = SimpleNamespace(is_fast=False, name_or_path="m")
    with pytest.raises(ModelError, match="m: .* use overlong: leave_out"):
        characters_over(slow, "red", 1)
