"""What a pass of a decoder gives, and what it can be given: keys and values of an earlier pass."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from transformers import Cache


@dataclass(frozen=True)
class Features:
    """What one pass gives for its T texts, in the order of the batch.

    Attributes:
        heads: inputs of attention output projections at the last token, (T, head layers, heads, head_dim); None where
            none are read.
        residual: inputs of blocks at the last token, and the state after the final norm, (T, layers, hidden).
        log_probability: natural logarithm, summed over the scored tokens, float64 (T,); 0 where none is scored.
        scored_tokens: number of tokens summed over, int64 (T,).
    """

    heads: torch.Tensor | None
    residual: torch.Tensor
    log_probability: torch.Tensor
    scored_tokens: torch.Tensor

    @classmethod
    def joined(cls, parts: Sequence[Features], texts: np.ndarray | None = None) -> Features:
        """Features of several passes as of one.

        Args:
            parts: the passes.
            texts: which text of the whole each of theirs is, int (T,); None: they are in order.
        """
        if len(parts) == 1:
            return parts[0]
        order = slice(None) if texts is None else torch.as_tensor(np.argsort(texts), device=parts[0].residual.device)
        heads = [part.heads for part in parts if part.heads is not None]
        return cls(
            torch.cat(heads)[order] if heads else None,
            torch.cat([part.residual for part in parts])[order],
            torch.cat([part.log_probability for part in parts])[order],
            torch.cat([part.scored_tokens for part in parts])[order],
        )


@dataclass(frozen=True)
class Past:
    """Keys and values of tokens that come before many texts.

    Attributes:
        cache: as transformers keeps them, of one row.
        length: how many tokens those are.
    """

    cache: Cache
    length: int

    def rows(self, count: int) -> Cache:
        """A copy for a pass over so many rows, which adds its own keys and values."""
        cache = copy.deepcopy(self.cache)
        cache.batch_repeat_interleave(count)
        return cache
