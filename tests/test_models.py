"""A model's manifest says what it is; what cannot be used is refused by name."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import save_reward_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from genies.engine.decoder import Decoder
from genies.errors import ConfigError, DiskError, ModelError, readable
from genies.models.describe import describe_model
from genies.models.files import INDEX, PinnedFiles, model_files, tokenizer_digest
from genies.models.find import is_local, model_name
from genies.models.load import load_tokenizer


def test_the_manifest_changes_with_the_weights_and_the_tokenizer_apart(
    model_folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(model_folders["llama"], tmp_path / "copy")
    first = describe_model(str(folder), None, tmp_path / "sha256.json")
    assert first["name"] == "copy"
    assert first["eos_token"] == 2
    assert first["context"] == 512

    tokenizer = folder / "tokenizer_config.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    second = describe_model(str(folder), None, tmp_path / "sha256.json")
    assert second["weights_digest"] == first["weights_digest"]
    assert second["tokenizer_digest"] != first["tokenizer_digest"]

    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    third = describe_model(str(folder), None, tmp_path / "sha256.json")
    assert third["weights_digest"] != second["weights_digest"]
    assert third["tokenizer_digest"] == second["tokenizer_digest"]


def same_time(file: Path, other: bytes) -> None:
    """Replace a file's bytes by as many others, without a trace in its time."""
    before = file.stat()
    file.write_bytes(other)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap_by_link(file: Path, other: bytes) -> None:
    """Replace a file by a link to an older one with other bytes."""
    elsewhere = file.with_suffix(".elsewhere")
    elsewhere.write_bytes(other)
    os.utime(elsewhere, (1e9, 1e9))
    file.unlink()
    file.symlink_to(elsewhere)


