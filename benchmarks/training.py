"""Steps of a LoRA training: here, and by TRL's ``RewardTrainer`` where TRL is installed.

Run as ``python benchmarks/training.py MODEL DISTRIBUTIONS_FOLDER [--names …]``; see ``docs/benchmarks.md``. Both train
on the same pairs, in float32, without dropout, rank 16 on the projections of queries and values. Loading the model is
not timed. Multiplications with weights are counted on the tokens that are distinct within a pair: a frozen weight is
multiplied once forwards and once backwards.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from genies.costs.rates import operations_per_second
from genies.data.distributions import Example, read_split
from genies.data.pairs import training_pairs
from genies.engine.classifier import RewardReader, new_reader
from genies.engine.forest import build_tree
from genies.engine.scoring import TextGroup
from genies.interventions.registry import make
from genies.interventions.training.loop import Schedule, train
from genies.interventions.training.rewards import RewardScorer
from genies.models.describe import describe_model

LEARNING_RATE = 2e-4
PRODUCTS = 5
"""How often a product is timed; the fastest counts."""
WIDTH = 1024
"""Rows of the matrix product that is timed for comparison."""

Texts = list[tuple[str, str, str]]
"""Prompt, best and worse response of pairs."""


def read_pairs(folder: Path, count: int) -> Texts:
    """The first pairs of a training split."""
    examples: list[Example] = read_split(folder / "train.json")
    texts = []
    for pair in training_pairs(examples, 0)[:count]:
        example = examples[pair.example]
        texts.append((example.prompt, example.responses[pair.best], example.responses[pair.worse]))
    return texts


def adapter(rank: int) -> Any:
    """What both train."""
    return make("lora", {"rank": rank, "dropout": 0, "target_modules": ["q_proj", "v_proj"]}).adapter()


class Here:
    """The training as ``genies tune`` does it."""

    def __init__(self, model: dict[str, Any], texts: Texts, options: argparse.Namespace) -> None:
        self.reader: RewardReader = new_reader(
            Path(model["path"]), adapter(options.rank), "float32", options.device, "auto", 0, None
        )
        self.scorer = RewardScorer(
            self.reader, Path(model["path"]), model["eos_token"], model["context"], options.batch_tokens
        )
        pairs = [((prompt, best), (prompt, worse)) for prompt, best, worse in texts]
        self.groups: list[TextGroup] = self.scorer.groups(pairs, range(len(pairs)))
        self.options, self.model = options, model

    def distinct_tokens(self) -> int:
        """Tokens of all pairs, what two responses have in common once."""
        return sum(len(build_tree(group.tokens, group.score_from, -1)) for group in self.groups)

    def seconds(self, steps: int) -> float:
        """Time of so many steps over all pairs in turn."""
        schedule = Schedule(
            steps=steps, pairs_per_step=self.options.pairs, learning_rate=LEARNING_RATE, weight_decay=0,
            max_grad_norm=0.3, batch_tokens=self.options.batch_tokens, checkpoint_steps=0, seed=0,
        )  # fmt: skip
        begin = time.perf_counter()
        train(self.reader, self.groups, schedule, self.model["eos_token"], True, None, "benchmark", "genies")
        _wait()
        return time.perf_counter() - begin


class Trl:
    """The same by TRL, its padded batches of one step each."""

    def __init__(self, model: dict[str, Any], texts: Texts, options: argparse.Namespace) -> None:
        from datasets import Dataset

        self.data = Dataset.from_list([
            {"chosen": prompt + best, "rejected": prompt + worse} for prompt, best, worse in texts
        ])  # fmt: skip
        self.options, self.model = options, model

    def seconds(self, steps: int) -> float:
        """Time of so many steps."""
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
        from trl import RewardConfig, RewardTrainer

        tokenizer = AutoTokenizer.from_pretrained(self.model["path"])
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        classifier = AutoModelForSequenceClassification.from_pretrained(
            self.model["path"], num_labels=1, dtype=torch.float32
        )
        classifier.config.pad_token_id = tokenizer.pad_token_id
        with tempfile.TemporaryDirectory() as folder:
            settings = RewardConfig(
                output_dir=folder, max_steps=steps, per_device_train_batch_size=self.options.pairs, report_to="none",
                learning_rate=LEARNING_RATE, max_length=None, save_strategy="no", bf16=False, disable_tqdm=True,
                use_cpu=self.options.device == "cpu", gradient_checkpointing=False,
            )  # fmt: skip
            trainer = RewardTrainer(
                classifier, settings, train_dataset=self.data, processing_class=tokenizer,
                peft_config=adapter(self.options.rank),
            )  # fmt: skip
            begin = time.perf_counter()
            trainer.train()
            _wait()
            return time.perf_counter() - begin


def per_step(way: Here | Trl, options: argparse.Namespace) -> float:
    """Seconds of a step: the middle one of several rounds, after a step that warms up."""
    way.seconds(1)
    return statistics.median(way.seconds(options.steps) / options.steps for _ in range(options.rounds))


def product_rate(hidden: int, device: torch.device) -> float:
    """Operations per second of a matrix product of the model's width."""
    return max(operations_per_second(hidden, torch.float32, device) for _ in range(PRODUCTS))


def row(name: str, model: dict[str, Any], options: argparse.Namespace) -> str:
    """A line of the table."""
    texts = read_pairs(options.data / name, options.pairs)
    here = Here(model, texts, options)
    config = here.reader.classifier.config.get_text_config()
    blocks = here.reader.classifier.base_model.layers
    weights = sum(
        parameter.numel()
        for block in blocks
        for parameter_name, parameter in block.named_parameters()
        if parameter.ndim > 1 and "lora_" not in parameter_name
    )
    rate = product_rate(config.hidden_size, here.reader.device)
    seconds, tokens = per_step(here, options), here.distinct_tokens()
    share = 4 * weights * tokens / seconds / rate
    trl = "–"
    if find_spec("trl"):
        other = per_step(Trl(model, texts, options), options)
        trl = f"{other:.2f} ({other / seconds:.2f} ×)"
    return f"| {name} | {tokens:,} | {seconds:.2f} | {tokens / seconds:,.0f} | {share:.2f} | {rate / 1e9:.0f} | {trl} |"


def profiled(name: str, model: dict[str, Any], options: argparse.Namespace) -> str:
    """Where the time of a step goes, by operator."""
    from torch.profiler import ProfilerActivity, profile

    here = Here(model, read_pairs(options.data / name, options.pairs), options)
    here.seconds(1)
    with profile(activities=[ProfilerActivity.CPU]) as found:
        here.seconds(1)
    return found.key_averages().table(sort_by="self_cpu_time_total", row_limit=25)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main(arguments: Sequence[str] | None = None) -> None:
    """Time steps on each distribution; print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="folder of a model")
    parser.add_argument("data", type=Path, help="folder of distributions")
    parser.add_argument("--names", nargs="+", default=["alpaca_mmlu", "alpaca_long"])
    parser.add_argument("--pairs", type=int, default=16, help="pairs of a step")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--profile", action="store_true", help="print where the time goes, by operator")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        model = describe_model(str(options.model), None, Path(folder) / "sha256.json")
    if options.profile:
        print(profiled(options.names[0], model, options))
        return
    print(f"{options.pairs} pairs a step, rank {options.rank}, {torch.get_num_threads()} threads.\n")
    print("| distribution | distinct tokens | s a step | tokens/s | share of a product | its GFLOP/s | TRL, s a step |")
    print("|---|---|---|---|---|---|---|")
    for name in options.names:
        print(row(name, model, options))


if __name__ == "__main__":
    main()
