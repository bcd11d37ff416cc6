"""Models in GGUF files: converted once into a folder in the cache that loads fast and needs no package ``gguf``.

A conversion is named by a digest of the file's bytes, of the versions of what reads them, and of the dtype.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genies.digests import computed_by, value_digest
from genies.errors import ModelError, readable
from genies.models import conversions, trial

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

SUFFIX = ".gguf"
MAGIC = b"GGUF"
FORMAT = 1
DTYPE = "float32"
"""Type of the converted weights. Quantized ones are unpacked into it without loss."""

READ_WITH_SCALING = frozenset({"gpt-oss"})
"""Architectures of which transformers reads how rotary positions are scaled."""

log = logging.getLogger(__name__)


def is_gguf(identifier: str | Path) -> bool:
    """Whether an identifier or a path names a GGUF file; nothing is read."""
    return str(identifier).lower().endswith(SUFFIX)


def plain_stem(identifier: str) -> str:
    """The file's name without its suffix, with ``-`` for what a plain name cannot have."""
    return re.sub(r"[^\w.-]+", "-", Path(identifier).name[: -len(SUFFIX)]).lstrip(".-")


def check_file(path: Path) -> Path:
    """The path, if a GGUF file begins there. Reads its first bytes only.

    Raises:
        ModelError: there is no file, or none in this format.
    """
    if path.is_dir():
        raise ModelError(f"{path}: a folder, not a GGUF file; name the file in it, or the folder without {SUFFIX}")
    if not path.is_file():
        raise ModelError(
            f"{path}: model file not found; give an existing one, or one of the hub as owner/name/file{SUFFIX}"
        )
    with readable(path, "cannot be read"), path.open("rb") as stream:
        magic = stream.read(len(MAGIC))
    if magic != MAGIC:
        what = "begins with other bytes" if magic else "is empty"
        raise ModelError(f"{path}: no GGUF file (it {what}); download it again")
    return path


def converted_folder(file: Path, sha256: str, root: Path) -> Path:
    """The folder with the converted model, which is made if it is not there. Only one process makes it.

    Where it is whole, neither torch nor transformers nor ``gguf`` is imported.

    Args:
        file: the GGUF file.
        sha256: of the file.
        root: folder of all conversions.

    Raises:
        ModelError: transformers cannot load the file, or not all of it; or the package ``gguf`` is missing.
        DiskError: the disk is full.
    """
    name = plain_stem(file.name)
    return conversions.converted_folder(root, _fields(file, sha256), name, file, lambda: _loaded(file))


def conversion_digest(file: Path, sha256: str) -> str:
    """Name of a file's conversion, which may not be there; arguments as ``converted_folder``."""
    return value_digest(_fields(file, sha256))


def find_converted(file: Path, sha256: str, root: Path) -> Path | None:
    """The folder with the converted model, if it is there and whole; arguments as ``converted_folder``."""
    return conversions.find_converted(root, _fields(file, sha256))


def load_config(file: Path) -> PretrainedConfig:
    """The model's configuration, from the file's metadata.

    Raises:
        ModelError: transformers knows no such architecture.
    """
    from transformers import AutoConfig

    with _alone(file) as source:
        return AutoConfig.from_pretrained(**source)


def load_tokenizer(file: Path) -> PreTrainedTokenizerBase:
    """The model's tokenizer, from the file's metadata.

    Raises:
        ModelError: transformers knows no such tokenizer.
    """
    from transformers import AutoTokenizer

    with _alone(file) as source:
        return AutoTokenizer.from_pretrained(**source)


def _fields(file: Path, sha256: str) -> dict[str, Any]:
    """What decides a conversion's bytes."""
    try:
        versions = {name: version(name) for name in ("transformers", "gguf")}
    except PackageNotFoundError as error:
        raise ModelError(f"{file}: a GGUF file, which needs a package; pip install {error.name}") from None
    code = computed_by(__name__)["code"]
    return {"format": FORMAT, "sha256": sha256, "dtype": DTYPE, "code": code, **versions}


def _loaded(file: Path) -> Callable[[Path], None]:
    """Load model and tokenizer. Returns what writes them into a folder."""
    log.info("%s: converting to safetensors, once", file)
    try_metadata(file)
    values = _check_content(file)
    config, tokenizer = load_config(file), load_tokenizer(file)
    model = _load_model(file, config)
    _refuse_unused(file, model, values)

    def write(folder: Path) -> None:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return write


