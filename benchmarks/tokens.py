"""A BPE of 32,000 tokens trained on a folder of distributions, and how many tokens they then hold.

Run as ``python benchmarks/tokens.py DISTRIBUTIONS_FOLDER TOKENIZER_FOLDER``; see ``docs/costs.md``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast

from genies.data.distributions import Example, read_split
from genies.data.texts import Text, split_texts
from genies.data.views import VIEWS
from genies.engine.forest import build_forest
from genies.engine.tokenization import prompt_tokens, tokenize

VOCABULARY = 32_000
END = "</s>"
SPLITS = ("train", "test")
MAIN_VIEWS = ("plain", "yes", "no")
ALL_VIEWS = (*MAIN_VIEWS, "lat_template")


def train(data: Path, folder: Path) -> PreTrainedTokenizerFast:
    """Train on every response of the training splits after its prompt, and save."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(_training_texts(data), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END)
    tokenizer.save_pretrained(folder)
    return tokenizer


def _training_texts(data: Path) -> Iterator[str]:
    for file in sorted(data.glob("*/train.json")):
        for example in read_split(file):
            yield from (example.prompt + response for response in example.responses)


def count(tokenizer: PreTrainedTokenizerFast, texts: Sequence[Text]) -> list[int]:
    """Texts, characters, tokens under ``plain``; then tokens as strings and as trees: of three views, and of four."""
    prompts = prompt_tokens(tokenizer, texts)
    tokens = {view: tokenize(tokenizer, texts, VIEWS[view], prompts) for view in ALL_VIEWS}
    counts = [len(texts), sum(len(t.prompt_text) + len(t.response_text) for t in texts), len(tokens["plain"].ids)]
    for views in (MAIN_VIEWS, ALL_VIEWS):
        chosen = {view: tokens[view] for view in views}
        trees = build_forest(chosen, tokenizer.eos_token_id).trees
        counts += [sum(len(table.ids) for table in chosen.values()), sum(map(len, trees))]
    return counts


def _all_texts(examples: Sequence[Example]) -> list[Text]:
    return [
        Text(index, number, example.prompt, response)
        for index, example in enumerate(examples)
        for number, response in enumerate(example.responses)
    ]


def main() -> None:
    """Train, count, print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of distributions")
    parser.add_argument("tokenizer", type=Path, help="folder to save the tokenizer in")
    options = parser.parse_args()
    tokenizer = train(options.data, options.tokenizer)
    totals = {"every response": [0] * 7, "those that a run reads": [0] * 7}
    files = sorted(file for split in SPLITS for file in options.data.glob(f"*/{split}.json"))
    for file in tqdm(files, desc="count", unit="split", mininterval=2):
        examples = read_split(file)
        for name, texts in zip(totals, (_all_texts(examples), split_texts(examples, file.stem, 0)), strict=True):
            totals[name] = [a + b for a, b in zip(totals[name], count(tokenizer, texts), strict=True)]
    print("| responses | texts | characters per token | plain, yes, no: as strings | as trees "
          "| with lat_template: as strings | as trees |")  # fmt: skip
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, (texts, characters, plain, *tokens) in totals.items():
        print(f"| {name} | {texts:,} | {characters / plain:.2f} | {' | '.join(f'{n / 1e6:.1f} M' for n in tokens)} |")


if __name__ == "__main__":
    main()
