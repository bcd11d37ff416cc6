"""Merging of an adapter into its base, in float32, by PEFT's own loader; virtual tokens stay apart.

Embeddings of virtual tokens (prompt tuning) cannot be merged into weights. They lie in a file next to the model's, and
are read before every text (``genies.engine.virtual``).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genies.errors import ModelError, readable
from genies.models.files import ADAPTER, ADAPTER_WEIGHTS, read_object, tokenizer_files
from genies.models.load import load_tokenizer, load_weights, quiet, refuse_lacking, try_tokenizer

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

Form = Literal["language model", "reward model"]
"""What an adapter on its base is to be."""
DTYPE = "float32"
"""Type of the merged weights, as of those that adapters are trained in."""
MERGED = frozenset({"LORA", "ADALORA", "IA3", "LOHA", "LOKR", "OFT", "VERA", "HRA", "LN_TUNING", "MISS"})
"""Kinds of adapters that PEFT merges into the base's weights; DoRA and rsLoRA are LORA."""
VIRTUAL = frozenset({"PROMPT_TUNING", "P_TUNING"})
"""Kinds of which virtual tokens before each text are all that remains after training."""
OUTSIDE = {
    "alora_invocation_tokens": "acts only after certain tokens, so that it is no model of its own",
    "megatron_config": "belongs to layers of Megatron",
}
"""Settings of an adapter's configuration with which merging would not give the adapter's model, and why."""
VIRTUAL_FILE = "virtual_tokens.safetensors"
VIRTUAL_TOKENS = "embeddings"
"""The tensor in it, float32 (tokens, hidden)."""
PROMPT = "prompt_embeddings"
"""The same tensor in PEFT's file."""
HEADS = ("score", "classifier")
"""Names under which PEFT keeps the heads of classifiers."""
AGREEMENT = 1e-3
"""Largest difference between the results of merged and unmerged weights on some tokens, relative to their deviation."""


log = logging.getLogger(__name__)


REMEDIES: dict[Form, str] = {
    "language model": "give an adapter on a whole causal language model",
    "reward model": "a reward head that no file holds would be random; save the adapter with modules_to_save: "
    '["score"], or use it as a language model',
}


def load_merged(folder: Path, base: Path, form: Form, remembered: Path) -> Callable[[Path], None]:
    """Load an adapter and its base, and merge them.

    Args:
        folder: the adapter's.
        base: the base's.
        form: what they are to be.
        remembered: as ``genies.models.load.try_tokenizer`` takes it.

    Returns:
        What writes the model, its tokenizer and its virtual tokens into a folder.

    Raises:
        ModelError: they cannot be read, do not belong together, or cannot be merged; or a reward model is asked for
            and neither has its head.
    """
    config = read_config(folder)
    if virtual_tokens(base):
        raise ModelError(f"{folder}: its base {base} has virtual tokens itself; give one that has none")
    log.info("%s: merging into %s, once", folder, base)
    source = folder if _has_tokenizer(folder) else base
    try_tokenizer(source, remembered)
    tokenizer = load_tokenizer(source)
    with quiet():
        model, missing = _load_base(folder, base, form)
    virtual = None
    if config["peft_type"] in VIRTUAL:
        virtual, given = _read_virtual(folder, config, model)
    else:
        model, given = _merge(folder, model, form)
    refuse_lacking(folder, [name for name in missing if name not in given], REMEDIES[form])
    _check_vocabulary(folder, base, len(tokenizer), model)
    _untie(model)

    def write(output: Path) -> None:
        from safetensors.torch import save_file

        model.save_pretrained(output)
        tokenizer.save_pretrained(output)
        if virtual is not None:
            save_file({VIRTUAL_TOKENS: virtual}, output / VIRTUAL_FILE)

    return write


def _check_vocabulary(folder: Path, base: Path, tokens: int, model: PreTrainedModel) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    if tokens > rows:
        raise ModelError(
            f"{folder}: its tokenizer has {tokens} tokens, and {base} embeddings for {rows}; merge it yourself, with "
            "its own embeddings, and give the folder of the result"
        )


