"""Prompts as a model is shown them: as published or in its chat template, shortened where its context is too short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from genies.data.clock import STILL_CLOCK
from genies.data.distributions import Example
from genies.data.options import PromptFormat
from genies.data.records import Turn
from genies.errors import ModelError, readable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Presentation:
    """How the examples of a split are shown, the same for every intervention.

    Attributes:
        prompt_format: prompts as published, or in the tokenizer's chat template, as the user's turn or as the turns of
            the example's conversation.
        shortened: characters dropped from the front of a prompt, by example.
    """

    prompt_format: PromptFormat = "published"
    shortened: Mapping[int, int] = field(default_factory=dict)

    def apply(self, tokenizer: PreTrainedTokenizerBase | None, examples: Sequence[Example]) -> list[Example]:
        """The examples with their prompts as they are shown. Only ``chat`` needs the tokenizer.

        Conversations stay; they lose as many characters in front as prompts.

        Raises:
            ModelError: the tokenizer has no chat template.
        """
        found = [(example, self.shortened.get(index, 0)) for index, example in enumerate(examples)]
        return [
            replace(
                example,
                prompt=self.prompt(tokenizer, example.prompt, dropped, example.conversation),
                conversation=without_front(example.conversation, dropped),
            )
            for example, dropped in found
        ]

    def prompt(
        self,
        tokenizer: PreTrainedTokenizerBase | None,
        prompt: str,
        dropped: int = 0,
        conversation: Sequence[Turn] = (),
    ) -> str:
        """One prompt, its first ``dropped`` characters left out.

        Args:
            tokenizer: the model's; only ``chat`` needs it.
            prompt: as published.
            dropped: characters.
            conversation: the turns that the prompt is, which ``chat`` shows; none: it is one turn of the user's.
        """
        text = prompt[dropped:]
        if self.prompt_format == "published":
            return text
        if tokenizer is None:
            raise ValueError("prompt_format chat: needs the tokenizer")
        return _in_chat(tokenizer, without_front(conversation, dropped) or (Turn("user", text),))


def without_front(conversation: Sequence[Turn], dropped: int) -> tuple[Turn, ...]:
    """Turns without the first ``dropped`` characters of what they say.

    Each turn stays, if need be an empty one, since templates want turns to alternate.
    """
    kept = []
    for turn in conversation:
        kept.append(replace(turn, content=turn.content[dropped:]))
        dropped = max(0, dropped - len(turn.content))
    return tuple(kept)


def _in_chat(tokenizer: PreTrainedTokenizerBase, conversation: Sequence[Turn]) -> str:
    if not tokenizer.chat_template:
        raise ModelError(f"{tokenizer.name_or_path}: its tokenizer has no chat template; use prompt_format: published")
    turns = [{"role": turn.role, "content": turn.content} for turn in conversation]
    template = STILL_CLOCK + tokenizer.get_chat_template()
    with readable(Path(tokenizer.name_or_path), "its chat template cannot be used; use prompt_format: published"):
        text = str(
            tokenizer.apply_chat_template(turns, chat_template=template, add_generation_prompt=True, tokenize=False)
        )
    begin = tokenizer.bos_token
    # Texts are tokenized with the default special tokens, which bring the template's first token a second time.
    adds_begin = bool(begin) and tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]
    return text.removeprefix(begin) if adds_begin else text


def characters_over(tokenizer: PreTrainedTokenizerBase, prompt: str, tokens: int) -> int | None:
    """How many characters to drop from a prompt's front to drop at least ``tokens`` tokens; None if it has fewer.

    At least one where any token is to go, also where the first ones stand for no character.

    Raises:
        ModelError: the tokenizer does not tell which characters a token stands for.
    """
    if not tokenizer.is_fast:
        raise ModelError(
            f"{tokenizer.name_or_path}: its tokenizer does not tell the place of its tokens, which overlong: shorten "
            "needs; give the model a tokenizer.json, or use overlong: leave_out"
        )
    spans = tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return max(spans[tokens][0], min(tokens, 1)) if len(spans) > tokens else None
