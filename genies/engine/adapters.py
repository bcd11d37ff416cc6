"""Adapters of PEFT on a loaded model."""

from __future__ import annotations

import copy
import dataclasses
import logging
import warnings
from typing import TYPE_CHECKING

from genies.errors import ConfigError

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)


def adapt(model: PreTrainedModel, adapter: PeftConfig) -> PeftModel:
    """The model with an adapter; where PEFT has no default layers for the architecture, on every linear layer."""
    attempts = [adapter]
    if getattr(adapter, "target_modules", "none are asked for") is None:
        # The base class lacks the field.
        attempts.append(dataclasses.replace(adapter, target_modules="all-linear"))  # type: ignore[call-arg]
    for attempt in attempts:
        try:
            adapted = _peft_model(model, attempt)
        except ValueError as error:
            reason = str(error).strip().splitlines()[0]
            continue
        if attempt is not adapter:
            log.info("%s: PEFT has no default layers for it; every linear layer gets an adapter", type(model).__name__)
        return adapted
    raise ConfigError(f"{type(model).__name__}: PEFT cannot adapt it ({reason}); set other parameters")


def _peft_model(model: PreTrainedModel, adapter: PeftConfig) -> PeftModel:
    from peft import get_peft_model

    with warnings.catch_warnings():
        # PEFT asks transformers for an attribute's old name, and mends a setting for GPT-2's transposed layers.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", "fan_in_fan_out", UserWarning)
        return get_peft_model(model, copy.deepcopy(adapter)).eval()