def try_metadata(file: Path) -> None:
    """Read a file's metadata within the limits of a trial; its tokenizer, once loaded, is tried by itself.

    Raises:
        ModelError: they cannot be read so.
    """
    trial.limited(lambda: _check_content(file), f"{file}: its metadata", mapped=2 * file.stat().st_size)


@contextmanager
def _alone(file: Path) -> Iterator[dict[str, Any]]:
    """Arguments of ``from_pretrained`` for the file; what it raises comes out as a ModelError.

    Transformers would also read configurations, adapters and tokenizer files that lie in the same folder. So the file
    is linked into an empty one, and its bytes alone decide what is loaded.
    """
    problem = (
        f"transformers {version('transformers')} cannot load it; give a GGUF file of a causal language model that it "
        "knows, or the model's folder with safetensors"
    )
    with readable(file, problem), tempfile.TemporaryDirectory(prefix="genies-") as folder:
        link = Path(folder) / f"model{SUFFIX}"
        link.symlink_to(file.resolve())
        yield {
            "pretrained_model_name_or_path": folder,
            "gguf_file": link.name,
            "trust_remote_code": False,
            "local_files_only": True,
        }


def _check_content(file: Path) -> dict[str, int]:
    """How many values each tensor of the file has.

    Raises:
        ModelError: the file is cut short or a part of a model, or it scales positions, which transformers would ignore.
    """
    from gguf import GGUFReader

    with readable(file, "no whole GGUF file; download it again"):
        reader = GGUFReader(file)
        fields = {name: reader.fields[name].contents() for name in reader.fields if not name.startswith("tokenizer.")}
        tensors = {tensor.name: int(tensor.n_elements) for tensor in reader.tensors}
    if (blocks := fields.get(f"{fields.get('general.architecture')}.block_count", 0)) > len(tensors):
        raise ModelError(f"{file}: states {blocks} blocks, but holds {len(tensors)} tensors; download it again")
    if (parts := fields.get("split.count", 1)) > 1:
        raise ModelError(f"{file}: one of {parts} parts of a model; merge them first (llama-gguf-split --merge)")
    if _scales_positions(fields, tensors):
        raise ModelError(
            f"{file}: scales its rotary positions, which transformers does not read from GGUF files; give the model's "
            "folder with safetensors"
        )
    return tensors


def _scales_positions(fields: Mapping[str, Any], tensors: Collection[str]) -> bool:
    architecture = fields.get("general.architecture")
    if architecture in READ_WITH_SCALING:
        return False
    scaling = f"{architecture}.rope.scaling."
    stated = any(name.startswith(scaling) for name in fields) and fields.get(f"{scaling}type") != "none"
    return stated or any(name.startswith(("rope_freqs", "rope_factors")) for name in tensors)


def _load_model(file: Path, config: PretrainedConfig) -> PreTrainedModel:
    """The model with unpacked weights, all of which the file has."""
    import torch
    import transformers

    # Where transformers can compute with packed weights, it has to be asked to unpack them.
    options = getattr(transformers, "GgufConfig", None)
    unpacked = {"quantization_config": options(dequantize=True)} if options else {}
    kind: Any = transformers.AutoModelForCausalLM  # its annotation does not know of output_loading_info
    with _alone(file) as source:
        model, report = kind.from_pretrained(
            **source, config=config, dtype=getattr(torch, DTYPE), output_loading_info=True, **unpacked
        )
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"{file}: its weights lack {', '.join(missing[:3])} ({len(missing)} in all); give a whole causal language "
            "model"
        )
    return model


def _refuse_unused(file: Path, model: PreTrainedModel, values: Mapping[str, int]) -> None:
    """Raise ModelError where transformers dropped some of the file's weights, such as biases, without a word.

    It may drop the output head where it is tied, and blocks after the last one, which predict further tokens.
    """
    loaded = sum({weight.data_ptr(): weight.numel() for weight in model.state_dict().values()}.values())
    config = model.config.get_text_config()
    wanted = sum(
        count
        for name, count in values.items()
        if not (name == "output.weight" and config.tie_word_embeddings)
        and not ((block := re.match(r"blk\.(\d+)\.", name)) and int(block[1]) >= config.num_hidden_layers)
    )
    if loaded != wanted:
        raise ModelError(
            f"{file}: transformers would load {loaded} of its {wanted} weights as {type(model).__name__}; give the "
            "model's folder with safetensors"
        )
