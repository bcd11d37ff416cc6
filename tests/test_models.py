"""A model's manifest says what it is; what cannot be used is refused by name."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import save_reward_model
from safetensors.torch import load_file, save_file

from genies.activations.decoder import Decoder
from genies.errors import ModelError
from genies.models import describe_model, is_folder, load_tokenizer, model_files, model_name, tokenizer_digest


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


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not found"):
        model_files(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("identifier", "folder"),
    [("EleutherAI/pythia-410m", False), ("gpt2", False), ("/models/llama-7b", True), ("./here", True), ("a/b/c", True)],
)
def test_hub_ids_and_folders_are_told_apart(identifier: str, folder: bool) -> None:
    assert is_folder(identifier) is folder
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


def test_remembered_hashes_that_are_damaged_are_made_again(model_folders: dict[str, Path], tmp_path: Path) -> None:
    remembered = tmp_path / "sha256.json"
    first = describe_model(str(model_folders["llama"]), None, remembered)
    for damaged in ("", "{", remembered.read_text().replace("a", "b"), "[NaN]"):
        remembered.write_text(damaged)
        assert describe_model(str(model_folders["llama"]), None, remembered) == first
