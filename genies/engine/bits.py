"""The bits in which stores keep numbers: part of what decides a store's name."""

from __future__ import annotations

import numpy as np


def to_bits(array: np.ndarray, dtype: str) -> np.ndarray:
    """float32 (…,) as it is stored: float32, or rounded to the nearest bfloat16, whose bits are uint16."""
    array = np.ascontiguousarray(array, np.float32)
    if dtype == "float32":
        return array
    import torch

    return torch.from_numpy(array).to(torch.bfloat16).view(torch.uint16).numpy()


def from_bits(array: np.ndarray, dtype: str) -> np.ndarray:
    """What ``to_bits`` stored, exactly: float32 of the same shape."""
    if dtype == "float32":
        return array
    return (array.astype(np.uint32) << 16).view(np.float32)
