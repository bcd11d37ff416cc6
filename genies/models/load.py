"""Loading of weights and tokenizers: safetensors only, no remote code."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genies.digests import file_sha256
from genies.errors import ModelError, readable
from genies.models import gguf, trial
from genies.models.files import tokenizer_files
from genies.models.gguf import is_gguf

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


MOST_LAYERS = 10_000
"""More layers than any model has."""


def refuse_layers(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise ModelError where a configuration has more layers than any model, whose making would not end."""
    text = config.get("text_config")
    for key, value in (*config.items(), *(text.items() if isinstance(text, dict) else ())):
        if "layer" in key and isinstance(value, int) and value > MOST_LAYERS:
            raise ModelError(
                f"{folder / 'config.json'}: {key} is more than {MOST_LAYERS}, which no model has; correct it"
            )


def text_config(config: dict[str, Any]) -> dict[str, Any]:
    text = config.get("text_config") or config
    if not isinstance(text, dict):
        raise TypeError(f"text_config is {text!r}, not an object")
    return text


def context_of(config: dict[str, Any]) -> int | None:
    """Tokens that a model of this configuration can hold; None if it states no bound.

    Raises:
        TypeError: the bound is no whole number, or the part on texts no object.
    """
    text = text_config(config)
    key = next((key for key in ("max_position_embeddings", "n_positions", "max_seq_len") if text.get(key)), None)
    if key is not None and not (isinstance(text[key], int) and text[key] > 0):
        raise TypeError(f"{key} is {text[key]!r}, not a positive whole number")
    return None if key is None else text[key]


def load_weights(kind: Any, folder: Path, what: str, **options: Any) -> tuple[PreTrainedModel, frozenset[str]]:
    """Load a model from its folder; safetensors only, no remote code.

    Args:
        kind: one of the auto classes of transformers.
        folder: a folder in the format of ``save_pretrained``.
        what: the model that it is to be, for errors.
        **options: further arguments of ``from_pretrained``.

    Returns:
        The model, and the names of weights that the folder lacks and that are therefore random; tied ones are not.

    Raises:
        ModelError: transformers cannot load it, or its weights are of other sizes than that.
    """
    with readable(folder, f"cannot be loaded as {what}"):
        model, report = kind.from_pretrained(
            folder,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # the report names them, an error of transformers would not
            **options,
        )
    if sizes := sorted(report["mismatched_keys"]):
        name, stored, wanted = sizes[0]
        raise ModelError(
            f"{folder}: cannot be loaded as {what} ({name} is {list(stored)}, not {list(wanted)}; {len(sizes)} such "
            "weights); give configuration and weights that belong together"
        )
    return model, frozenset(report["missing_keys"])


def moved(model: PreTrainedModel, device: torch.device | None) -> PreTrainedModel:
    """The model on a device."""
    return model.to(device)


def refuse_lacking(folder: Path, missing: Collection[str], remedy: str) -> None:
    """Raise ModelError where weights are missing, which transformers would have drawn at random."""
    if missing:
        names = ", ".join(sorted(missing)[:3])
        raise ModelError(f"{folder}: its weights lack {names} ({len(missing)} in all); {remedy}")


def try_tokenizer(folder: Path, remembered: Path, keep: bool = True) -> None:
    """Try a folder's tokenizer and chat template in a child process, unless the same files passed before.

    Args:
        folder: the model's, or only a tokenizer's.
        remembered: as ``describe_model`` takes it; what passed is kept beside it.
        keep: whether to keep it.

    Raises:
        ModelError: the tokenizer cannot be loaded, or takes more time or memory than a trial has.
    """
    files = [folder / "config.json", *tokenizer_files(folder)]
    hashes = {file.name: file_sha256(file) for file in files if file.is_file()}
    trial.try_once(folder, hashes, remembered.parent / trial.FILE, keep, load_tokenizer)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model's folder or GGUF file; no remote code.

    Raises:
        ModelError: transformers cannot load it.
    """
    from transformers import AutoTokenizer

    if is_gguf(folder):
        return gguf.load_tokenizer(folder)
    with readable(folder, "its tokenizer cannot be loaded"):
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' table of missing weights: that the head is new is known, and all else is checked."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()
