"""Clusters of examples: what stays on one side of every split and is resampled as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

INSTRUCTION_SHARE = 0.05
"""A prompt that more of a split's examples have is an instruction of the distribution, and tells none of them apart."""
INSTRUCTION_LEAST = 5
"""Examples that an instruction has at least: in a small split, two that share a prompt are many of them."""


def instructions(prompts: Collection[str]) -> set[str]:
    """Those of a split's prompts that so many examples share that they tell nothing of a single one.

    Args:
        prompts: of every example of the split.
    """
    least = max(INSTRUCTION_SHARE * len(prompts), INSTRUCTION_LEAST - 1)
    return {prompt for prompt, count in Counter(prompts).items() if count > least}


def prompt_clusters(prompts: Sequence[str]) -> np.ndarray:
    """Cluster of each example of a split: that of the first one with its prompt, int64 (n,).

    Examples that share an instruction are clusters of their own.

    Args:
        prompts: of every example of the split, in file order.
    """
    shared = instructions(prompts)
    first: dict[str, int] = {}
    return np.array(
        [n if prompt in shared else first.setdefault(prompt, n) for n, prompt in enumerate(prompts)], np.int64
    )
