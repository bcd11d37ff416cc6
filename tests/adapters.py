"""Small adapters of PEFT on the small models, as their authors would save them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("LoraConfig", {"r": 4, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj", "down_proj"]}),
    "rslora": ("LoraConfig", {"r": 4, "use_rslora": True}),
    "dora": ("LoraConfig", {"r": 4, "use_dora": True}),
    "ia3": ("IA3Config", {}),
    "loha": ("LoHaConfig", {"r": 4, "target_modules": ["q_proj", "v_proj"]}),
    "lokr": ("LoKrConfig", {"r": 4, "target_modules": ["q_proj", "v_proj"]}),
    "oft": ("OFTConfig", {"oft_block_size": 8, "target_modules": ["q_proj", "v_proj"]}),
    "hra": ("HRAConfig", {"r": 4, "target_modules": ["q_proj", "v_proj"]}),
    "vera": ("VeraConfig", {"r": 4, "target_modules": ["q_proj"]}),
    "ln_tuning": ("LNTuningConfig", {"target_modules": ["input_layernorm"]}),
    "miss": ("MissConfig", {"r": 4, "target_modules": ["q_proj", "v_proj"]}),
    "prompt_tuning": ("PromptTuningConfig", {"num_virtual_tokens": 5}),
    "p_tuning": ("PromptEncoderConfig", {"num_virtual_tokens": 5, "encoder_hidden_size": 16}),
}
"""Configuration class of PEFT and its arguments."""
VIRTUAL = ("prompt_tuning", "p_tuning")


def save_adapter(folder: Path, base: Path, kind: str, task: str = "CAUSAL_LM", **further: Any) -> Path:
    """Write an adapter whose weights, and head where it has one, are drawn as if it were trained; seeded."""
    import peft
    import torch

    torch.manual_seed(1)
    name, arguments = KINDS[kind]
    config = getattr(peft, name)(task_type=task, **{**arguments, **further})
    model = peft.get_peft_model(load_base(base, task), config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


def load_base(base: Path, task: str) -> Any:
    """The base in float32 as a causal language model, or as a sequence classifier with one output."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    if task == "CAUSAL_LM":
        return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    return AutoModelForSequenceClassification.from_pretrained(base, dtype=torch.float32, num_labels=1).eval()


def load_unmerged(folder: Path, base: Path, task: str) -> Any:
    """The adapter on its base as PEFT itself loads it, nothing merged."""
    from peft import PeftModel

    return PeftModel.from_pretrained(load_base(base, task), folder).eval()
