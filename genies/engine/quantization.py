"""Weights in 8 or 4 bits, by bitsandbytes."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch

from genies.errors import ConfigError


def quantization_config(kind: str, dtype: torch.dtype, place: torch.device | None) -> Any:
    """Configuration of bitsandbytes for weights in 8 (``int8``) or 4 bits (``nf4``; QLoRA, arXiv 2305.14314).

    Raises:
        ConfigError: no CUDA device, or bitsandbytes is not installed.
    """
    if not torch.cuda.is_available() if place is None else place.type != "cuda":
        raise ConfigError(f"quantization: {kind} needs a CUDA device; leave it out, or set the device to cuda")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(f"quantization: {kind} needs bitsandbytes; install genies[quantization], or leave it out")
    from transformers import BitsAndBytesConfig

    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        # A classifier's head is trained and stays as it is. (The option's name is historical: it holds for 4 bits.)
        llm_int8_skip_modules=["score", "lm_head"],
    )
