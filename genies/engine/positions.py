"""Rotary positions that depend on the longest text of a pass: models whose context was stretched so.

With dynamic NTK and LongRoPE, transformers takes the frequencies of all texts of a pass from its longest position: up
to a length they are always the same, and beyond it they are others. So texts beyond it are read with none of another
length, and are neither packed nor read after tokens that were passed before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from genies.engine.forest import PackedBatch

BY_LENGTH = ("dynamic", "longrope", "su")
"""What the types of such embeddings hold; the last is an old name of LongRoPE."""
LENGTHS = ("original_max_position_embeddings", "max_position_embeddings")
"""Where configurations state the length up to which they do not."""

log = logging.getLogger(__name__)


def alike_up_to(config: Any) -> int | None:
    """Length in tokens up to which the positions of a text do not depend on the rest of its pass; None: they never do.

    Args:
        config: a model's configuration.
    """
    text = config.get_text_config()
    stated = [getattr(text, name, None) for name in LENGTHS]
    limits = [
        length
        for part in _rotary(text.to_dict())
        if any(name in str(part.get("rope_type") or part.get("type")) for name in BY_LENGTH)
        for length in (part.get(LENGTHS[0]), *stated)
    ]
    return min((length for length in limits if isinstance(length, int)), default=0) if limits else None


def _rotary(value: Any, inside: bool = False) -> Iterator[Mapping[str, Any]]:
    """Every part of a configuration that is about rotary positions, such as those of each kind of layer."""
    if not isinstance(value, Mapping):
        return
    if inside and ("rope_type" in value or "type" in value):
        yield value
    for key, part in value.items():
        yield from _rotary(part, inside or str(key).startswith("rope"))


def announced(model: torch.nn.Module, config: Any) -> int | None:
    """What ``alike_up_to`` says; where there is a bound, a line of the log says what follows."""
    limit = alike_up_to(config)
    if limit is not None and next(model.parameters()).device.type != "meta":  # a sketch reads nothing
        log.info(
            "%s: beyond %d tokens its positions depend on the longest text of a pass; longer texts are read apart from "
            "those of other lengths", type(model).__name__, limit,
        )  # fmt: skip
    return limit


def begin(model: torch.nn.Module, limit: int | None, longest: int | None = None) -> None:
    """Prepare a pass: let a model forget the frequencies of longer texts that it read before.

    Args:
        model: the model.
        limit: as ``alike_up_to`` gives it.
        longest: positions of a pass over texts of any lengths; None where all are of one length.

    Raises:
        ValueError: such a pass is longer than the limit.
    """
    if limit is None:
        return
    if longest is not None and longest > limit:
        raise ValueError(f"beyond {limit} tokens positions depend on the longest text of a pass")
    for module in model.modules():
        original = getattr(module, "original_max_seq_len", None)
        for name, used in list(module.named_buffers(recurse=False)) if original is not None else ():
            kind = name.removesuffix("inv_freq")  # of the layers, where there are several
            kept = getattr(module, f"{kind}original_inv_freq", None)
            if name.endswith("inv_freq") and kept is not None:
                module.register_buffer(name, kept.to(used.device, copy=True), persistent=False)
                for length in ("max_seq_len_cached", f"{kind}max_seq_len_cached"):
                    setattr(module, length, original)


def of_one_length(batch: PackedBatch, limit: int | None, before: int = 0) -> list[tuple[np.ndarray, PackedBatch]]:
    """A batch whose rows hold one text each, in parts whose texts are embedded alike.

    Args:
        batch: the batch.
        limit: as ``alike_up_to`` gives it.
        before: tokens before every text.

    Returns:
        Rows and batch of each part; one part where there is no limit.
    """
    width = batch.tokens.shape[1]
    length = batch.last % width + 1
    if limit is None:
        return [(np.arange(len(length)), batch)]
    kind = np.where(length + before <= limit, 0, length)
    parts = [np.flatnonzero(kind == one) for one in np.unique(kind)]
    return [(rows, _part(batch, rows, int(length[rows].max()))) for rows in parts]


def _part(batch: PackedBatch, rows: np.ndarray, width: int) -> PackedBatch:
    full = batch.tokens.shape[1]
    place = np.full(len(batch.last), -1)
    place[rows] = np.arange(len(rows))
    scored = place[batch.score_text] >= 0
    text, column = place[batch.score_text[scored]], batch.score_node[scored] % full
    return replace(
        batch,
        tokens=batch.tokens[rows, :width],
        position=batch.position[rows, :width],
        end=batch.end[rows, :width],
        last=np.arange(len(rows)) * width + batch.last[rows] % full,
        score_text=text,
        score_node=text * width + column,
        score_token=batch.score_token[scored],
    )