def read_config(folder: Path) -> dict[str, Any]:
    """The content of an adapter's configuration.

    Raises:
        ModelError: it cannot be read, or is of a kind that cannot be used.
    """
    file = Path(folder) / ADAPTER
    config = read_object(file)
    kind = config.get("peft_type")
    if not isinstance(kind, str) or kind not in MERGED | VIRTUAL:
        raise ModelError(
            f"{file}: peft_type is {kind!r}, which is neither merged into a model nor read before its texts; there are "
            f"{', '.join(sorted(MERGED | VIRTUAL))}"
        )
    for key, why in OUTSIDE.items():
        if config.get(key):
            raise ModelError(f"{file}: {key} is set: it {why}; give another adapter")
    if kind in VIRTUAL and config.get("num_transformer_submodules") not in (None, 1):
        raise ModelError(f"{file}: has virtual tokens for an encoder and a decoder; give an adapter of a decoder")
    return config


def virtual_tokens(folder: Path) -> int:
    """How many virtual tokens a model's folder has for the start of each text; 0 where it has none."""
    from safetensors import safe_open

    file = Path(folder) / VIRTUAL_FILE
    if not file.is_file():
        return 0
    with readable(file, "cannot be read"), safe_open(file, framework="np") as opened:
        return opened.get_slice(VIRTUAL_TOKENS).get_shape()[0]


def _has_tokenizer(folder: Path) -> bool:
    return any(file.name in ("tokenizer.json", "tokenizer_config.json") for file in tokenizer_files(folder))


def _load_base(folder: Path, base: Path, form: Form) -> tuple[PreTrainedModel, frozenset[str]]:
    """The base in float32, and the names of its weights that its folder lacks."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    dtype = getattr(torch, DTYPE)
    if form == "language model":
        return load_weights(AutoModelForCausalLM, base, "a causal language model", dtype=dtype)
    outputs = _outputs(folder)
    options = {} if outputs is None else {"num_labels": outputs}
    return load_weights(AutoModelForSequenceClassification, base, "a sequence classifier", dtype=dtype, **options)


def _shapes(folder: Path) -> dict[str, list[int]]:
    """Shapes of an adapter's tensors by name."""
    from safetensors import safe_open

    file = Path(folder) / ADAPTER_WEIGHTS
    with readable(file, "cannot be read; download it again"), safe_open(file, framework="np") as opened:
        return {name: opened.get_slice(name).get_shape() for name in opened.keys()}  # noqa: SIM118  (no mapping)


def _outputs(folder: Path) -> int | None:
    """Outputs of the head that an adapter's file holds; None where it holds none."""
    heads = [shape for name, shape in _shapes(folder).items() if _is_head(name)]
    return min((shape[0] for shape in heads if len(shape) == 2), default=None)


def _is_head(name: str) -> bool:
    """Whether a tensor is of a classifier's head, which may have layers of its own."""
    *_, outer, inner, _ = ["", "", *name.split(".")]
    return inner in HEADS or (outer in HEADS and not inner.startswith("lora_"))


def _read_virtual(folder: Path, config: Mapping[str, Any], model: PreTrainedModel) -> tuple[torch.Tensor, set[str]]:
    """The embeddings of an adapter's virtual tokens; other weights in its file are put into the model.

    Returns:
        float32 (tokens, hidden), and the names of the weights that were put.
    """
    import torch
    from safetensors.torch import load_file

    file = folder / ADAPTER_WEIGHTS
    with readable(file, "cannot be read; download it again"):
        tensors = load_file(file)
    embeddings = tensors.pop(PROMPT, None)
    wanted = [config.get("num_virtual_tokens"), model.get_input_embeddings().weight.shape[1]]
    if embeddings is None or list(embeddings.shape) != wanted:
        found = "not there" if embeddings is None else f"{list(embeddings.shape)}, not {wanted}"
        raise ModelError(f"{file}: {PROMPT} is {found}; give adapter and base that belong together")
    own, given = dict(model.named_parameters()), set()
    for name, tensor in tensors.items():
        plain = name.removeprefix("base_model.")
        if plain not in own and _is_head(name):
            continue
        if plain not in own or own[plain].shape != tensor.shape:
            raise ModelError(f"{file}: the base has no weight {plain} of the shape {list(tensor.shape)}; {TOGETHER}")
        with torch.no_grad():
            own[plain].copy_(tensor)
        given.add(plain)
    return embeddings.float(), given


