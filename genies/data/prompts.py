"""Prompts as a model is shown them: as published or in its chat template, shortened where its context is too short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, get_args

from genies.data.distributions import Example
from genies.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PromptFormat = Literal["published", "chat"]
PROMPT_FORMATS: tuple[PromptFormat, ...] = get_args(PromptFormat)


@dataclass(frozen=True)
class Presentation:
    """How the examples of a split are shown, the same for every intervention.

    Attributes:
        prompt_format: prompts as published, or as the user's turn in the tokenizer's chat template.
        shortened: characters dropped from the front of a prompt, by example.
    """

    prompt_format: PromptFormat = "published"
    shortened: Mapping[int, int] = field(default_factory=dict)

    def apply(self, tokenizer: PreTrainedTokenizerBase | None, examples: Sequence[Example]) -> list[Example]:
        """The examples with their prompts as they are shown. Only ``chat`` needs the tokenizer.

        Raises:
            ModelError: the tokenizer has no chat template.
        """
        return [
            replace(example, prompt=self.prompt(tokenizer, example.prompt, self.shortened.get(index, 0)))
            for index, example in enumerate(examples)
        ]

    def prompt(self, tokenizer: PreTrainedTokenizerBase | None, prompt: str, dropped: int = 0) -> str:
        """One prompt, its first ``dropped`` characters left out."""
        text = prompt[dropped:]
        return text if self.prompt_format == "published" else _in_chat(tokenizer, text)


def _in_chat(tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    if not tokenizer.chat_template:
        raise ModelError(f"{tokenizer.name_or_path}: its tokenizer has no chat template; use prompt_format: published")
    turns = [{"role": "user", "content": prompt}]
    text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    begin = tokenizer.bos_token
    # Texts are tokenized with the default special tokens, which bring the template's first token a second time.
    adds_begin = bool(begin) and tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]
    return text.removeprefix(begin) if adds_begin else text


def characters_over(tokenizer: PreTrainedTokenizerBase, prompt: str, tokens: int) -> int | None:
    """How many characters to drop from a prompt's front to drop at least ``tokens`` tokens; None if it has fewer."""
    spans = tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return spans[tokens][0] if len(spans) > tokens else None
