"""Arithmetic: the type that a device multiplies in, which may be another one than values are stored in.

A processor without instructions for bfloat16 emulates such products, fifty times slower than those in float32. So
nothing multiplies in bfloat16 there; what is to be stored in bfloat16 is computed in float32 and rounded when stored.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

WITHOUT_BFLOAT16 = {"sse41", "avx", "avx2", "avx2_vnni", "avx2_vnni_2", "avx512_core", "avx512_core_vnni"}
"""Values of oneDNN's ``ONEDNN_MAX_CPU_ISA`` that forbid the instructions for products of bfloat16."""

log = logging.getLogger(__name__)


def native_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 by instructions for it; of other devices than CPUs it is taken for granted.

    On a CPU these are AVX512-BF16, AMX-BF16 or ARM's bf16. oneDNN is what uses them, unless ``ONEDNN_MAX_CPU_ISA``
    forbids it; ``ATEN_CPU_CAPABILITY`` asks torch's own kernels to do without AVX-512, which is respected likewise.
    """
    if device.type != "cpu":
        return True
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    if not torch.backends.mkldnn.is_available() or limit.lower() in WITHOUT_BFLOAT16:
        return False
    has = _capabilities()
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return bool(has.get("bf16") or (wide and (has.get("avx512_bf16") or has.get("amx_bf16"))))


def _capabilities() -> Mapping[str, Any]:
    """What the processor can do, by name; versions of torch that cannot say it of ARM count as without bfloat16."""
    if hasattr(torch.cpu, "get_capabilities"):
        return torch.cpu.get_capabilities()
    return {"avx512_bf16": torch.cpu._is_avx512_bf16_supported()}


def arithmetic(dtype: str, device: torch.device) -> str:
    """The type to multiply in, "float32" or "bfloat16".

    Args:
        dtype: what is asked for: "float32", "bfloat16", or "auto" for bfloat16 on CUDA and float32 elsewhere.
        device: where it is computed.
    """
    if dtype == "auto":
        return "bfloat16" if device.type == "cuda" else "float32"
    return dtype if native_bfloat16(device) else "float32"


def announce(dtype: str, device: torch.device) -> None:
    """Log a line where bfloat16 is asked for and the device computes in float32 for want of it."""
    if dtype == "bfloat16" and arithmetic(dtype, device) != dtype:
        log.info("dtype bfloat16: this processor has no instructions for it, so products are computed in float32")


DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def resolve_device(device: str) -> torch.device:
    """The one device of a model: the first CUDA device where there is one, else the CPU; or torch's own name for it.

    "balanced" is as "auto" here, for models that are not spread.
    """
    if device in ("auto", "balanced"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def choose_kernels(device: torch.device) -> None:
    """Leave cuDNN out of attention: it compiles a plan for each new shape of a batch, a tenth of a second each.

    Batches of trees have ever new shapes. With the shapes of Pythia-410m an H100 took three times as long with it.
    """
    if device.type == "cuda":
        torch.backends.cuda.enable_cudnn_sdp(False)


def to_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """An array on a device; on a GPU without waiting for what it is doing."""
    tensor = torch.as_tensor(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
