"""What a machine with a GPU does: exactness, rates and memory of extraction and training, in one table.

Run as ``make gpu``, or ``python benchmarks/gpu.py``; it takes at most 8 minutes and needs torch, transformers, peft,
NumPy, zarr and packages of pure Python alone. Models are made on the spot with random weights, in the shapes of
Pythia-410m and LLaMA-7B, and so are texts: token ids, of lengths as in the alpaca distributions. ``--shape tiny
--device cpu`` rehearses.

(a) is the published loop: one pass of the whole model for each method, pair, text and view, for mms, lat_stim_1,
lat_stim_2, cra and ccs. (c) is what ``genies extract`` does: every distinct token once, in packed rows, with stores.
"""

from __future__ import annotations

import argparse
import gc
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genies.engine import self_test
from genies.engine.adapters import adapt
from genies.engine.arithmetic import DTYPES, arithmetic, resolve_device
from genies.engine.batches import free_budget
from genies.engine.classifier import RewardReader
from genies.engine.decoder import Decoder
from genies.engine.forest import Batch, build_forest, build_tree, pack
from genies.engine.options import Extraction
from genies.engine.scoring import TextGroup
from genies.engine.self_test import Check, check_packing
from genies.engine.tokens import Tokens
from genies.files import sync_file
from genies.interventions.training.loop import Schedule, train
from genies.store.activations import ActivationStore
from genies.store.extraction import Extractor, block_threads
from genies.store.requests import Request
from genies.store.writer import StoreWriter

SHAPES: dict[str, tuple[str, dict[str, int]]] = {
    "tiny": ("llama", {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
                       "vocab_size": 1000}),
    "410m": ("gpt_neox", {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
                          "num_attention_heads": 16, "vocab_size": 50304}),
    "7b": ("llama", {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
                     "num_attention_heads": 32, "vocab_size": 32000}),
}  # fmt: skip
VIEWS_OF_PAIRS = ("plain", "plain", "lat_template", "yes", "no", "yes", "no")
"""Views that the published loop passes for each text of a pair: those of mms, lat_stim_1, lat_stim_2, cra and ccs."""
EOS = 0
CONTEXT = 2048

Row = tuple[str, str, str]
"""What was measured, the figure, and what it means."""


@dataclass(frozen=True)
class Sizes:
    """How much of everything.

    Attributes:
        examples: of the split that is extracted.
        loop_seconds: how long the published loop runs; it is far from done then.
        steps: of the training.
        pairs: of a step.
        disk_bytes: written to measure the disk.
        product_seconds: how long matrix products are timed.
    """

    examples: int
    loop_seconds: float
    steps: int
    pairs: int
    disk_bytes: int
    product_seconds: float


FULL = Sizes(examples=600, loop_seconds=15, steps=4, pairs=16, disk_bytes=2 * 2**30, product_seconds=1)
REHEARSAL = Sizes(examples=8, loop_seconds=0.1, steps=1, pairs=4, disk_bytes=2**20, product_seconds=0.02)


