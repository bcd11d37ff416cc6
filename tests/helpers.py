"""Small real models with a tokenizer, and small distributions in the data's format."""

from __future__ import annotations

import json
from pathlib import Path

WORDS = (
    "the a of is capital city country what where who Paris Rome Oslo Lima Cairo France Italy Norway Peru Egypt river "
    "mountain red green blue one two three four five right wrong yes no answer question tell me about please sure I "
    "think that it lies in on near by Yes No Does responder successfully follow instruction Consider extent to which "
    "follows below probability responder followed ? . , : # \n"
).split(" ")
SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
FAMILIES = ("llama", "gpt_neox")


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


def save_model(folder: Path, family: str, layers: int = 3, context: int = 512) -> Path:
    """Write a random model of a family with its tokenizer; seeded."""
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

    save_tokenizer(folder)
    common = {
        "vocab_size": len(set(WORDS)) + 3,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "max_position_embeddings": context,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "initializer_range": 0.1,
    }
    torch.manual_seed(0)
    if family == "llama":
        model = LlamaForCausalLM(LlamaConfig(**common, num_key_value_heads=2))
    else:
        model = GPTNeoXForCausalLM(GPTNeoXConfig(**common))
    model.save_pretrained(folder)
    return folder


def save_reward_model(folder: Path, kind: str = "llama", outputs: int = 1, context: int = 64) -> Path:
    """Write a random sequence classifier with the tokenizer of ``save_model``; its padding token is EOS; seeded."""
    import torch
    from transformers import (
        AutoTokenizer,
        BertConfig,
        BertForSequenceClassification,
        LlamaConfig,
        LlamaForSequenceClassification,
    )

    save_tokenizer(folder)
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
