"""Small real models with a tokenizer, and small distributions in the data's format."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

WORDS = (
    "the a of is capital city country what where who Paris Rome Oslo Lima Cairo France Italy Norway Peru Egypt river "
    "mountain red green blue one two three four five right wrong yes no answer question tell me about please sure I "
    "think that it lies in on near by Yes No Does responder successfully follow instruction Consider extent to which "
    "follows below probability responder followed ? . , : # \n"
).split(" ")
SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
FAMILIES = ("llama", "gpt_neox")
WINDOW = 16
"""Sliding window of the families that have one; the texts of ``write_distribution`` are longer."""
GROUPED = {"num_key_value_heads": 2}
FAMILY_SIZES: dict[str, dict[str, object]] = {
    "llama": GROUPED,
    "qwen2": GROUPED,
    "qwen3": {**GROUPED, "head_dim": 16},
    "mistral": {**GROUPED, "sliding_window": WINDOW},
    "gemma2": {**GROUPED, "head_dim": 16, "sliding_window": WINDOW},
    "gemma3_text": {
        **GROUPED,
        "head_dim": 16,
        "sliding_window": WINDOW,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "gpt2": {"n_inner": 64},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32, "init_std": 0.1},
    "mixtral": {**GROUPED, "num_local_experts": 4},
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
    "deepseek_v3": {
        **GROUPED,
        **{"num_key_value_heads": 4, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8},
        **{"qk_nope_head_dim": 8, "v_head_dim": 8, "n_routed_experts": 4, "n_group": 1, "topk_group": 1},
        **{"num_experts_per_tok": 2, "moe_intermediate_size": 32, "first_k_dense_replace": 1},
    },
    "mamba": {"state_size": 8},
    "jamba": {**GROUPED, "attn_layer_period": 1, "attn_layer_offset": 0, "num_experts": 2},
    "minimax": {
        **GROUPED,
        **{"head_dim": 8, "num_local_experts": 2, "block_size": 8},
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    },
    "falcon_h1": {
        **GROUPED,
        **{"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1},
    },
}
"""What a family's small model has beside the sizes that all have."""


USUAL = ("llama", "gpt_neox", "gemma2", "deepseek_v3")
"""Families that a quick test goes through: rotary positions of two kinds, a sliding window, and experts."""


def families(names: Iterable[str]) -> list[Any]:
    """Families as parameters of a test; all but the usual ones are ``long``."""
    import pytest

    return [name if name in USUAL else pytest.param(name, marks=pytest.mark.long) for name in names]


def save_tokenizer(folder: Path, words: tuple[str, ...] = tuple(WORDS)) -> None:
    """Write a word-level tokenizer with BOS, EOS and an unknown token."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate(("<unk>", "<s>", "</s>", *dict.fromkeys(words)))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|[^\w ]| "), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


def save_model(
    folder: Path, family: str, layers: int = 3, context: int = 512, words: Sequence[str] = tuple(WORDS)
) -> Path:
    """Write a random model of a family (a model type of transformers) with its tokenizer; seeded."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    save_tokenizer(folder, tuple(words))
    sizes = {
        "vocab_size": len(set(words)) + 3,
        "hidden_size": 32,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "max_position_embeddings": context,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "initializer_range": 0.1,
    }
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**sizes, "intermediate_size": 64, **FAMILY_SIZES.get(family, {})})
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def save_reward_model(
    folder: Path, kind: str = "llama", outputs: int = 1, context: int = 64, words: Sequence[str] = tuple(WORDS)
) -> Path:
    """Write a random sequence classifier with the tokenizer of ``save_model``; its padding token is EOS; seeded."""
    import torch
    from transformers import (
        AutoTokenizer,
        BertConfig,
        BertForSequenceClassification,
        LlamaConfig,
        LlamaForSequenceClassification,
    )

    save_tokenizer(folder, tuple(words))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(folder)
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": context,
        "initializer_range": 0.1,
        "num_labels": outputs,
        "pad_token_id": tokenizer.eos_token_id,
    }
    torch.manual_seed(0)
    if kind == "llama":
        model = LlamaForSequenceClassification(LlamaConfig(**sizes))
    else:
        model = BertForSequenceClassification(BertConfig(**sizes))
    model.save_pretrained(folder)
    return folder


def write_distribution(folder: Path, train: int = 12, test: int = 8, offset: int = 0) -> Path:
    """Write a small distribution about cities in the data's format; every third example has three responses."""
    cities, countries = WORDS[10:15], WORDS[15:20]
    folder.mkdir(parents=True)
    for split, count in (("train", train), ("test", test)):
        examples = []
        for index in range(count):
            number = index + offset + (100 if split == "test" else 0)
            country, right = countries[number % 5], cities[number % 5]
            wrong = [cities[(number + 1 + step) % 5] for step in range(1 + (number % 3 == 0))]
            colour = WORDS[22 + number // 5 % 3]
            prompt = f"Tell me about {colour} {country} {number} .\nWhat is the capital of {country} ?\n"
            responses = {
                f"the capital is {city} ." if number % 2 else f"{city} .": float(city == right)
                for city in [*wrong, right]
            }
            examples.append({"prompt": prompt, "responses": responses})
        (folder / f"{split}.json").write_text(json.dumps(examples), encoding="utf-8")
    return folder


def write_evaluation(folder: Path, model: str, intervention: str, source: str, targets: dict[str, list[float]]) -> Path:
    """Write the probabilities of each target's pairs as an evaluation; two pairs per example."""
    import numpy as np
    import polars as pl

    from genies.evaluation.evaluations import PAIR_COLUMNS

    frames = [
        pl.DataFrame(
            {
                **dict.fromkeys(PAIR_COLUMNS, [None] * len(p)),
                "target": [target] * len(p),
                "example": np.arange(len(p)) // 2,
                "pair": np.arange(len(p)) % 2,
                "cluster": np.arange(len(p)) // 2,
                "probability": p,
                "score_best": np.array(p) * 3,
                "score_worse": np.zeros(len(p)),
            },
            schema=PAIR_COLUMNS,
        )
        for target, p in targets.items()
    ]
    path = folder / model / intervention / f"{source}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.concat(frames).write_parquet(path)
    return path


def one_thread_of_torch() -> Iterator[None]:
    """A fixture: one thread of torch, so that runs compared bit for bit add up in the same order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tries(usual: int, at_length: int) -> int:
    """How many examples of a property are tried: more by ``make torture``."""
    return at_length if "GENIES_FIGURES" in os.environ else usual