TOGETHER = "give adapter and base that belong together"


def _merge(folder: Path, model: PreTrainedModel, form: Form) -> tuple[PreTrainedModel, set[str]]:
    """The model with an adapter merged into its weights by PEFT, and the names of whole weights that the file holds.

    Raises:
        ModelError: PEFT cannot load it, some of its weights are missing or have no place, or merging changes results.
    """
    import torch

    tokens = torch.arange(1, 9)[None] % model.get_input_embeddings().weight.shape[0]
    with warnings.catch_warnings(), readable(folder, f"PEFT {version('peft')} cannot load it on its base"):
        warnings.simplefilter("ignore")
        adapted = _on_base(folder, model, form).eval()
        with torch.inference_mode():
            before = adapted(input_ids=tokens).logits
        merged = adapted.merge_and_unload()
        with torch.inference_mode():
            after = merged.eval()(input_ids=tokens).logits
    deviation = max(float(before.std(correction=0)), float(before.abs().max()), 1e-30)
    difference = float((after - before).abs().max()) / deviation
    if not difference <= AGREEMENT:
        raise ModelError(
            f"{folder}: merged into its base it computes something else (difference {difference:.2g}); give another "
            "adapter"
        )
    given = {name.removeprefix("base_model.model.") for name in _shapes(folder)}
    return merged.requires_grad_(False), given


def _on_base(folder: Path, model: PreTrainedModel, form: Form) -> PeftModel:
    from peft import PeftConfig, PeftModel

    config: Any = PeftConfig.from_pretrained(str(folder))
    has_head = form == "reward model" and any(map(_is_head, _shapes(folder)))
    # PEFT itself asks for a head of what it takes for a classifier.
    config.task_type = "SEQ_CLS" if has_head else "CAUSAL_LM" if form == "language model" else None
    if whole := getattr(config, "modules_to_save", None):
        config.modules_to_save = [name for name in whole if has_head or name.rpartition(".")[2] not in HEADS] or None
    adapted = PeftModel.from_pretrained(model, folder, config=config, torch_device="cpu")
    # What PEFT's loader only warns of, or keeps to itself, a second reading returns.
    mapping = getattr(model, "_checkpoint_conversion_mapping", {})
    report = adapted.load_adapter(str(folder), "default", torch_device="cpu", key_mapping=mapping)
    _refuse_odd(folder, report.missing_keys, "lacks", model)
    _refuse_odd(folder, [name for name in report.unexpected_keys if not _is_head(name)], "has no place for", model)
    return adapted


def _refuse_odd(folder: Path, names: Collection[str], what: str, model: PreTrainedModel) -> None:
    if names:
        file, first = folder / ADAPTER_WEIGHTS, ", ".join(sorted(names)[:2])
        who = f"{file} lacks" if what == "lacks" else f"{file}: {type(model).__name__} {what}"
        raise ModelError(f"{who} {first} ({len(names)} in all); {TOGETHER}")


def _untie(model: PreTrainedModel) -> None:
    """Let the configuration say so where an adapter gave input and output embeddings different weights."""
    config, head = model.config.get_text_config(), model.get_output_embeddings()
    if getattr(config, "tie_word_embeddings", False) and head is not None:
        tied = head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
        model.config.tie_word_embeddings = config.tie_word_embeddings = tied
