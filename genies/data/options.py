"""How the splits of a run are read, the same for every intervention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal, Self, get_args

from genies.options import STRICT, NonNegativeInt, PositiveInt, option, options_of

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Framing = Literal["response", "truthfulness", "truthfulness_per_response"]
FRAMINGS: tuple[Framing, ...] = get_args(Framing)
PromptFormat = Literal["published", "chat"]
PROMPT_FORMATS: tuple[PromptFormat, ...] = get_args(PromptFormat)
Overlong = Literal["leave_out", "shorten"]


@dataclass(frozen=True)
class Limit:
    """How many examples of each split are read."""

    __pydantic_config__: ClassVar = STRICT

    train: PositiveInt | None = option(None, "At most so many training examples of each distribution.")
    test: PositiveInt | None = option(None, "At most so many test examples of each.")
    distributions: dict[str, dict[Split, PositiveInt | None]] = option(
        dict, "Other limits for single distributions: `{name: {train: 100, test: null}}`; null reads all."
    )

    def of(self, distribution: str, split: str) -> int | None:
        """The limit of one split; None where all of it is read."""
        own = self.distributions.get(distribution, {})
        return next((limit for name, limit in own.items() if name == split), getattr(self, split))


@dataclass(frozen=True)
class Reading:
    """How splits are read. The manifest of ``tokenize`` states it, and all later stages take it from there.

    Attributes:
        views: those that the run reads, sorted; the model's context has to hold an example under each of them.
    """

    __pydantic_config__: ClassVar = STRICT

    seed: NonNegativeInt = option(0, "Seed of everything drawn: pairs, order, fits.")
    framing: Framing = option(
        "response",
        "What is judged: the `response`, or the `truthfulness` of a claim about it (Yes or No). Claims are about the "
        "best response of each example and about one worse one; under the protocol `paper`, or with "
        "`truthfulness_per_response`, about every one.",
    )
    prompt_format: PromptFormat = option(
        "published", "Prompts as `published`, or as the user's turn in the tokenizer's `chat` template."
    )
    overlong: Overlong = option(
        "leave_out", "Examples over the model's context: left out, or their prompts shortened in front."
    )
    limit: Limit = option(
        Limit,
        "At most how many examples of each split are read, drawn by `seed` and their texts; see below.",
        remembered=False,
    )
    views: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, stated: Mapping[str, Any]) -> Self:
        """What a manifest states as its ``reading``."""
        return cls(**{**stated, "limit": Limit(**stated.get("limit", {})), "views": tuple(stated.get("views", ()))})

    def remembered(self) -> dict[str, Any]:
        """What fits remember of it: how a text is shown, not which texts are drawn and kept."""
        names = [one.name for one in options_of(self) if one.metadata["remembered"]]
        return {name: value for name, value in asdict(self).items() if name in names}
