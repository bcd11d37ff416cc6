"""Sequence classifiers: loading, adapters of PEFT, and the pass that reads rewards at last tokens.

Rewards are read from the backbone's last hidden state at a last token that the batch names, not by the classifier's own
forward pass: that one looks for the last token that is not padding, which fails where padding and EOS are one token.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from genies.engine.adapters import adapt
from genies.engine.arithmetic import DTYPES, announce, arithmetic, choose_kernels, resolve_device
from genies.engine.base_model import HEAD, Base, load_anew
from genies.engine.forest import PackedBatch
from genies.engine.masks import Mask, separate_inputs, tree_masks
from genies.engine.positions import announced, begin, of_one_length
from genies.engine.quantization import quantization_config
from genies.engine.scoring import Reading
from genies.engine.virtual import after_virtual, embedded, read_virtual, shifted
from genies.errors import ConfigError, ModelError, StoreError, first_line, readable
from genies.models.load import load_weights, moved, quiet, refuse_lacking

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)


def load_classifier(
    folder: Path,
    dtype: torch.dtype,
    device: torch.device,
    attention: str,
    quantization: str | None = None,
    outputs: int | None = 1,
) -> tuple[PreTrainedModel, frozenset[str]]:
    """Load a sequence classifier; safetensors only, no remote code.

    Args:
        folder: a folder in the format of ``save_pretrained``: of a classifier, or of a language model.
        dtype: type of the weights.
        device: where to put them.
        attention: attention implementation of transformers.
        quantization: ``nf4`` for 4-bit weights by bitsandbytes (QLoRA, arXiv 2305.14314), or None.
        outputs: how many it has; None: as its configuration says.

    Returns:
        The model, and the names of weights that the folder lacks and that are therefore random.

    Raises:
        ModelError: the folder holds no model that transformers can load as a sequence classifier.
        ConfigError: 4-bit weights without CUDA or without bitsandbytes.
    """
    from transformers import AutoModelForSequenceClassification

    options: dict[str, Any] = {} if outputs is None else {"num_labels": outputs}
    if quantization is not None:
        config = quantization_config(quantization, torch.bfloat16, device)
        options |= {"quantization_config": config, "device_map": {"": device}}
    with quiet():
        model, missing = load_weights(
            AutoModelForSequenceClassification,
            folder,
            "a sequence classifier",
            dtype=dtype,
            attn_implementation=None if attention == "auto" else attention,
            **options,
        )
    if quantization is None:
        with readable(folder, "cannot be moved to its device"):
            model = moved(model, device)
    return model.eval(), missing


class RewardReader:
    """A sequence classifier, maybe with an adapter, ready to read the rewards of batches of texts.

    Attributes:
        classifier: the model.
        adapted: its wrapper by PEFT, or None.
        dtype: type of the arithmetic up to the last hidden state; the head works in float32.
        virtual_tokens: how many embeddings come before each text: trained ones, and those of the model itself.
        output_weights: what each output counts for in the reward, float32 (outputs,); None: the first is the reward.
        alike_up_to: see ``genies.engine.positions``.
    """

    def __init__(
        self,
        classifier: PreTrainedModel,
        dtype: torch.dtype,
        adapted: PeftModel | None = None,
        virtual: torch.Tensor | None = None,
    ) -> None:
        """See the attributes; ``virtual`` are the embeddings of the model's own virtual tokens, (tokens, hidden)."""
        self.classifier = classifier
        self.adapted = adapted
        self.dtype = dtype
        self.output_weights: torch.Tensor | None = None
        self.device = next(classifier.parameters()).device
        self.alike_up_to = announced(classifier, classifier.config)
        choose_kernels(self.device)
        self._virtual = virtual
        self.virtual_tokens = 0 if virtual is None else len(virtual)
        self._trains_virtual = adapted is not None and adapted.active_peft_config.is_prompt_learning
        if adapted is not None and self._trains_virtual:
            self.virtual_tokens += adapted.active_peft_config.num_virtual_tokens

    @property
    def hidden(self) -> int:
        """Width of the residual stream."""
        return self.classifier.config.get_text_config().hidden_size

    @property
    def is_decoder(self) -> bool:
        """Whether the reward is a linear head's on the last token, as decoders have it; else rows cannot be packed."""
        return isinstance(getattr(self.classifier, HEAD, None), torch.nn.Module)

    def __call__(self, batch: PackedBatch, packed: bool) -> Reading:
        """Rewards of the batch's texts, float32, and last hidden states; see ``genies.engine.scoring.Read``.

        Raises:
            ValueError: packed texts of different lengths cannot be read together.
        """
        if packed:
            begin(self.classifier, self.alike_up_to, int(batch.position.max()) + 1 + self.virtual_tokens)
            return self._read(batch, packed=True)
        parts, readings = of_one_length(batch, self.alike_up_to, self.virtual_tokens), []
        for _, part in parts:
            begin(self.classifier, self.alike_up_to)
            readings.append(self._read(part, packed=False))
        return Reading.joined(readings, np.concatenate([rows for rows, _ in parts]))

    def _read(self, batch: PackedBatch, packed: bool) -> Reading:
        if not self.is_decoder:
            rewards = self.reward(self.classifier(**separate_inputs(batch, self.device)).logits)
            return Reading(rewards, rewards[:, None])
        inputs = self._tree_inputs(batch) if packed else self._separate_inputs(batch)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            hidden = self.classifier.base_model(**inputs, use_cache=False).last_hidden_state
        hidden = hidden[:, self.virtual_tokens :].reshape(-1, hidden.shape[-1])
        # In bfloat16 a reward would have 8 bits, and close responses would tie.
        states = hidden[torch.as_tensor(batch.last, device=self.device)].float()
        return Reading(self.reward(getattr(self.classifier, HEAD)(states)), states)

    def reward(self, outputs: torch.Tensor) -> torch.Tensor:
        """The reward that a classifier's outputs make, float32 (T,), of (T, outputs)."""
        return outputs[:, 0].float() if self.output_weights is None else outputs.float() @ self.output_weights

    def adapter_config(self) -> dict[str, Any] | None:
        """The content of PEFT's ``adapter_config.json`` (without the place of the base model); None without adapter."""
        if self.adapted is None:
            return None
        config = self.adapted.active_peft_config.to_dict() | {"base_model_name_or_path": None}
        return {name: _json_value(value) for name, value in config.items()}

    def save_memory(self) -> None:
        """Keep of each block its input alone, and compute the rest again where gradients pass back (checkpointing).

        Source: Chen et al., arXiv 1604.06174.

        Raises:
            ConfigError: transformers cannot do that for this architecture.
        """
        model: Any = self.classifier
        # Earlier versions of transformers have the second name alone, later ones warn of it.
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        try:
            enable({"use_reentrant": False})
        except ValueError as error:
            raise ConfigError(f"parameter gradient_checkpointing: {first_line(error)}; set it to false") from None

    def training(self, on: bool) -> None:
        """Turn dropout on or off."""
        (self.classifier if self.adapted is None else self.adapted).train(on)

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """What training changes, by name."""
        model = self.classifier if self.adapted is None else self.adapted
        return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}

    def state(self) -> dict[str, np.ndarray]:
        """What training changes, float32; an adapter's by the names of PEFT's ``adapter_model.safetensors``."""
        state = self.trainable()
        if self.adapted is not None:
            from peft import get_peft_model_state_dict

            state = get_peft_model_state_dict(self.adapted, save_embedding_layers=False)
        return {name: tensor.detach().float().cpu().numpy().copy() for name, tensor in state.items()}

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set what ``state`` gave.

        Raises:
            StoreError: the arrays are those of another model or adapter.
        """
        own = self.state()
        if {n: a.shape for n, a in own.items()} != {n: a.shape for n, a in arrays.items()}:
            raise StoreError(
                f"weights of {len(arrays)} tensors do not fit the {len(own)} trained ones of "
                f"{type(self.classifier).__name__}; fit again with this model"
            )
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
        if self.adapted is not None:
            from peft import set_peft_model_state_dict

            set_peft_model_state_dict(self.adapted, tensors)
            return
        with torch.no_grad():
            for name, parameter in self.trainable().items():
                parameter.copy_(tensors[name])

    def _tree_inputs(self, batch: PackedBatch) -> dict[str, Mask]:
        """Inputs of packed rows. Virtual tokens stand once, at the start of each row, and every tree sees them."""
        tokens, position, end = (
            torch.as_tensor(array, device=self.device) for array in (batch.tokens, batch.position, batch.end)
        )
        position, end = shifted(position, end, self.virtual_tokens)
        mask = tree_masks(self.classifier.config.get_text_config(), end, position, self.dtype)
        return {**self.inputs_of(tokens), "position_ids": position, "attention_mask": mask}

    def _separate_inputs(self, batch: PackedBatch) -> dict[str, Mask]:
        inputs = separate_inputs(batch, self.device)
        mask = after_virtual(inputs["attention_mask"], self.virtual_tokens)
        return {**self.inputs_of(inputs["input_ids"]), "attention_mask": mask}

    def inputs_of(self, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        """Arguments of the model for rows of tokens, int64 (R, W), each after the virtual tokens."""
        virtual = [] if self._virtual is None else [self._virtual]
        if self.adapted is not None and self._trains_virtual:
            virtual = [self.adapted.get_prompt(batch_size=1)[0], *virtual]
        return embedded(self.classifier.get_input_embeddings(), tokens, virtual)


def new_reader(
    folder: Path,
    adapter: PeftConfig | None,
    dtype: str,
    device: str,
    attention: str,
    seed: int,
    quantization: str | None,
    load_once: Callable[[Hashable, Callable[[], Base], Callable[[Base], bool]], Base] = load_anew,
) -> RewardReader:
    """A decoder with a new reward head and a new adapter, or with all its weights trainable.

    The head is normal with the deviation that the model's configuration gives new weights, and the adapter starts as
    PEFT starts it, both drawn by ``seed``. What is trained is float32.

    Args:
        folder: the model's folder.
        adapter: PEFT's configuration; None trains every weight.
        dtype: ``auto``, ``float32`` or ``bfloat16``: of frozen weights and of the arithmetic; see
            ``genies.engine.arithmetic.arithmetic``.
        device: torch device, or ``auto``.
        attention: attention implementation of transformers.
        seed: of the head and the adapter.
        quantization: as ``load_classifier`` takes it.
        load_once: ``TextIntervention.load_once`` of who shares the frozen model under an adapter with others; the bits
            are those of a model that is loaded anew. Where every weight is trained, the model is always loaded anew.

    Raises:
        ModelError: no decoder, or its weights do not fit its configuration.
        ConfigError: as ``load_classifier``; or PEFT cannot put the adapter on this model.
    """
    place = resolve_device(device)
    announce(dtype, place)
    compute = DTYPES[arithmetic(dtype, place)]
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        if adapter is None:
            model = _load_decoder(folder, torch.float32, place, attention, quantization, seed)
            return RewardReader(model.requires_grad_(True), compute, virtual=read_virtual(folder, place))
        key = ("base", str(folder), compute, place, attention, quantization, seed)
        base = load_once(
            key,
            lambda: Base.of(_load_decoder(folder, compute, place, attention, quantization, seed)),
            Base.is_untouched,
        )
        model = base.copy()
        adapted = adapt(model, adapter)
    reader = RewardReader(model, compute, adapted, read_virtual(folder, place))
    for parameter in reader.trainable().values():
        parameter.data = parameter.data.float()
    return reader


def _load_decoder(
    folder: Path, dtype: torch.dtype, device: torch.device, attention: str, quantization: str | None, seed: int
) -> PreTrainedModel:
    """A decoder as a sequence classifier, with a new head drawn by ``seed``."""
    torch.manual_seed(seed)
    model, missing = load_classifier(folder, dtype, device, attention, quantization)
    head = getattr(model, HEAD, None)
    if not isinstance(head, torch.nn.Linear):
        raise ModelError(f"{folder}: {type(model).__name__} has no head on its last token; use a decoder-only model")
    others = [name for name in missing if not name.startswith(f"{HEAD}.")]
    refuse_lacking(folder, others, "give a whole model")
    _draw_head(head, getattr(model.config.get_text_config(), "initializer_range", None) or 0.02, seed)
    return model


def _json_value(value: Any) -> Any:
    if isinstance(value, set):
        return sorted(value)
    return value.value if isinstance(value, Enum) else value


def _draw_head(head: torch.nn.Linear, deviation: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.weight.copy_(deviation * torch.randn(head.weight.shape, generator=generator))
        if head.bias is not None:
            head.bias.zero_()
