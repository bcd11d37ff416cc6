"""One packed pass gives what separate passes give, and only what is missing is computed."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import FAMILIES, write_distribution

from genies.activations import decoder as decoder_module
from genies.activations.decoder import Decoder, Features
from genies.activations.extraction import Extractor, Request, Settings, build_forest, packing_error
from genies.activations.forest import Batch, pack, plan_batches
from genies.activations.store import ActivationStore
from genies.activations.tokens import Tokens, tokenize
from genies.data.distributions import read_split
from genies.data.texts import split_texts
from genies.data.views import VIEWS
from genies.errors import ModelError
from genies.models import load_tokenizer

EOS = 2
FEATURES = ("heads", "residual", "log_probability")


def all_tokens(folder: Path, data: Path, views: tuple[str, ...] = tuple(VIEWS)) -> dict[str, Tokens]:
    texts = split_texts(read_split(data / "test.json"), "test", 0)
    return {view: tokenize(load_tokenizer(folder), texts, VIEWS[view]) for view in views}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_distribution(tmp_path_factory.mktemp("data") / "cities", train=6, test=10)


def manifest(folder: Path) -> dict:
    return {"name": folder.name, "path": str(folder), "weights_digest": "w", "eos_token": EOS}


def request(tokens: dict[str, Tokens]) -> Request:
    return Request("cities", "test", tokens, {view: f"digest of {view}" for view in tokens})


def plain_forward(model: torch.nn.Module, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Reference values of one text, from an ordinary pass of transformers alone."""
    captured = []
    names = [n for n, _ in model.named_modules() if n.endswith(("o_proj", "attention.dense"))]
    modules = dict(model.named_modules())
    handles = [modules[n].register_forward_pre_hook(lambda _, args: captured.append(args[0][0, -1])) for n in names]
    with torch.inference_mode():
        output = model(torch.as_tensor(ids[None].astype(np.int64)), output_hidden_states=True)
    for handle in handles:
        handle.remove()
    return {
        "heads": torch.stack(captured).numpy(),
        "residual": torch.stack([hidden[0, -1] for hidden in output.hidden_states]).numpy(),
        "log_probabilities": output.logits[0].double().log_softmax(-1).numpy(),
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_pass_equals_ordinary_passes_over_all_layers_heads_and_views(
    family: str, model_folders: dict[str, Path], data: Path
) -> None:
    from transformers import AutoModelForCausalLM

    folder = model_folders[family]
    tokens = all_tokens(folder, data)
    forest = build_forest(tokens, EOS)
    decoder = Decoder.load(folder, "float32", "cpu", "sdpa")
    reference = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    compared = 0
    for batch in plan_batches([len(tree) for tree in forest.trees], 300):
        got = decoder.read(pack(batch, forest.trees))
        members = [member for tree in batch.trees for member in forest.members[tree]]
        for row, (view, index) in enumerate(members):
            table = tokens[view]
            ids = table.text(index)
            want = plain_forward(reference, ids)
            np.testing.assert_allclose(got.heads[row].reshape(len(want["heads"]), -1), want["heads"], rtol=0, atol=1e-5)
            np.testing.assert_allclose(got.residual[row], want["residual"], rtol=0, atol=1e-5)
            if view == "plain":
                start = table.prompt_tokens[index]
                after = [*ids[start:], EOS]
                total = sum(want["log_probabilities"][start - 1 + step, token] for step, token in enumerate(after))
                assert abs(float(got.log_probability[row]) - total) <= 1e-5
                assert int(got.scored_tokens[row]) == len(after)
            compared += 1
    assert compared == 4 * len(tokens["plain"])


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_both_attention_implementations_give_the_same(
    attention: str, model_folders: dict[str, Path], data: Path
) -> None:
    tokens = all_tokens(model_folders["llama"], data)
    decoder = Decoder.load(model_folders["llama"], "float32", "cpu", attention)
    members = build_forest(tokens, EOS).members
    assert packing_error(decoder, tokens, members, EOS) < 1e-6


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_keeps_its_bits_in_the_store(
    family: str, model_folders: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    tokens = all_tokens(model_folders[family], data, ("plain",))
    settings = Settings(dtype="bfloat16", batch_tokens=10_000)
    digest = Extractor(manifest(model_folders[family]), tmp_path, settings, "cpu").extract(request(tokens))["plain"]
    store = ActivationStore(tmp_path / digest)
    decoder = Decoder.load(model_folders[family], "bfloat16", "cpu", "sdpa")
    forest = build_forest(tokens, EOS)
    (batch,) = plan_batches([len(tree) for tree in forest.trees], 10_000)
    direct = decoder.read(pack(batch, forest.trees))
    for layer in range(3):
        np.testing.assert_array_equal(store.heads(layer), direct.heads[:, layer].float())
        np.testing.assert_array_equal(store.residual(layer), direct.residual[:, layer].float())
    np.testing.assert_array_equal(store.heads(1, [2, 0]), direct.heads[:, 1, [2, 0]].float())


def test_complete_stores_load_no_model_and_new_views_are_computed_alone(
    model_folders: dict[str, Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = all_tokens(model_folders["llama"], data)
    described = manifest(model_folders["llama"])
    first = Extractor(described, tmp_path, Settings(), "cpu")
    plain = first.extract(request({"plain": tokens["plain"]}))
    assert first.statistics.forward_passes > 0

    second = Extractor(described, tmp_path, Settings(), "cpu")
    both = second.extract(request({view: tokens[view] for view in ("plain", "yes")}))
    assert both["plain"] == plain["plain"]
    assert second.statistics.text_tokens == len(tokens["yes"].ids)

    monkeypatch.setattr(Decoder, "load", lambda *_: pytest.fail("the model was loaded"))
    third = Extractor(described, tmp_path, Settings(), "cpu")
    assert third.extract(request({view: tokens[view] for view in ("plain", "yes")})) == both
    assert third.statistics.forward_passes == 0


def test_a_model_whose_packing_is_wrong_is_read_text_by_text(
    model_folders: dict[str, Path],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tokens = all_tokens(model_folders["llama"], data, ("plain", "yes"))
    described = manifest(model_folders["llama"])
    right = Extractor(described, tmp_path / "right", Settings(), "cpu").extract(request(tokens))

    def causal(end: torch.Tensor, _: torch.dtype) -> torch.Tensor:
        return torch.ones(end.shape[1], end.shape[1], dtype=torch.bool).tril().expand(len(end), 1, -1, -1)

    monkeypatch.setattr(decoder_module, "tree_mask", causal)
    monkeypatch.setattr(logging.getLogger("genies"), "propagate", True)
    fallback = Extractor(described, tmp_path / "fallback", Settings(batch_tokens=200), "cpu").extract(request(tokens))
    assert "one text per row" in caplog.text
    for view in tokens:
        a, b = (
            ActivationStore(tmp_path / way / digests[view])
            for way, digests in (("right", right), ("fallback", fallback))
        )
        rows = b.rows(a.example.tolist(), a.response.tolist())
        np.testing.assert_allclose(a.residual(3), b.residual(3)[rows], rtol=0, atol=1e-5)
        np.testing.assert_allclose(a.heads(1), b.heads(1)[rows], rtol=0, atol=1e-5)
    np.testing.assert_allclose(a.description["example"], sorted(a.example, key=list(a.example).index))


def test_a_folder_without_a_causal_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=str(tmp_path)):
        Decoder.load(tmp_path, "float32", "cpu", "sdpa")


def test_features_come_in_the_shapes_that_the_store_states(model_folders: dict[str, Path], data: Path) -> None:
    tokens = all_tokens(model_folders["gpt_neox"], data, ("plain",))
    forest = build_forest(tokens, EOS)
    decoder = Decoder.load(model_folders["gpt_neox"], "float32", "cpu", "sdpa")
    features: Features = decoder.read(pack(Batch(len(forest.trees[0]), ((0,),)), forest.trees))
    texts = len(forest.members[0])
    assert features.heads.shape == (texts, 3, 4, 8)
    assert features.residual.shape == (texts, 4, 32)
