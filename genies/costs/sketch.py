"""What a model's configuration alone tells of its costs: the model without its weights, on torch's meta device."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from genies.engine.parts import attention_layers, find_blocks, head_width
from genies.engine.shape import Shape, chosen_parts
from genies.errors import ModelError, first_line, readable
from genies.models import gguf
from genies.models.files import read_object
from genies.models.load import refuse_layers

if TYPE_CHECKING:
    from transformers import PretrainedConfig

PUBLISHED_SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "pythia-410m": ("gpt_neox", {
        "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
        "vocab_size": 50304, "max_position_embeddings": 2048,
    }),
    "llama-7b": ("llama", {
        "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "intermediate_size": 11008,
        "vocab_size": 32000, "max_position_embeddings": 2048,
    }),
    "llama-13b": ("llama", {
        "hidden_size": 5120, "num_hidden_layers": 40, "num_attention_heads": 40, "intermediate_size": 13824,
        "vocab_size": 32000, "max_position_embeddings": 2048,
    }),
    "llama-30b": ("llama", {
        "hidden_size": 6656, "num_hidden_layers": 60, "num_attention_heads": 52, "intermediate_size": 17920,
        "vocab_size": 32000, "max_position_embeddings": 2048,
    }),
    "llama-70b": ("llama", {
        "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8,
        "intermediate_size": 28672, "vocab_size": 32000, "max_position_embeddings": 4096,
    }),
}  # fmt: skip
"""Model type of transformers and sizes by name. Sources: Pythia (arXiv 2304.01373), LLaMA (arXiv 2302.13971; 30b is its
33B), Llama 2 (arXiv 2307.09288) for 70b, the only one that shares keys and values among heads."""


@dataclass(frozen=True)
class Sketch:
    """A causal language model without its weights.

    Attributes:
        shape: what is read of each text, as ``Decoder`` finds it in the loaded model.
        parameters: weights of the whole model.
        block_weights: those of the blocks that a token is multiplied with; of experts, as many as a token visits.
        head_weights: those of the output head.
        attention_width: width of a layer's heads together, summed over the blocks with attention.
    """

    shape: Shape
    parameters: int
    block_weights: int
    head_weights: int
    attention_width: int

    @classmethod
    def of(
        cls, config: PretrainedConfig, layers: Sequence[int] | None = None, heads: Sequence[int] | None = None
    ) -> Sketch:
        """Sketch the model of a configuration; ``layers`` and ``heads`` as ``Decoder`` takes them.

        Raises:
            ModelError: transformers cannot make a causal language model of it, or not the layers and heads asked for.
        """
        from transformers import AutoModelForCausalLM

        model = _without_weights(AutoModelForCausalLM, config)
        text = model.config.get_text_config()
        blocks = find_blocks(model, text.num_hidden_layers)
        count = getattr(text, "num_attention_heads", None) or 0
        attending = sum(bool(attention_layers(block)) for block in blocks)
        stored = count if attending == len(blocks) else 0
        head_dim = head_width(text, count) if stored else 0
        chosen = chosen_parts(type(model).__name__, len(blocks), stored, layers, heads)
        return cls(
            shape=Shape(blocks=len(blocks), **chosen, head_dim=head_dim, hidden=text.hidden_size),
            parameters=sum(p.numel() for p in model.parameters()),
            block_weights=multiplied_weights(blocks, text),
            head_weights=model.get_output_embeddings().weight.numel(),
            attention_width=attending * count * head_width(text, count) if count else 0,
        )


def published_config(name: str) -> PretrainedConfig:
    """The configuration of a published shape.

    Raises:
        ModelError: no shape has this name.
    """
    from transformers import AutoConfig

    if name not in PUBLISHED_SHAPES:
        raise ModelError(f"shape {name}: unknown; choose from {', '.join(PUBLISHED_SHAPES)}")
    family, sizes = PUBLISHED_SHAPES[name]
    return AutoConfig.for_model(family, **sizes)


def read_config(folder: Path) -> PretrainedConfig:
    """The configuration of a model's folder or GGUF file; no remote code.

    Raises:
        ModelError: transformers cannot read it.
    """
    from transformers import AutoConfig

    if gguf.is_gguf(folder):
        return gguf.load_config(folder)
    refuse_layers(folder, read_object(folder / "config.json"))
    with readable(folder, "its config.json cannot be read"):
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)


def multiplied_weights(blocks: Iterable[torch.nn.Module], config: PretrainedConfig) -> int:
    """Weights of the blocks that every token is multiplied with; of stacked experts those that a token visits."""
    visited = getattr(config, "num_experts_per_tok", None)
    return sum(
        parameter.numel() * min(visited, len(parameter)) // len(parameter)
        if visited and parameter.ndim == 3
        else parameter.numel()
        for block in blocks
        for parameter in block.parameters()
        if parameter.ndim > 1
    )


def trained_weights(config: PretrainedConfig, adapter: Any | None) -> int:
    """How many weights are trained of a reward model with this adapter of PEFT; with None all of them.

    Raises:
        ModelError: transformers has no sequence classifier of this architecture.
        ConfigError: PEFT cannot put the adapter on it.
    """
    from transformers import AutoModelForSequenceClassification

    from genies.engine.adapters import adapt
    from genies.engine.classifier import RewardReader

    config = copy.deepcopy(config)
    config.num_labels = 1
    model = _without_weights(AutoModelForSequenceClassification, config)
    with torch.device("meta"):
        reader = RewardReader(model, torch.float32, None if adapter is None else adapt(model, adapter))
    return sum(parameter.numel() for parameter in reader.trainable().values())


def _without_weights(kind: Any, config: PretrainedConfig) -> Any:
    try:
        with torch.device("meta"):
            return kind.from_config(config, trust_remote_code=False)
    except (KeyError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"model type {config.model_type}: cannot be sketched ({first_line(error)})") from None
