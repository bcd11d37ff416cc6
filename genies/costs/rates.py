"""How fast devices compute: a named GPU by its data sheet, and this machine by passes through blocks that are timed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

from genies.engine.masks import tree_masks

DEVICE = "NVIDIA A100"
PEAK_RATES = {"bfloat16": 312e12, "float32": 19.5e12}
"""Floating-point operations per second of ``DEVICE`` by type, by its data sheet: dense, without TF32."""
UTILISATION = 0.4
"""Share of the peak that is assumed to be reached."""
READING_SHARE = 0.85
"""Share of the rate of timed blocks that jobs reach in passes without gradients: they also pack, score and store."""
TRAINING_SHARE = 0.55
"""The same of steps of a training, which are many small products."""
LOADING_RATE = 5e8
"""Bytes per second at which a model's weights are loaded and converted."""
WEIGHT_BYTES = 4
"""Of a weight while it is loaded."""
TIMED_WIDTH = 2048
"""Widest blocks that are timed: beyond it the rate hardly grows, and the time does."""
TIMED_BLOCKS = 2
"""How many blocks are timed together, so that what comes before the first one and after the last matters little."""
TIMED_TOKENS = 512
"""Tokens that are passed through them, as one packed row."""
PASSING_SECONDS = 1.0
"""How long they are timed, at least; the fastest pass counts, since other work on the machine only slows it."""
HEAD_WIDTH = 64
"""Of their attention heads; their own widths are multiples of it."""


@dataclass(frozen=True)
class Rate:
    """The named device.

    Attributes:
        peak: floating-point operations per second; None for those of ``PEAK_RATES``.
        utilisation: share of it that is reached.
    """

    peak: float | None = None
    utilisation: float = UTILISATION

    def hours(self, operations: float, dtype: str) -> float:
        """Hours for so many operations on numbers of a type."""
        return operations / ((self.peak or PEAK_RATES[dtype]) * self.utilisation) / 3600

    @property
    def name(self) -> str:
        """The device in a word or two."""
        return f"{self.peak / 1e12:g} TFLOP/s" if self.peak else DEVICE

    def __str__(self) -> str:
        if self.peak:
            return f"a device of {self.peak / 1e12:g} TFLOP/s"
        rates = " or ".join(f"{rate / 1e12:g} ({dtype})" for dtype, rate in PEAK_RATES.items())
        return f"one {DEVICE} of {rates} TFLOP/s"


@dataclass(frozen=True)
class Here:
    """This machine.

    Attributes:
        device: what it computes on.
        cores: what it has of them.
        start: seconds that a job takes before it does anything: Python, imports, Snakemake.
    """

    device: torch.device
    cores: int
    start: float

    @classmethod
    def of(cls, device: torch.device, start: float) -> Here:
        """This machine, with the cores that this process may use."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return cls(device, cores, start)

    def rate(self, hidden: int, dtype: str) -> float:
        """Operations per second of passes through blocks of a model's width, measured once."""
        return _measured(min(hidden, TIMED_WIDTH), dtype, self.device)

    def hours(self, reading: float, training: float, hidden: int, dtype: str) -> float:
        """Hours for so many operations of passes without and with gradients."""
        rate = self.rate(hidden, dtype)
        return (reading / READING_SHARE + training / TRAINING_SHARE) / rate / 3600

    def job_hours(self, jobs: int, weights: int, side_by_side: bool) -> float:
        """Hours in which so many jobs start and load so many weights in all; one job for each core at a time."""
        seconds = jobs * self.start + weights * WEIGHT_BYTES / LOADING_RATE
        return seconds / (self.cores if side_by_side else 1) / 3600

    def __str__(self) -> str:
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"{self.cores} cores"


@cache
def _measured(width: int, dtype: str, device: torch.device) -> float:
    return passes_per_second(width, getattr(torch, dtype), device)


@torch.inference_mode()
def passes_per_second(hidden: int, dtype: torch.dtype, device: torch.device) -> float:
    """Floating-point operations per second of passes through blocks of about a model's width, a Llama's.

    A product alone would say too much on CPUs that multiply fast: norms, attention and activations do not get faster
    with it.
    """
    from transformers import AutoModel, LlamaConfig

    width = max(HEAD_WIDTH, hidden // HEAD_WIDTH * HEAD_WIDTH)
    config = LlamaConfig(
        hidden_size=width, intermediate_size=3 * width, num_hidden_layers=TIMED_BLOCKS, vocab_size=1,
        num_attention_heads=width // HEAD_WIDTH, num_key_value_heads=width // HEAD_WIDTH,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    with torch.device("meta"):
        model = AutoModel.from_config(config, dtype=dtype, attn_implementation="sdpa")
    model = model.to_empty(device=device).eval()
    for value in (*model.parameters(), *model.buffers()):
        value.fill_(1 / width)
    position = torch.arange(TIMED_TOKENS, device=device)[None]
    inputs = {
        "input_ids": torch.zeros_like(position), "position_ids": position, "use_cache": False,
        "attention_mask": tree_masks(config, torch.full_like(position, TIMED_TOKENS), position, dtype),
    }  # fmt: skip
    weights = sum(value.numel() for value in model.layers.parameters() if value.ndim == 2)
    operations = 2 * weights * TIMED_TOKENS + 4 * TIMED_BLOCKS * width * TIMED_TOKENS**2
    # The first pass allocates; a slow machine has no time for many more.
    seconds = [_seconds(lambda: model(**inputs), device) for _ in range(2)]
    while sum(seconds) < PASSING_SECONDS:
        seconds.append(_seconds(lambda: model(**inputs), device))
    return operations / min(seconds)


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    begin = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


TIMED_SECONDS = 0.1
"""How long to time matrix products of the model's sizes."""


def operations_per_second(hidden: int, dtype: torch.dtype, device: torch.device) -> float:
    """Floating-point operations per second of a matrix product of a model's width."""
    a = torch.ones((1024, hidden), dtype=dtype, device=device)
    b = torch.ones((hidden, 4 * hidden), dtype=dtype, device=device)
    _product(a, b)
    count, begin = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < TIMED_SECONDS:
        _product(a, b)
        count += 1
    return count * 2 * a.numel() * b.shape[1] / elapsed


def _product(a: torch.Tensor, b: torch.Tensor) -> None:
    a @ b
    if a.device.type == "cuda":
        torch.cuda.synchronize(a.device)
