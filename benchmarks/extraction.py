"""Extraction on the same model and texts: as published, one by one, in length-bucketed batches, and packed.

Run as ``python benchmarks/extraction.py DISTRIBUTIONS_FOLDER [--names …]``; see ``docs/benchmarks.md``.

(a) as published: for each of the five representation methods and each pair, one pass of the whole model per text and
    view, output head included. One by one: the same without the output head, which these methods do not need.
(b) bucketed: each distinct text of each view once, in batches of like length with right padding, without output head.
(c) packed: what ``genies extract`` does, stores, log-probabilities and their checks included; the self-test and the
    loading of the model are timed apart.

Every way runs in a process of its own, so that its peak of memory is its own.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from genies.data.distributions import Example, read_split
from genies.data.pairs import test_pairs, training_pairs
from genies.data.texts import split_texts
from genies.data.views import VIEWS
from genies.engine import self_test as checks_module
from genies.engine.arithmetic import arithmetic, resolve_device
from genies.engine.batches import free_budget
from genies.engine.decoder import Decoder
from genies.engine.forest import build_forest, plan_batches
from genies.engine.options import Extraction
from genies.engine.self_test import Check, SelfTests, check_packing
from genies.engine.tokenization import tokenize
from genies.engine.tokens import Tokens
from genies.models.load import load_tokenizer
from genies.store.extraction import Extractor
from genies.store.requests import Request

METHODS = {
    "mms": ("plain",),
    "lat_stim_1": ("plain",),
    "lat_stim_2": ("lat_template",),
    "cra": ("yes", "no"),
    "ccs": ("yes", "no"),
}
VIEWS_READ = sorted({view for views in METHODS.values() for view in views})
SPLITS = ("train", "test")
WAYS = ("as published", "one by one", "bucketed", "packed")
EOS = 0


def make_model(folder: Path, kind: str, texts: Sequence[str]) -> None:
    """A random model with a BPE of 8,000 tokens trained on the texts.

    Args:
        folder: where to save it.
        kind: ``tiny`` (Llama, 4 layers of 64), ``410m`` (the shape of Pythia-410m) or ``7b`` (that of LLaMA-7B).
        texts: what the tokenizer is trained on.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    bpe.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=8000, special_tokens=["</s>"], show_progress=False))
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="</s>").save_pretrained(folder)
    shapes = {
        "tiny": ("llama", {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 4,
                           "num_attention_heads": 4, "vocab_size": 8000}),
        "410m": ("gpt_neox", {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
                              "num_attention_heads": 16, "vocab_size": 50304}),
        "7b": ("llama", {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
                         "num_attention_heads": 32, "vocab_size": 32000}),
    }  # fmt: skip
    family, sizes = shapes[kind]
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family, **sizes, max_position_embeddings=2048, bos_token_id=EOS, eos_token_id=EOS, initializer_range=0.02
    )
    dtype = torch.bfloat16 if kind == "7b" else torch.float32
    AutoModelForCausalLM.from_config(config, dtype=dtype).save_pretrained(folder)


class Work:
    """The texts to read: the examples of some splits with their tokens."""

    def __init__(self, model: Path, data: Path, names: Sequence[str], splits: Sequence[str], limit: int | None) -> None:
        tokenizer = load_tokenizer(model)
        self.parts: dict[tuple[str, str], tuple[list[Example], dict[str, Tokens]]] = {}
        for name in names:
            for split in splits:
                examples = read_split(data / name / f"{split}.json")[:limit]
                texts = split_texts(examples, split, 0)
                self.parts[name, split] = examples, {v: tokenize(tokenizer, texts, VIEWS[v]) for v in VIEWS_READ}

    def pair_texts(self) -> list[np.ndarray]:
        """Texts of (a): for each method and pair, those of both responses under the method's views."""
        found = []
        for (_, split), (examples, tokens) in self.parts.items():
            row = {
                view: {key: i for i, key in enumerate(zip(t.example.tolist(), t.response.tolist(), strict=True))}
                for view, t in tokens.items()
            }
            pairs = training_pairs(examples, 0) if split == "train" else test_pairs(examples)
            for views in METHODS.values():
                for pair in pairs:
                    for response in (pair.best, pair.worse):
                        found += [tokens[v].text(row[v][pair.example, response]) for v in views]
        return found

    def view_texts(self) -> list[list[np.ndarray]]:
        """Texts of (b): for each split and view, every one once."""
        return [[t.text(i) for i in range(len(t))] for _, tokens in self.parts.values() for t in tokens.values()]