@dataclass(frozen=True)
class Texts:
    """Made texts: token ids of prompts, two responses each, and what the views put around them."""

    prompts: list[np.ndarray]
    responses: list[tuple[np.ndarray, np.ndarray]]
    around: dict[str, tuple[np.ndarray, np.ndarray]]

    @classmethod
    def made(cls, examples: int, vocabulary: int, seed: int = 0) -> Texts:
        """Draw them. A view has a sentence before the response or a question after it, as those of genies do."""
        rng = np.random.default_rng(seed)

        def ids(length: int) -> np.ndarray:
            return rng.integers(1, vocabulary, length, dtype=np.int32)

        def lengths(median: float) -> list[int]:
            return np.clip(rng.lognormal(np.log(median), 0.6, examples), 4, CONTEXT // 4).astype(int).tolist()

        prompts = [ids(length) for length in lengths(60)]
        responses = [(ids(a), ids(b)) for a, b in zip(lengths(70), lengths(70), strict=True)]
        nothing = ids(0)
        around = {"plain": (nothing, nothing), "lat_template": (ids(24), nothing)}
        question = ids(12)
        return cls(
            prompts, responses, around | {name: (nothing, np.append(question, ids(1))) for name in ("yes", "no")}
        )

    def text(self, view: str, example: int, response: int) -> np.ndarray:
        """Token ids of one text under a view."""
        before, after = self.around[view]
        return np.concatenate([self.prompts[example], before, self.responses[example][response], after])

    def tokens(self, view: str, examples: int | None = None) -> Tokens:
        """The texts of a view, as ``genies tokenize`` has them."""
        places = [(e, r) for e in range(len(self.prompts[:examples])) for r in (0, 1)]
        texts = [self.text(view, *place) for place in places]
        return Tokens(
            ids=np.concatenate(texts),
            offsets=np.cumsum([0, *map(len, texts)], dtype=np.int64),
            prompt_tokens=np.array([len(self.prompts[e]) for e, _ in places], np.int32),
            merged=np.zeros(len(texts), np.bool_),
            example=np.array([e for e, _ in places], np.int32),
            response=np.array([r for _, r in places], np.int32),
        )

    def views(self, examples: int | None = None) -> dict[str, Tokens]:
        """All views."""
        return {view: self.tokens(view, examples) for view in sorted(self.around)}

    def groups(self, count: int) -> list[TextGroup]:
        """Pairs to train on."""
        closed = [[np.append(self.text("plain", e, r), np.int32(EOS)) for r in (0, 1)] for e in range(count)]
        return [TextGroup(tuple(pair), (None, None)) for pair in closed]


class Machine:
    """The device, and the table that grows with what it does."""

    def __init__(self, device: str, sizes: Sizes) -> None:
        self.device, self.sizes = resolve_device(device), sizes
        self.rows: list[Row] = []
        self.failed: list[str] = []

    def say(self, what: str, figure: str, meaning: str = "") -> None:
        """Add a row."""
        self.rows.append((what, figure, meaning))
        print(f"{what}: {figure} {meaning}", flush=True)

    def check(self, what: str, right: bool, figure: str, meaning: str = "") -> None:
        """Add a row that may be wrong."""
        if not right:
            self.failed.append(what)
        self.say(what, figure if right else f"**wrong: {figure}**", meaning)

    def wait(self) -> None:
        """Until the device has done what was asked of it."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def timed(self, act: Callable[[], Any]) -> tuple[float, Any]:
        """Seconds that an act takes, and what it returns."""
        self.wait()
        begin = time.perf_counter()
        done = act()
        self.wait()
        return time.perf_counter() - begin, done

    def forget_peak(self) -> None:
        """Begin to measure memory anew."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def peak(self) -> str:
        """The most memory that was taken since, in words."""
        if self.device.type != "cuda":
            return ""
        return f"; peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"

    def free(self) -> None:
        """Give back what is no longer needed."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def model(self, kind: str, dtype: torch.dtype, classifier: bool = False) -> Any:
        """A model with random weights on the device."""
        from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

        family, sizes = SHAPES[kind]
        config = AutoConfig.for_model(
            family, **sizes, max_position_embeddings=CONTEXT, bos_token_id=EOS, eos_token_id=EOS, pad_token_id=EOS,
            num_labels=1, initializer_range=0.02,
        )  # fmt: skip
        torch.manual_seed(0)
        auto = AutoModelForSequenceClassification if classifier else AutoModelForCausalLM
        with torch.device(self.device):
            return auto.from_config(config, dtype=dtype).eval()

    def product_rate(self, hidden: int, dtype: torch.dtype) -> float:
        """Operations per second of a large matrix product of a model's width."""
        rows = 8192 if self.device.type == "cuda" else 1024
        a = torch.ones((rows, hidden), dtype=dtype, device=self.device)
        b = torch.ones((hidden, 4 * hidden), dtype=dtype, device=self.device)
        self.timed(lambda: a @ b)
        count, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < self.sizes.product_seconds or not count:
            for _ in range(10):
                a @ b
            self.wait()
            count += 10
        return count * 2 * a.numel() * b.shape[1] / (time.perf_counter() - begin)


def exactness(machine: Machine, kind: str, decoder: Decoder, texts: Texts, name: str) -> None:
    """Packed passes against separate ones: features, leaks, and decisions."""
    few = min(24, machine.sizes.examples)
    tokens = texts.views(few)
    forest = build_forest(tokens, EOS)
    check = check_packing(decoder, tokens, forest, EOS)
    machine.check(f"{kind}, {name}: packed against separate", check.packed, check.reason, "self-test; leaks counted")
    packed, apart = (
        decisions(decoder, build_forest({"plain": tokens["plain"]}, EOS, merge), merge) for merge in (True, False)
    )
    same = int((packed == apart).sum())
    machine.say(
        f"{kind}, {name}: decisions that agree",
        f"{same} of {len(packed)}",
        "which response is the likelier one",
    )


def decisions(decoder: Decoder, forest: Any, packed: bool) -> np.ndarray:
    """Of every example, whether its first response is the likelier one, bool (examples,)."""
    found = {}
    for tree, members in zip(forest.trees, forest.members, strict=True):
        batch = pack(Batch(len(tree), ((0,),)), [tree])
        features = decoder.read(batch) if packed else decoder.read_separately(batch)
        for (_, index), value in zip(members, features.log_probability.tolist(), strict=True):
            found[index] = value
    values = np.array([found[index] for index in range(len(found))]).reshape(-1, 2)
    return values[:, 0] > values[:, 1]


def published_loop(machine: Machine, decoder: Decoder, texts: Texts) -> tuple[float, int, int]:
    """(a) for some seconds. Returns seconds, tokens and how many examples were done."""
    done = tokens = 0

    def pass_examples() -> None:
        nonlocal done, tokens
        begin = time.perf_counter()
        while done < len(texts.prompts) and time.perf_counter() - begin < machine.sizes.loop_seconds:
            for view in VIEWS_OF_PAIRS:
                for response in (0, 1):
                    ids = texts.text(view, done, response)
                    given = torch.as_tensor(ids[None].astype(np.int64), device=machine.device)
                    decoder.model(given, use_cache=False, output_hidden_states=True)
                    tokens += len(ids)
            machine.wait()
            done += 1

    with torch.inference_mode():
        seconds, _ = machine.timed(pass_examples)
    return seconds, tokens, done


@contextmanager
def extractor(kind: str, decoder: Decoder, extraction: Extraction, budget: int) -> Iterator[Extractor]:
    """An extractor of a model that was made on the spot, into a folder that goes away again."""
    with tempfile.TemporaryDirectory() as root:
        described = {"name": kind, "path": kind, "files": {}, "weights_digest": "made", "eos_token": EOS}
        found = Extractor({**described, "attention": "sdpa"}, Path(root), extraction)
        found._decoder, found._budget = decoder, budget
        yield found


def extraction_rates(machine: Machine, kind: str, decoder: Decoder, texts: Texts, dtype: str) -> None:
    """(c) against (a), and its share of a matrix product."""
    tokens = texts.views()
    request = Request("made", "train", tokens, {view: view for view in tokens})
    right = Check(True, 0, 0, 0.0, None, 0, 0)
    before, self_test.check_packing = self_test.check_packing, lambda *_: right
    try:
        with extractor(
            kind, decoder, Extraction(dtype=dtype, device=machine.device.type), free_budget(decoder)
        ) as made:
            # Of other numbers, so that the request proper finds none of them in the stores.
            few = {view: replace(table, example=table.example + 10**6) for view, table in texts.views(8).items()}
            first = Request("warm", "train", few, {view: f"{view} warm" for view in tokens})
            made.extract(first)
            computed = made.statistics.computed_tokens
            seconds, _ = machine.timed(lambda: made.extract(request))
            computed = made.statistics.computed_tokens - computed
            stored = sum(file.stat().st_size for file in made.root.rglob("*") if file.is_file())
    finally:
        self_test.check_packing = before
    loop_seconds, loop_tokens, done = published_loop(machine, decoder, texts)
    weights = sum(p.numel() for block in decoder.blocks for p in block.parameters() if p.ndim > 1)
    rate = machine.product_rate(decoder.shape.hidden, decoder.dtype)
    faster = (loop_seconds / done) / (seconds / len(texts.prompts))
    name = f"{kind}, {dtype}"
    machine.say(f"{name}: matrix product", f"{rate / 1e12:.2f} TFLOP/s", f"{decoder.shape.hidden} wide")
    machine.say(f"{name}: (a) published loop", f"{loop_tokens / loop_seconds:,.0f} tokens/s", f"{done} examples")
    machine.say(
        f"{name}: (c) packed, with stores", f"{computed / seconds:,.0f} tokens/s",
        f"{2 * weights * computed / seconds / rate:.2f} of the product; {stored / seconds / 2**20:,.0f} MiB/s stored",
    )  # fmt: skip
    machine.say(f"{name}: (c) against (a)", f"{faster:.1f} times faster", "per example")


def memory(machine: Machine, kind: str, decoder: Decoder, texts: Texts, dtype: str) -> None:
    """A batch that memory does not hold is halved until it does, and the stores are the same."""
    examples = min(len(texts.prompts), 400)
    tokens = texts.views(examples)
    request = Request("made", "train", tokens, {view: view for view in tokens})
    options = Extraction(dtype=dtype, device=machine.device.type)
    features, halved = [], 0
    for budget in (free_budget(decoder), 2**30):
        with extractor(kind, decoder, options, budget) as made, refusing(machine, decoder, budget == 2**30):
            names = made.extract(request)
            halved = made.statistics.forward_passes
            store = ActivationStore(made.root / names["plain"][0])
            order = np.lexsort((store.response, store.example))
            features.append(store.residual(store.layers("residual")[-1])[order])
    away = float(np.linalg.norm(features[0] - features[1]) / np.linalg.norm(features[0]))
    simulated = "" if machine.device.type == "cuda" else "; without a GPU the want of memory is simulated"
    machine.check(
        f"{kind}, {dtype}: out of memory", away <= self_test.PACKING_TOLERANCE[decoder.dtype],
        f"{halved} passes instead of 1", f"features differ by {away:.1e}{simulated}",
    )  # fmt: skip


@contextmanager
def refusing(machine: Machine, decoder: Decoder, active: bool) -> Iterator[None]:
    """On a CPU, the model refuses large batches as a GPU whose memory is full would."""
    read = decoder.read
    if active and machine.device.type != "cuda":

        def limited(batch: Any, *rest: Any) -> Any:
            if batch.tokens.size > 4096:
                raise torch.OutOfMemoryError("simulated")
            return read(batch, *rest)

        decoder.read = limited  # type: ignore[method-assign]
    try:
        yield
    finally:
        decoder.read = read  # type: ignore[method-assign]


def adapter() -> Any:
    """What trainings train."""
    from peft import LoraConfig

    return LoraConfig(task_type="SEQ_CLS", r=16, lora_alpha=16, lora_dropout=0.0)


def training(machine: Machine, kind: str, texts: Texts, dtype: str, checkpointing: bool = False) -> None:
    """Steps of LoRA, and TRL's."""
    groups = texts.groups(machine.sizes.pairs)
    name = f"{kind}, {dtype}: LoRA, {len(groups)} pairs a step{', gradient checkpointing' if checkpointing else ''}"
    seconds = lora_step(machine, kind, groups, dtype, checkpointing, name)
    machine.free()
    if find_spec("trl") is None:
        machine.say(f"{name}, by TRL", "–", "not installed; see benchmarks/training.py")
        return
    other = trl_step(machine, kind, groups, dtype, checkpointing)
    machine.say(f"{name}, by TRL", f"{other:.2f} s a step", f"{other / seconds:.1f} times as long{machine.peak()}")
    machine.free()


def lora_step(
    machine: Machine, kind: str, groups: Sequence[TextGroup], dtype: str, checkpointing: bool, name: str
) -> float:
    """Seconds of a step as ``genies tune`` does it, a warm one; and its row."""
    classifier = machine.model(kind, DTYPES[dtype], classifier=True).requires_grad_(False)
    reader = RewardReader(classifier, DTYPES[dtype], adapt(classifier, adapter()))
    for parameter in reader.trainable().values():
        parameter.data = parameter.data.float()
    if checkpointing:
        reader.save_memory()
    schedule = Schedule(
        steps=machine.sizes.steps, pairs_per_step=len(groups), learning_rate=2e-4, weight_decay=0, max_grad_norm=0.3,
        batch_tokens=4096, checkpoint_steps=0, seed=0,
    )  # fmt: skip

    def steps() -> list[dict[str, float]]:
        return train(reader, groups, schedule, EOS, True, None, "made", f"{kind} LoRA")

    steps()
    machine.forget_peak()
    seconds, history = machine.timed(steps)
    tokens = sum(len(build_tree(group.tokens, group.score_from, EOS)) for group in groups) * schedule.steps
    weights = sum(p.numel() for n, p in classifier.base_model.named_parameters() if p.ndim > 1 and ".layers." in f".{n}"
                  and "lora_" not in n)  # fmt: skip
    rate = machine.product_rate(classifier.config.hidden_size, DTYPES[dtype])
    work = 6 if checkpointing else 4  # a weight multiplies forward, again where states were given up, and back
    machine.check(
        name, bool(np.isfinite(history[-1]["loss"])), f"{seconds / schedule.steps:.2f} s a step",
        f"{tokens / seconds:,.0f} distinct tokens/s, {work * weights * tokens / seconds / rate:.2f} of the product"
        f"{machine.peak()}",
    )  # fmt: skip
    return seconds / schedule.steps


def trl_step(machine: Machine, kind: str, groups: Sequence[TextGroup], dtype: str, checkpointing: bool) -> float:
    """Seconds of a step of TRL's ``RewardTrainer`` on the same token ids, a warm one."""
    from datasets import Dataset
    from datasets.table import InMemoryTable
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast
    from trl import RewardConfig, RewardTrainer

    names = ("chosen_ids", "rejected_ids")
    columns = {name: [group.tokens[place].tolist() for group in groups] for place, name in enumerate(names)}
    # Named by hand: datasets would pickle all of it for a fingerprint.
    data = Dataset(InMemoryTable.from_pydict(columns), fingerprint=kind)
    words = Tokenizer(WordLevel({"</s>": EOS}, unk_token="</s>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>", pad_token="</s>")
    with tempfile.TemporaryDirectory() as folder:
        settings = RewardConfig(
            output_dir=folder, max_steps=machine.sizes.steps, per_device_train_batch_size=len(groups),
            learning_rate=2e-4, max_length=None, save_strategy="no", report_to="none", disable_tqdm=True,
            bf16=dtype == "bfloat16", use_cpu=machine.device.type == "cpu", gradient_checkpointing=checkpointing,
        )  # fmt: skip
        classifier = machine.model(kind, DTYPES[dtype], classifier=True)
        trainer = RewardTrainer(
            classifier, settings, train_dataset=data, processing_class=tokenizer, peft_config=adapter()
        )
        trainer.train()
        machine.forget_peak()
        seconds, _ = machine.timed(trainer.train)
    return seconds / machine.sizes.steps


def disk(machine: Machine) -> None:
    """The writer of stores against plain writes, each flushed to the disk as often."""
    texts, shape = 512, (24, 1024)
    total = machine.sizes.disk_bytes
    texts = max(16, total // (4 * shape[0] * shape[1]))
    values = np.random.default_rng(0).standard_normal((texts, *shape), np.float32)
    description = {
        "dtype": "float32", "example": list(range(texts)), "response": [0] * texts,
        "block_texts": max(16, min(texts, 64 * 2**20 // (4 * shape[0] * shape[1]))),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as root:
        block = description["block_texts"]

        def plain() -> None:
            for start in range(0, texts, block):
                file = Path(root) / f"plain-{start}"
                file.write_bytes(values[start : start + block].tobytes())
                sync_file(file)

        def written() -> None:
            with block_threads(machine.device) as threads:
                writer = StoreWriter(Path(root), "store", description, {"residual": shape}, threads=threads)
                for start in range(0, texts, block):
                    writer.append(start, {"residual": values[start : start + block]})
                writer.finish()

        plain_seconds, _ = machine.timed(plain)
        seconds, _ = machine.timed(written)
    machine.say(
        "disk: stores, checked and read back", f"{values.nbytes / seconds / 2**20:,.0f} MiB/s",
        f"{plain_seconds / seconds:.2f} of plain writes ({values.nbytes / plain_seconds / 2**20:,.0f} MiB/s)",
    )  # fmt: skip


def balanced(machine: Machine, texts: Texts) -> None:
    """A model over all GPUs gives what it gives on one."""
    if torch.cuda.device_count() < 2:
        machine.say("device: balanced", "–", "needs two GPUs")
        return
    with tempfile.TemporaryDirectory() as folder:
        machine.model("410m", torch.float32).save_pretrained(folder)
        tree = build_forest(texts.views(2), EOS).trees[0]
        batch = pack(Batch(len(tree), ((0,),)), [tree])
        one, many = (
            Decoder.load(Path(folder), "float32", device, "sdpa").read(batch).residual.cpu()
            for device in ("cuda:0", "balanced")
        )
    away = self_test.relative_difference(many, one)
    machine.check(
        "device: balanced", away <= self_test.PACKING_TOLERANCE[torch.float32], f"features differ by {away:.1e}"
    )


def run_shape(machine: Machine, kind: str) -> None:
    """Everything of one shape; the 410m shape in both types, the largest in bfloat16 alone."""
    texts = Texts.made(machine.sizes.examples, SHAPES[kind][1]["vocab_size"])
    for dtype in ("bfloat16",) if kind == "7b" else ("float32", "bfloat16"):
        if arithmetic(dtype, machine.device) != dtype:
            machine.say(f"{kind}, {dtype}", "–", "this device does not multiply it natively")
            continue
        decoder = Decoder(machine.model(kind, DTYPES[dtype]))
        with torch.inference_mode():
            exactness(machine, kind, decoder, texts, dtype)
        extraction_rates(machine, kind, decoder, texts, dtype)
        if kind != "7b" and dtype == "float32":
            memory(machine, kind, decoder, texts, dtype)
        del decoder
        machine.free()
        training(machine, kind, texts, dtype)
        if kind == "7b" or machine.sizes is REHEARSAL:
            training(machine, kind, texts, dtype, checkpointing=True)


def table(machine: Machine, seconds: float) -> str:
    """Everything that was said, in Markdown."""
    name = torch.cuda.get_device_name() if machine.device.type == "cuda" else platform.machine()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft", "zarr", "numpy"))
    lines = [
        "# On a GPU",
        "",
        f"Written by `make gpu` ({name}; {versions}) in {seconds:.0f} s.",
        "Models and texts are made on the spot: the shapes of Pythia-410m and LLaMA-7B with random weights, token ids.",
        "",
        "| what | figure | |",
        "|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in machine.rows),
        "",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do everything; print the table. Returns 1 where something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", nargs="+", choices=list(SHAPES), default=["410m", "7b"])
    parser.add_argument("--device", default="cuda", help="torch device")
    parser.add_argument("--output", type=Path, help="Markdown file to write the table to")
    options = parser.parse_args(arguments)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("torch finds no GPU here; `--device cpu --shape tiny` rehearses without one")
    begin = time.perf_counter()
    machine = Machine(options.device, REHEARSAL if options.shape == ["tiny"] else FULL)
    disk(machine)
    for kind in options.shape:
        run_shape(machine, kind)
    balanced(machine, Texts.made(2, SHAPES["410m"][1]["vocab_size"]))
    written = table(machine, time.perf_counter() - begin)
    print(f"\n{written}")
    if options.output:
        options.output.write_text(written, encoding="utf-8")
    return int(bool(machine.failed))


if __name__ == "__main__":
    raise SystemExit(main())
