"""Checkpoints of a training: one safetensors file, whole or absent, with the optimizer's state and the log so far."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from genies.files import whole_file

FORMAT = 1
"""Version of the file; others are not continued from."""
_KEY = "checkpoint"

log = logging.getLogger(__name__)


def save_checkpoint(
    path: Path,
    weights: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    record: Mapping[str, Any],
    digest: str,
) -> None:
    """Write a checkpoint.

    Args:
        path: the file.
        weights: what is trained, by name, in the order in which the optimizer has it.
        optimizer: its moments and step counts are kept.
        record: JSON values.
        digest: of everything that decides the training; a checkpoint of another one is not continued from.
    """
    from safetensors.torch import save_file

    tensors = {f"weights/{name}": weight.detach() for name, weight in weights.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": tensor for name, tensor in moments.items()}
    text = json.dumps({"format": FORMAT, "digest": digest, "record": record}, allow_nan=False)
    with whole_file(path) as partial:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial, {_KEY: text})


def load_checkpoint(
    path: Path, weights: Mapping[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer, digest: str
) -> dict[str, Any] | None:
    """Restore weights and optimizer. Returns the record; None where there is no checkpoint of this training."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            if state.get("format") != FORMAT or state.get("digest") != digest:
                log.warning("%s: checkpoint of another training, not continued from", path)
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except SafetensorError as error:
        log.warning("%s: damaged checkpoint (%s), not continued from", path, error)
        return None
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition("/")
        if kind == "optimizer":
            index, _, moment = rest.partition("/")
            moments.setdefault(int(index), {})[moment] = tensor
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(tensors[f"weights/{name}"])
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return state["record"]