def one_by_one(decoder: Decoder, work: Work, head: bool) -> dict:
    """(a) above, with the output head or without."""
    texts, model = work.pair_texts(), decoder.model if head else decoder.model.base_model
    with torch.inference_mode():
        begin = time.perf_counter()
        for text in texts:
            ids = torch.as_tensor(text[None].astype(np.int64), device=decoder.device)
            model(ids, use_cache=False, output_hidden_states=True)
        _wait()
    return {"tokens": sum(map(len, texts)), "seconds": time.perf_counter() - begin}


def bucketed(decoder: Decoder, work: Work, budget: int) -> dict:
    """(b) above."""
    computed, begin = 0, time.perf_counter()
    with torch.inference_mode():
        for texts in work.view_texts():
            plan = plan_batches([len(text) for text in texts], budget, share_rows=False)
            for batch in plan:
                ids = np.full((len(batch.rows), batch.width), EOS)
                mask = np.zeros_like(ids)
                for row, (text,) in enumerate(batch.rows):
                    ids[row, : len(texts[text])], mask[row, : len(texts[text])] = texts[text], 1
                decoder.model.base_model(
                    torch.as_tensor(ids, device=decoder.device),
                    attention_mask=torch.as_tensor(mask, device=decoder.device),
                    use_cache=False,
                    output_hidden_states=True,
                )
                computed += batch.computed_tokens
        _wait()
    return {"tokens": computed, "seconds": time.perf_counter() - begin}


def packed(decoder: Decoder, model: Path, work: Work, options: Extraction, check_seconds: float) -> dict:
    """(c) above."""
    passed = Check(True, 0, 0, 0.0, None, 0, 0)
    checks_module.check_packing = lambda *_: passed
    with tempfile.TemporaryDirectory() as root:
        described = {"name": model.name, "path": str(model), "files": {}, "weights_digest": "bench", "eos_token": EOS}
        described["attention"] = "sdpa"
        extractor = Extractor(described, Path(root), options)
        extractor._decoder, extractor._budget = decoder, free_budget(decoder)
        begin = time.perf_counter()
        for (name, split), (_, tokens) in work.parts.items():
            extractor.extract(Request(name, split, tokens, {view: f"{name} {split} {view}" for view in tokens}))
        seconds = time.perf_counter() - begin
        stored = sum(file.stat().st_size for file in Path(root).rglob("*") if file.is_file())
    counts = extractor.statistics
    return {
        "tokens": counts.computed_tokens,
        "seconds": seconds,
        "tree_tokens": counts.tree_tokens,
        "stored_bytes": stored,
        "check_seconds": check_seconds,
    }


def self_test_seconds(decoder: Decoder, work: Work) -> float:
    """Time of the self-tests that (c) would do."""
    begin, tests = time.perf_counter(), SelfTests()
    for (_, split), (_, tokens) in work.parts.items():
        check = tests.check(decoder, tokens, build_forest(tokens, EOS), EOS, split == "test")
        if not check.packed:
            raise SystemExit(f"the packed pass differs: {check.reason}")
    return time.perf_counter() - begin


