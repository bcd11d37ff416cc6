"""How fast devices compute: a named GPU by its data sheet, and this machine by a measured matrix product."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import cache

import torch

DEVICE = "NVIDIA A100"
PEAK_RATES = {"bfloat16": 312e12, "float32": 19.5e12}
"""Floating-point operations per second of ``DEVICE`` by type, by its data sheet: dense, without TF32."""
UTILISATION = 0.4
"""Share of the peak that is assumed to be reached."""
READING_SHARE = 0.9
"""Share of a measured product's rate that passes without gradients reach on this machine."""
TRAINING_SHARE = 0.5
"""The same of steps of a training, which are many small products."""
LOADING_RATE = 5e8
"""Bytes per second at which a model's weights are loaded and converted."""
WEIGHT_BYTES = 4
"""Of a weight while it is loaded."""
TIMED_ROUNDS = 5
"""How often a product is timed; the fastest counts, since other work on the machine only slows it."""
TIMED_WIDTH = 2048
"""Widest product that is timed: beyond it the rate hardly grows, and the time does."""


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
        """Operations per second of a product of a model's width, measured once."""
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
    return max(operations_per_second(width, getattr(torch, dtype), device) for _ in range(TIMED_ROUNDS))


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
