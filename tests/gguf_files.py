"""Small real GGUF files: a random Llama and a byte-level tokenizer, written with the package ``gguf``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from helpers import WORDS

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

SPECIAL = ("<|unknown|>", "<|begin|>", "<|end|>")
TEMPLATE = "{% for message in messages %}<|begin|>{{ message['content'] }}<|end|>{% endfor %}"
CONTEXT = 300


def write_gguf(
    file: Path,
    *,
    name: str | None = "tiny",
    tied: bool = True,
    architecture: str = "llama",
    without: str | None = None,
    extra: str | None = None,
    fields: dict[str, str | int] | None = None,
    blocks: int | None = None,
) -> LlamaForCausalLM:
    """Write a random Llama in float32; seeded.

    Args:
        file: where to.
        name: of the model, in the metadata.
        tied: whether the output head is the embedding.
        architecture: what the file says it is.
        without: beginning of the names of tensors to leave out.
        extra: name of a tensor to add.
        fields: further fields of the metadata.
        blocks: how many it says it has; as many as it has unless given.

    Returns:
        The model that was written.
    """
    from gguf import GGUFWriter

    tokens, merges = _vocabulary()
    model = _model(len(tokens), tied)
    config = model.config
    writer = GGUFWriter(file, architecture)
    if name:
        writer.add_name(name)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers if blocks is None else blocks)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges(merges)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    for key, value in (fields or {}).items():
        writer.add_string(key, value) if isinstance(value, str) else writer.add_uint16(key, value)
    tensors = _tensors(model)
    if extra:
        tensors[extra] = tensors["output_norm.weight"]
    for tensor, values in tensors.items():
        if without is None or not tensor.startswith(without):
            writer.add_tensor(tensor, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def _vocabulary() -> tuple[list[str], list[str]]:
    """Tokens in the order of their ids, and merges, of byte-level BPE."""
    import json

    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=list(SPECIAL), initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 2, trainer)
    written = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(written["vocab"], key=written["vocab"].get)
    return tokens, [" ".join(pair) for pair in written["merges"]]


def _model(vocabulary: int, tied: bool) -> LlamaForCausalLM:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.1,
        tie_word_embeddings=tied,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    return LlamaForCausalLM(config).eval()


def _tensors(model: LlamaForCausalLM) -> dict:
    """Float32 arrays by the names that GGUF gives them, which are those of llama.cpp."""
    from gguf import MODEL_ARCH, get_tensor_name_map

    names = get_tensor_name_map(MODEL_ARCH.LLAMA, model.config.num_hidden_layers)
    heads = {"attn_q": model.config.num_attention_heads, "attn_k": model.config.num_key_value_heads}
    tensors = {}
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        written = names.get_name(name, try_suffixes=(".weight",))
        array = weight.numpy()
        for part, count in heads.items():
            if f".{part}." in written:  # llama.cpp has the two halves of a head interleaved
                array = array.reshape(count, 2, -1, array.shape[-1]).swapaxes(1, 2).reshape(array.shape)
        tensors[written] = array
    return tensors