def product_rate(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """Operations per second of a large matrix product."""
    a = torch.ones((size, size), dtype=dtype, device=device)
    a @ a
    _wait()
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < 1 or not count:
        a @ a
        _wait()
        count += 1
    return count * 2 * size**3 / (time.perf_counter() - begin)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def run_way(options: argparse.Namespace) -> None:
    """One way, in this process; prints JSON."""
    dtype = "bfloat16" if options.kind == "7b" else "float32"
    extraction = Extraction(dtype=dtype)
    computed = arithmetic(dtype, resolve_device("auto"))
    splits = SPLITS if options.limit is None else ("test",)
    work = Work(options.model, options.data, options.names, splits, options.limit)
    decoder = Decoder.load(options.model, computed, "auto", "sdpa")
    # The first passes of a process are slow: threads start, memory is taken.
    first = next(iter(work.parts.values()))[1]
    check_packing(decoder, first, build_forest(first, EOS), EOS)
    if options.way in ("as published", "one by one"):
        result = one_by_one(decoder, work, head=options.way == "as published")
    elif options.way == "bucketed":
        result = bucketed(decoder, work, 4096)
    else:
        result = packed(decoder, options.model, work, extraction, self_test_seconds(decoder, work))
        weights = sum(p.numel() for block in decoder.blocks for p in block.parameters() if p.ndim > 1)
        rate = product_rate(decoder.device, decoder.dtype, 8192 if decoder.device.type == "cuda" else 2048)
        result["utilisation"] = 2 * weights * result["tokens"] / result["seconds"] / rate
        result["product_gflops"] = rate / 1e9
    if torch.cuda.is_available():
        result["peak_bytes"] = torch.cuda.max_memory_allocated()
    else:
        result["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(result))


def compare(options: argparse.Namespace, kind: str, limit: int | None) -> str:
    """The table of one model, in Markdown."""
    texts = [
        example.prompt + response
        for name in options.names
        for example in read_split(options.data / name / "train.json")
        for response in example.responses
    ]
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / kind
        make_model(model, kind, texts)
        for way in WAYS:
            command = [sys.executable, __file__, str(options.data), "--names", *options.names, "--way", way]
            command += ["--kind", kind, "--model", str(model), *(["--limit", str(limit)] if limit else [])]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            rows[way] = json.loads(done.stdout.splitlines()[-1])
            print(kind, way, rows[way], file=sys.stderr)
    base, last = rows["as published"], rows["packed"]
    lines = [
        f"### {kind}, {f'{limit} test examples of each' if limit else 'whole distributions'}",
        "",
        "| way | tokens computed | seconds | tokens/s | peak memory | times faster | fewer tokens by |",
        "|---|---|---|---|---|---|---|",
    ]
    for way, row in rows.items():
        lines.append(
            f"| {way} | {row['tokens']:,} | {row['seconds']:.1f} | {row['tokens'] / row['seconds']:,.0f} | "
            f"{row['peak_bytes'] / 2**30:.2f} GiB | {base['seconds'] / row['seconds']:.2f} | "
            f"{base['tokens'] / row['tokens']:.2f} |"
        )
    lines.append("")
    for way in ("as published", "one by one"):
        faster = rows[way]["seconds"] / last["seconds"]
        achieved = faster / (rows[way]["tokens"] / last["tokens"])
        lines.append(
            f"Packed against {way}: {faster:.2f} times faster, {achieved:.2f} of what the ratio of tokens allows."
        )
    lines += [
        f"Tokens computed ÷ distinct tree tokens: {last['tokens'] / last['tree_tokens']:.4f}. "
        f"Self-tests, not counted above: {last['check_seconds']:.1f} s. Multiplications with weights at "
        f"{100 * last['utilisation']:.0f} % of a large matrix product ({last['product_gflops']:,.0f} GFLOP/s).",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Compare on each model; print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of distributions")
    parser.add_argument("--names", nargs="+", default=["alpaca_mmlu", "arc_easy", "code"])
    parser.add_argument("--kinds", nargs="+", default=["tiny", "410m"] + (["7b"] if torch.cuda.is_available() else []))
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=int, help="test examples of each (default: 20 for 410m, else everything)")
    options = parser.parse_args()
    if options.way:
        run_way(options)
        return
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "zarr", "numpy"))
    print(f"{device}, {torch.get_num_threads()} threads; Python {platform.python_version()}, {versions}.\n")
    for kind in options.kinds:
        print(compare(options, kind, options.limit or (20 if kind == "410m" else None)))


if __name__ == "__main__":
    main()
