"""The verb ``estimate``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from transformers import AutoModelForCausalLM  # noqa: F401  (what a job imports, too)

from genies.config.load import read_config
from genies.costs import estimate as costs
from genies.costs.rates import UTILISATION, Rate
from genies.costs.table import render
from genies.errors import ConfigError


def estimate(
    *,
    configfile: Sequence[Path] = (Path("config/config.yaml"),),
    config: Sequence[str] = (),
    shape: Sequence[str] = (),
    tokenizer: Path | None = None,
    peak_tflops: float | None = None,
    utilisation: float = UTILISATION,
    exact: bool = False,
) -> None:
    """Say what a run will cost in tokens, hours and disk; nothing is written.

    Args:
        configfile: as snakemake takes it (default: the demo's).
        config: ``KEY=VALUE``, as snakemake takes it.
        shape: published models to plan with, which need not be here: pythia-410m, llama-7b, llama-13b, llama-30b,
            llama-70b.
        tokenizer: folder of a tokenizer for models that have none here.
        peak_tflops: the device's peak in 10¹² operations per second (default: an A100's).
        utilisation: share of it that is reached, up to 1.
        exact: tokenize every text instead of a sample; takes minutes.
    """
    if peak_tflops is not None and not 0 < peak_tflops < float("inf"):
        raise ConfigError(f"--peak-tflops: {peak_tflops} is not a positive number")
    if not 0 < utilisation <= 1:
        raise ConfigError(f"--utilisation: {utilisation} is not a share above 0 and up to 1")
    rate = Rate(peak_tflops and peak_tflops * 1e12, utilisation)
    # The imports up to here, Snakemake's and transformers' among them, are about what a job takes to start.
    read = read_config(configfile, config)
    found = costs.estimate(read, shape, tokenizer, rate, time.process_time(), exact)
    print(render(found))
    found.check()
