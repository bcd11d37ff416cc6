"""Finished reward models: which of a classifier's outputs is the reward, and what such a model must not need."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from genies.engine.arithmetic import DTYPES, announce, arithmetic, resolve_device
from genies.engine.base_model import HEAD
from genies.engine.classifier import RewardReader, load_classifier
from genies.engine.virtual import read_virtual
from genies.errors import ConfigError, ModelError
from genies.models.files import read_object
from genies.models.find import WEIGHTS
from genies.models.load import refuse_lacking

LISTED = 20
"""Labels of a model that an error lists."""
Output = int | str | Sequence[float] | Mapping[str, float]
"""What the reward is of several outputs: one of them by index or label, or weights in their order or by label."""


def finished_reader(
    folder: Path, dtype: str, device: str, attention: str, output: Output | None = None
) -> RewardReader:
    """A finished reward model: any sequence classifier.

    Args:
        folder: the model's folder.
        dtype: as ``new_reader`` takes it.
        device: torch device, or ``auto``.
        attention: attention implementation of transformers.
        output: what the reward is; None where the model has one output.

    Raises:
        ModelError: no sequence classifier; one whose head or other weights are missing, or that needs code of its own;
            an encoder with virtual tokens; or one with several outputs, of which ``output`` does not say which is the
            reward.
        ConfigError: the model has no such output.
    """
    refuse_own_code(folder, "AutoModelForSequenceClassification")
    place = resolve_device(device)
    announce(dtype, place)
    compute = DTYPES[arithmetic(dtype, place)]
    model, missing = load_classifier(folder, compute, place, attention, outputs=_stored_outputs(folder))
    refuse_lacking(folder, missing, "give a finished reward model, or read a language model with format: judge")
    labels = [str(model.config.id2label.get(index, index)) for index in range(model.config.num_labels)]
    reader = RewardReader(model.requires_grad_(False), compute, virtual=read_virtual(folder, place))
    if reader.virtual_tokens and not reader.is_decoder:
        raise ModelError(
            f"{folder}: virtual tokens (prompt tuning) are read before the texts of decoders alone; give another "
            "adapter of this encoder, such as LoRA"
        )
    weights = output_weights(folder, labels, output)
    if weights != [1.0]:
        reader.output_weights = torch.tensor(weights, dtype=torch.float32, device=reader.device)
    if reader.is_decoder:
        getattr(model, HEAD).float()
    return reader


def refuse_own_code(folder: Path, kind: str) -> None:
    """Raise ModelError where a model is a class of Python code that comes with it, which is never run.

    Args:
        folder: the model's.
        kind: the auto class of transformers that would load it.
    """
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config = read_object(folder / "config.json")
    code = config.get("auto_map")
    code = code if isinstance(code, dict) else {}
    wanted = [code.get(kind), None if config.get("model_type") in CONFIG_MAPPING else code.get("AutoConfig")]
    for name in wanted:
        module, _, cls = str(name or "").rpartition(".")
        if module and not hasattr(transformers, cls):
            raise ModelError(
                f"{folder / module.rpartition('--')[2]}.py: code of the model's own, which its config.json asks for "
                "and genies never runs (trust_remote_code); give a model of a class that transformers has"
            )


def output_weights(folder: Path, labels: Sequence[str], output: Output | None) -> list[float]:
    """What each output of a classifier counts for in the reward.

    Args:
        folder: the model's, for errors.
        labels: of its outputs, in their order.
        output: as ``finished_reader`` takes it.

    Raises:
        ModelError: there are several, and none is named.
        ConfigError: there is no such output, or not a weight for each.
    """
    listed = ", ".join(f"{index}: {label}" for index, label in enumerate(labels[:LISTED]))
    listed += ", …" if len(labels) > LISTED else ""
    if output is None:
        if len(labels) > 1:
            raise ModelError(
                f"{folder / 'config.json'}: the model has {len(labels)} outputs ({listed}); say which is the reward: "
                "parameter output, with an index, a label, or weights by label, which may be negative"
            )
        return [1.0]
    wrong = f"parameter output: {json.dumps(output)} does not fit the outputs of {folder} ({listed}); give"
    if isinstance(output, int):
        if output >= len(labels):
            raise ConfigError(f"{wrong} an index among these")
        return [float(index == output) for index in range(len(labels))]
    if isinstance(output, str | Mapping):
        weights = {output: 1.0} if isinstance(output, str) else output
        if any(labels.count(label) != 1 for label in weights):
            raise ConfigError(f"{wrong} labels among these, or an index")
        return [float(weights.get(label, 0)) for label in labels]
    if len(output) != len(labels):
        raise ConfigError(f"{wrong} a weight for each")
    return [float(weight) for weight in output]


def _stored_outputs(folder: Path) -> int | None:
    """Outputs of a decoder's head as its weights have them, where ``config.json`` does not say; else None."""
    from safetensors import SafetensorError, safe_open

    if {"id2label", "num_labels"} & read_object(folder / "config.json").keys():
        return None
    for file in sorted(folder.glob(WEIGHTS)):
        try:
            with safe_open(file, "pt") as weights:
                if (name := f"{HEAD}.weight") in weights.keys():  # noqa: SIM118  (no mapping)
                    return int(weights.get_slice(name).get_shape()[0])
        except (SafetensorError, OSError):
            return None  # whoever loads it says what is wrong
    return None