@pytest.mark.parametrize("swap", [same_time, swap_by_link])
def test_files_that_were_swapped_are_hashed_anew_and_no_longer_those_of_the_manifest(
    swap: Callable[[Path, bytes], None], model_folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(model_folders["llama"], tmp_path / "copy")
    first = describe_model(str(folder), None, tmp_path / "sha256.json")
    files, late = PinnedFiles.of(first), PinnedFiles.of(first)
    files.check()
    weights = folder / "model.safetensors"
    swap(weights, weights.read_bytes()[:-4] + b"\0\0\0\1")
    for pinned in (files, late):
        with pytest.raises(ModelError, match=r"model.safetensors: has changed since .* run snakemake again"):
            pinned.check()
    second = describe_model(str(folder), None, tmp_path / "sha256.json")
    assert second["weights_digest"] != first["weights_digest"]
    PinnedFiles.of(second).check()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "no config.json"),
        ("model.safetensors", "pickle weights are never loaded"),
        ("tokenizer*", "tokenizer"),
    ],
)
def test_an_incomplete_folder_is_refused(
    missing: str, message: str, model_folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(model_folders["llama"], tmp_path / "copy")
    for file in folder.glob(missing):
        file.unlink()
    with pytest.raises(ModelError, match=message):
        model_files(folder)


def test_weights_of_which_a_part_is_missing_are_refused(model_folders: dict[str, Path], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = shutil.copytree(model_folders["llama"], tmp_path / "parts")
    (folder / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(model_folders["llama"]).save_pretrained(folder, max_shard_size="30KB")
    parts = sorted(folder.glob("model-*.safetensors"))
    assert len(parts) > 2 and set(parts) <= set(model_files(folder))
    parts[1].unlink()
    with pytest.raises(
        ModelError, match=f"{parts[1].name}: missing.*model.safetensors.index.json.*complete the folder"
    ):
        model_files(folder)


def test_a_chat_template_beside_the_tokenizer_is_a_part_of_it(model_folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(model_folders["llama"], tmp_path / "copy")
    before = tokenizer_digest(folder)
    assert before == describe_model(str(folder), None, tmp_path / "sha256.json")["tokenizer_digest"]
    tokenizer = load_tokenizer(folder)
    tokenizer.chat_template = "{{ messages[0].content }}"
    tokenizer.save_pretrained(folder)
    assert folder / "chat_template.jinja" in model_files(folder)
    assert tokenizer_digest(folder) != before


@pytest.mark.parametrize("name", ["spiece.model", "sentencepiece.bpe.model", "spm.model", "tekken.json", "bpe.codes"])
def test_every_kind_of_tokenizer_file_decides_its_digest(
    name: str, model_folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(model_folders["llama"], tmp_path / "copy")
    before = tokenizer_digest(folder)
    (folder / name).write_text("another vocabulary")
    assert tokenizer_digest(folder) != before


def test_an_adapter_beside_the_weights_is_refused(model_folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(model_folders["llama"], tmp_path / "copy")
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"adapter_config.json: an adapter, which would change the weights in model"):
        model_files(folder)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not found"):
        model_files(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("identifier", "local"),
    [("EleutherAI/pythia-410m", False), ("gpt2", False), ("/models/llama-7b", True), ("./here", True), ("a/b/c", True)],
)
def test_hub_ids_and_folders_are_told_apart(identifier: str, local: bool) -> None:
    assert is_local(identifier) is local
    assert "/" not in model_name(identifier)


def test_code_in_a_model_folder_is_never_run(model_folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(model_folders["llama"], tmp_path / "copy")
    for name in ("config.json", "tokenizer_config.json"):
        settings = json.loads((folder / name).read_text())
        settings |= {"model_type": "unheard_of", "auto_map": {
            "AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model", "AutoTokenizer": ["own.T", "own.T"],
        }}  # fmt: skip
        (folder / name).write_text(json.dumps(settings))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: ...\n")
    for use in (lambda: describe_model(str(folder), None, tmp_path / "h"), lambda: load_tokenizer(folder),
                lambda: Decoder.load(folder, "float32", "cpu", "sdpa")):  # fmt: skip
        with contextlib.suppress(ModelError):
            use()
    assert not (tmp_path / "ran").exists()
    with pytest.raises(ModelError, match="cannot be loaded"):
        Decoder.load(folder, "float32", "cpu", "sdpa")


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    weights = folder / "model.safetensors"
    save_file(change(load_file(weights)), weights, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {n: t for n, t in w.items() if "layers.1.mlp.up_proj" not in n},
         r"lack model.layers.1.mlp.up_proj.weight \(1 in all\); give a whole causal language model"),
        (lambda w: {n: t for n, t in w.items() if n != "lm_head.weight"}, "lack lm_head.weight"),
        (lambda w: w | {"model.norm.weight": torch.ones(7)}, r"model.norm.weight is \[7\], not \[32\]"),
    ],
)  # fmt: skip
def test_weights_that_are_not_all_there_are_refused(
    change: Callable, message: str, model_folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(model_folders["llama"], tmp_path / "copy")
    change_weights(folder, change)
    with pytest.raises(ModelError, match=f"{folder}: .*{message}"):
        Decoder.load(folder, "float32", "cpu", "sdpa")


def test_a_classifier_is_no_language_model(tmp_path: Path) -> None:
    folder = save_reward_model(tmp_path / "classifier")
    with pytest.raises(ModelError, match="lack lm_head.weight .*give a whole causal language model"):
        Decoder.load(folder, "float32", "cpu", "sdpa")


def test_an_output_head_that_is_tied_is_no_missing_weight(model_folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(model_folders["llama"], tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    change_weights(folder, lambda w: {n: t for n, t in w.items() if n != "lm_head.weight"})
    decoder = Decoder.load(folder, "float32", "cpu", "sdpa")
    assert decoder.output_head.weight is decoder.model.get_input_embeddings().weight


def use(folder: Path, remembered: Path) -> None:
    described = describe_model(str(folder), None, remembered)
    Decoder.load(folder, "float32", "cpu", described["attention"])


def configured(**fields: object) -> Callable[[Path], None]:
    return lambda folder: write_fields(folder / "config.json", fields)


def write_fields(file: Path, fields: dict[str, object]) -> None:
    file.write_text(json.dumps((json.loads(file.read_text()) if file.exists() else {}) | fields))


def cut(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


@pytest.mark.parametrize(
    "breaking",
    [
        cut,
        lambda folder: (folder / "model.safetensors").write_bytes(b""),
        lambda folder: (folder / "model.safetensors").write_bytes((50).to_bytes(8, "little") + b"[" * 50),
        lambda folder: (folder / "config.json").write_text("[" * 100_000),
        lambda folder: (folder / "config.json").write_bytes(b"{\xff}"),
        lambda folder: (folder / "config.json").write_text('{"model_type": "llama", "a": ' + '{"a":' * 50_000),
        lambda folder: (folder / "tokenizer.json").write_text("[" * 100_000),
        lambda folder: write_fields(folder / "tokenizer_config.json", {"tokenizer_class": ["x"]}),
        configured(text_config="x"),
        configured(model_type=["llama"]),
        configured(model_type=None),
        configured(architectures=7, model_type="bert"),
        configured(max_position_embeddings="many"),
        configured(max_position_embeddings=[512]),
        configured(num_attention_heads=5),
        configured(num_attention_heads=0),
        configured(num_attention_heads="4"),
        configured(num_hidden_layers="3"),
        configured(num_hidden_layers=2.5),
        configured(hidden_size=None),
        configured(hidden_act="unheard of"),
        configured(rope_parameters="x"),
        configured(vocab_size=-1),
        lambda folder: write_fields(folder / INDEX, {"weight_map": ["model.safetensors"]}),
        lambda folder: write_fields(folder / INDEX, {"weight_map": {"a": 5, "b": "x"}}),
        lambda folder: write_fields(folder / INDEX, {"weight_map": {"a": "../../x.safetensors"}}),
        lambda folder: write_fields(folder / INDEX, {"weight_map": {"a": "config.json"}}),
    ],
)  # fmt: skip
def test_a_broken_folder_is_named_in_one_line(
    breaking: Callable, model_folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(model_folders["llama"], tmp_path / "copy")
    breaking(folder)
    with pytest.raises(ModelError, match=str(folder)) as refused:
        use(folder, tmp_path / "sha256.json")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("raised", "seen"), [
    (KeyboardInterrupt(), KeyboardInterrupt),
    (SystemExit(1), SystemExit),
    (MemoryError(), MemoryError),
    (OSError(errno.ENOSPC, "No space left on device"), DiskError),
    (ConfigError("x"), ConfigError),
    (RecursionError(), ModelError),
    (torch.OutOfMemoryError("x"), ModelError),
])  # fmt: skip
def test_only_what_is_the_folders_fault_is_said_to_be(raised: BaseException, seen: type[BaseException]) -> None:
    with pytest.raises(seen), readable(Path("folder"), "cannot be read"):
        raise raised


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 70) | st.floats(-2, 2) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def fuzzed(model_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(model_folders["llama"], tmp_path_factory.mktemp("fuzz") / "copy"))


@settings(derandomize=True, deadline=None, max_examples=50, suppress_health_check=[HealthCheck.data_too_large])
@given(data=st.data())
def test_no_configuration_and_no_index_makes_another_error(fuzzed: Path, data: st.DataObject) -> None:
    whole = json.loads((fuzzed / "config.json").read_text())
    drawn = st.dictionaries(st.sampled_from([*whole, "text_config", "layer_types", "sliding_window"]), JSON, max_size=3)
    index = data.draw(st.none() | JSON | st.fixed_dictionaries({"weight_map": JSON}))
    try:
        (fuzzed / "config.json").write_text(json.dumps(data.draw(st.just(whole | data.draw(drawn)) | JSON)))
        (fuzzed / INDEX).write_text(json.dumps(index))
        if index is None:
            (fuzzed / INDEX).unlink()
        with contextlib.suppress(ModelError):
            use(fuzzed, fuzzed.parent / "sha256.json")
    finally:
        (fuzzed / "config.json").write_text(json.dumps(whole))
        (fuzzed / INDEX).unlink(missing_ok=True)


def test_remembered_hashes_that_are_damaged_are_made_again(model_folders: dict[str, Path], tmp_path: Path) -> None:
    remembered = tmp_path / "sha256.json"
    first = describe_model(str(model_folders["llama"]), None, remembered)
    for damaged in ("", "{", remembered.read_text().replace("a", "b"), "[NaN]"):
        remembered.write_text(damaged)
        assert describe_model(str(model_folders["llama"]), None, remembered) == first
