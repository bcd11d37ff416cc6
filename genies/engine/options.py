"""How activations are extracted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal, Self

from genies.options import END, STRICT, Matching, NonNegativeInt, PositiveInt, Whole, option

Dtype = Literal["float32", "bfloat16"]
Attention = Literal["auto", "sdpa", "eager"]
Quantization = Literal["int8", "nf4"]
Device = Annotated[str, Matching(rf"^[a-z]+(:[0-9]+)?{END}", "is no device: write auto, balanced, cpu, cuda or cuda:1")]


@dataclass(frozen=True)
class Extraction:
    """How activations are extracted."""

    __pydantic_config__: ClassVar = STRICT

    dtype: Dtype = option(
        "float32",
        "Type of stored features and of the arithmetic; a CPU without native bfloat16 computes in float32 and rounds "
        "what it stores.",
    )
    attention: Attention = option(
        "auto", "Attention implementation of transformers; auto takes sdpa where the architecture has it."
    )
    quantization: Quantization | None = option(None, "Weights in 8 or 4 bits (CUDA, with the extra `quantization`).")
    layers: Literal["all", "none"] | tuple[NonNegativeInt, ...] = option(
        "all",
        "Layers to store: 0 is the embedding, the last is after the final norm; also the heads of the blocks that "
        "begin at them. `none` stores log-probabilities alone.",
    )
    heads: Literal["all", "none"] | tuple[NonNegativeInt, ...] = option("all", "Heads of each layer to store.")
    device: Device = option(
        "auto",
        "torch device; auto takes the first CUDA device, else the CPU; balanced spreads a model over all (trainings "
        "take one).",
        decides=False,
    )
    batch_tokens: PositiveInt | Literal["auto"] = option(
        "auto", "Tokens of one forward pass, padding counted; auto asks the device's free memory.", decides=False
    )
    jobs_per_model: Annotated[int, Whole(1, 10_000)] = option(
        1,
        "Jobs among which the distributions of a model are shared; each loads the model once.",
        decides=False,
    )

    @property
    def layer_numbers(self) -> tuple[int, ...] | None:
        """Numbers of the layers to store; None for all."""
        if isinstance(self.layers, str):
            return None if self.layers == "all" else ()
        return tuple(sorted(set(self.layers)))

    @property
    def head_numbers(self) -> tuple[int, ...] | None:
        """Numbers of the heads to store of each layer; None for all."""
        if isinstance(self.heads, str):
            return None if self.heads == "all" else ()
        return tuple(sorted(set(self.heads)))

    @property
    def of_scores(self) -> Self:
        """The same for log-probabilities alone: no layer and no head is stored."""
        return replace(self, layers="none", heads="none")
