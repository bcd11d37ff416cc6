"""Virtual tokens: embeddings that a model reads before every text, as prompt tuning leaves them (arXiv 2104.08691)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from genies.errors import readable
from genies.models.merging import VIRTUAL_FILE, VIRTUAL_TOKENS


def read_virtual(folder: Path, device: torch.device) -> torch.Tensor | None:
    """The embeddings in a model's folder, float32 (tokens, hidden); None where it has none.

    Raises:
        ModelError: the file cannot be read.
    """
    from safetensors.torch import load_file

    file = Path(folder) / VIRTUAL_FILE
    if not file.is_file():
        return None
    with readable(file, "cannot be read"):
        return load_file(file)[VIRTUAL_TOKENS].to(device)


def embedded(
    embeddings: torch.nn.Module, tokens: torch.Tensor, virtual: Sequence[torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Arguments of a model for rows of tokens, (R, W), each after the same virtual tokens.

    Args:
        embeddings: the model's input embeddings.
        tokens: int64 (R, W).
        virtual: parts of what comes before each row, each (tokens, hidden); without any, the tokens alone are given.
    """
    if not virtual:
        return {"input_ids": tokens}
    own = embeddings(tokens)
    before = [part.to(own).expand(len(tokens), -1, -1) for part in virtual]
    return {"inputs_embeds": torch.cat([*before, own], dim=1)}


def shifted(position: torch.Tensor, end: torch.Tensor, virtual: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions and ends of packed rows, int64 (R, W), with virtual tokens at the start, which every tree sees.

    Returns:
        Both of (R, virtual + W).
    """
    if not virtual:
        return position, end
    rows, width = position.shape
    before = torch.arange(virtual, device=position.device).expand(rows, virtual)
    return (
        torch.cat([before, position + virtual], dim=1),
        torch.cat([torch.full_like(before, virtual + width), end + virtual], dim=1),
    )


def after_virtual(mask: torch.Tensor, virtual: int) -> torch.Tensor:
    """The attention mask of rows of one text each, (R, W), with virtual tokens in front of it."""
    return torch.cat([mask.new_ones(len(mask), virtual), mask], dim=1) if virtual else mask
