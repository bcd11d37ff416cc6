"""One packed pass gives what separate passes give, and only what is missing is computed."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import FAMILIES, FAMILY_SIZES, WINDOW, families, save_model, write_distribution

from genies.costs.extraction import tell_costs
from genies.data.distributions import read_split
from genies.data.texts import split_texts
from genies.data.views import VIEWS
from genies.engine import decoder as decoder_module
from genies.engine.batches import token_budget
from genies.engine.decoder import Decoder, Features
from genies.engine.forest import Batch, PackedBatch, build_forest, build_tree, pack, plan_batches
from genies.engine.options import Extraction
from genies.engine.self_test import PACKING_TOLERANCE, SelfTests, check_packing, leak
from genies.engine.tokenization import tokenize
from genies.engine.tokens import Tokens
from genies.errors import DiskError, ModelError, StoreError
from genies.models.describe import describe_model
from genies.models.load import load_tokenizer
from genies.store.activations import ActivationStore
from genies.store.extraction import Extractor
from genies.store.requests import Request

EOS = 2
PACKED_FAMILIES = (
    "llama", "gpt_neox", "qwen2", "qwen3", "mistral", "gemma2", "gemma3_text", "gpt2", "opt", "mixtral", "olmoe",
    "deepseek_v3",
)  # fmt: skip
FEATURES = ("heads", "residual", "log_probability")
CPU = Extraction(device="cpu")


def all_tokens(
    folder: Path, data: Path, views: tuple[str, ...] = ("plain", "yes", "no", "lat_template")
) -> dict[str, Tokens]:
    texts = split_texts(read_split(data / "test.json"), "test", 0)
    return {view: tokenize(load_tokenizer(folder), texts, VIEWS[view]) for view in views}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_distribution(tmp_path_factory.mktemp("data") / "cities", train=6, test=10)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What genies logs, from INFO on."""
    monkeypatch.setattr(logging.getLogger("genies"), "propagate", True)
    caplog.set_level(logging.INFO, logger="genies")
    return caplog


def manifest(folder: Path) -> dict:
    described = {"name": folder.name, "path": str(folder), "files": {}, "weights_digest": "w", "eos_token": EOS}
    return described | {"attention": "sdpa"}


def request(tokens: dict[str, Tokens]) -> Request:
    return Request("cities", "test", tokens, {view: f"digest of {view}" for view in tokens})


def plain_forward(model: torch.nn.Module, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Reference values of one text, from an ordinary pass of transformers alone."""
    captured = []
    names = [
        n
        for n, _ in model.named_modules()
        if n.endswith(("o_proj", "attention.dense", "attn.c_proj", "self_attn.out_proj"))
    ]
    modules = dict(model.named_modules())
    handles = [modules[n].register_forward_pre_hook(lambda _, args: captured.append(args[0][0, -1])) for n in names]
    with torch.inference_mode():
        output = model(torch.as_tensor(ids[None].astype(np.int64)), output_hidden_states=True)
    for handle in handles:
        handle.remove()
    return {
        "heads": torch.stack(captured).numpy() if captured else None,
        "residual": torch.stack([hidden[0, -1] for hidden in output.hidden_states]).numpy(),
        "log_probabilities": output.logits[0].double().log_softmax(-1).numpy(),
    }


@pytest.mark.parametrize("family", families(PACKED_FAMILIES))
def test_packed_pass_equals_ordinary_passes_over_all_layers_heads_and_views(
    family: str, tmp_path: Path, data: Path
) -> None:
    from transformers import AutoModelForCausalLM

    folder = save_model(tmp_path / family, family)
    tokens = all_tokens(folder, data)
    if family in ("mistral", "gemma2", "gemma3_text"):
        assert np.diff(tokens["plain"].offsets).min() > WINDOW
    forest = build_forest(tokens, EOS)
    decoder = Decoder.load(folder, "float32", "cpu", describe_model(str(folder), None, tmp_path / "h")["attention"])
    assert check_packing(decoder, tokens, forest, EOS).packed
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
    check = check_packing(decoder, tokens, build_forest(tokens, EOS), EOS)
    assert check.packed and check.relative_difference < 1e-6
    assert (check.examples, check.decisions_changed) == (2, 0) and check.decisions > 0


@pytest.mark.parametrize(("family", "packed"), [("falcon_h1", False), ("llama", True), ("olmoe", True)])
def test_texts_that_leak_into_each_other_less_than_bfloat16_rounds_are_not_packed(
    family: str, packed: bool, tmp_path: Path, data: Path
) -> None:
    folder = save_model(tmp_path / family, family)
    tokens = all_tokens(folder, data)
    decoder = Decoder.load(folder, "bfloat16", "cpu", "sdpa")
    check = check_packing(decoder, tokens, build_forest(tokens, EOS), EOS)
    assert check.relative_difference < PACKING_TOLERANCE[torch.bfloat16]
    assert check.packed is packed
    assert packed or "other texts of the row move a text by" in check.reason


@pytest.mark.long
@pytest.mark.parametrize("right", [True, False])
def test_a_deep_model_that_rounds_further_than_the_tolerance_is_packed_if_float32_agrees(
    right: bool, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_model(tmp_path / "deep", "llama", layers=40)
    tokens = all_tokens(folder, data)
    decoder = Decoder.load(folder, "bfloat16", "cpu", "sdpa")
    with torch.no_grad():
        for weights in decoder.blocks.parameters():
            weights.mul_(3 if weights.ndim > 1 else 1)
    before = {name: value.clone() for name, value in decoder.model.state_dict().items()}
    if not right:
        read = Decoder.read
        monkeypatch.setattr(
            Decoder, "read", lambda self, batch: read(self, replace(batch, position=batch.position // 2 * 2))
        )
    check = check_packing(decoder, tokens, build_forest(tokens, EOS), EOS)
    assert check.relative_difference > PACKING_TOLERANCE[torch.bfloat16] and "in float32" in check.reason
    assert check.packed is right
    after = decoder.model.state_dict()
    assert all(after[name].dtype == value.dtype and torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize(("noise", "leaks"), [(1e-15, False), (1e-9, True), (float("nan"), True)])
def test_only_the_order_of_a_sum_in_float64_is_no_leak(noise: float, leaks: bool) -> None:
    tree = build_tree([np.array([5, 6, 7]), np.array([5, 8, 9])], [1, 1], EOS)
    row = pack(Batch(len(tree), ((0,),)), [tree])

    def read(batch: PackedBatch) -> list[torch.Tensor]:
        # The second text stays, so its tokens are those of the row given.
        np.testing.assert_array_equal(batch.tokens[0, [0, 3, 4]], [5, 8, 9])
        return [torch.ones(2, 3), torch.full((2,), -7.0 + noise * (batch is not row), dtype=torch.float64)]

    assert (leak(read, row) != 0) is leaks


def test_a_row_that_memory_does_not_hold_is_no_error_of_the_self_test(
    model_folders: dict[str, Path], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = all_tokens(model_folders["llama"], data)
    decoder, forest = Decoder.load(model_folders["llama"], "float32", "cpu", "sdpa"), build_forest(tokens, EOS)
    read, read_separately = Decoder.read, Decoder.read_separately
    longest = max(map(len, forest.trees))

    def up_to(most: int, ordinary: Callable) -> Callable:
        def small(decoder: Decoder, batch: PackedBatch) -> Features:
            if batch.tokens.size > most:
                raise torch.OutOfMemoryError("no memory left")
            return ordinary(decoder, batch)

        return small

    monkeypatch.setattr(Decoder, "read", up_to(longest, read))
    check = check_packing(decoder, tokens, forest, EOS)
    assert check.packed and check.examples == 1
    monkeypatch.setattr(Decoder, "read", up_to(0, read))
    check = check_packing(decoder, tokens, forest, EOS)
    assert not check.packed and "memory does not suffice for a row" in check.reason
    monkeypatch.setattr(Decoder, "read", read)
    monkeypatch.setattr(Decoder, "read_separately", up_to(0, read_separately))
    with pytest.raises(ModelError, match="memory does not suffice for one example .* use a larger device"):
        check_packing(decoder, tokens, forest, EOS)


@pytest.mark.parametrize("moment", ["before", "while"])
def test_features_of_other_weights_than_the_manifest_pins_are_not_kept(
    moment: str, model_folders: dict[str, Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(model_folders["llama"], tmp_path / "model")
    described = describe_model(str(folder), None, tmp_path / "h" / "sha256.json")
    weights, load = folder / "model.safetensors", Decoder.load

    def overwritten(*arguments: object) -> Decoder:
        decoder = load(*arguments)
        shutil.copy(save_model(tmp_path / "trained", "llama") / weights.name, weights)
        return decoder

    if moment == "while":
        monkeypatch.setattr(Decoder, "load", overwritten)
    else:
        weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    extractor = Extractor(described, tmp_path / "stores", Extraction())
    with pytest.raises(ModelError, match="model.safetensors: has changed since the rule `model` described it"):
        extractor.extract(request(all_tokens(folder, data, ("plain",))))
    assert not list((tmp_path / "stores").glob("[!.]*"))


def test_of_a_small_split_an_earlier_one_tells_unless_its_texts_are_longer(
    model_folders: dict[str, Path], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, tests, tokens = Decoder.load(model_folders["llama"], "float32", "cpu", "sdpa"), SelfTests(), {}
    for name, view in (("short", "plain"), ("long", "lat_template")):
        texts = split_texts(read_split(data / "test.json"), "test", 0)
        tokens[name] = {"plain": tokenize(load_tokenizer(model_folders["llama"]), texts, VIEWS[view])}

    def tested(name: str) -> int:
        forest = build_forest(tokens[name], EOS)
        check = tests.check(decoder, tokens[name], forest, EOS, whole=True)
        assert check.packed and check.relative_difference < 1e-6
        return check.examples

    assert [tested(name) for name in ("short", "short", "long", "long", "short")] == [2, 0, 2, 0, 0]
    monkeypatch.setattr("genies.engine.self_test.SHARE", 1e9)
    assert tested("short") == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_keeps_its_bits_in_the_store(
    family: str, model_folders: dict[str, Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genies.engine.arithmetic.native_bfloat16", lambda _device: True)
    tokens = all_tokens(model_folders[family], data, ("plain",))
    options = Extraction(dtype="bfloat16", batch_tokens=10_000, device="cpu")
    digest = Extractor(manifest(model_folders[family]), tmp_path, options).extract(request(tokens))["plain"][0]
    store = ActivationStore(tmp_path / digest)
    decoder = Decoder.load(model_folders[family], "bfloat16", "cpu", "sdpa")
    forest = build_forest(tokens, EOS)
    plan = plan_batches([len(tree) for tree in forest.trees], 10_000, attention_cost=1 / (6 * 32))
    direct = Features.joined([decoder.read(pack(batch, forest.trees)) for batch in plan])
    for layer in range(3):
        np.testing.assert_array_equal(store.heads(layer), direct.heads[:, layer].float())
        np.testing.assert_array_equal(store.residual(layer), direct.residual[:, layer].float())
    np.testing.assert_array_equal(store.heads(1, [2, 0]), direct.heads[:, 1, [2, 0]].float())


def test_complete_stores_load_no_model_and_new_views_are_computed_alone(
    model_folders: dict[str, Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = all_tokens(model_folders["llama"], data)
    described = manifest(model_folders["llama"])
    first = Extractor(described, tmp_path, CPU)
    plain = first.extract(request({"plain": tokens["plain"]}))
    assert first.statistics.forward_passes > 0

    second = Extractor(described, tmp_path, CPU)
    both = second.extract(request({view: tokens[view] for view in ("plain", "yes")}))
    assert both["plain"] == plain["plain"]
    assert second.statistics.text_tokens == len(tokens["yes"].ids)

    monkeypatch.setattr(Decoder, "load", lambda *_: pytest.fail("the model was loaded"))
    third = Extractor(described, tmp_path, CPU)
    assert third.extract(request({view: tokens[view] for view in ("plain", "yes")})) == both
    assert third.statistics.forward_passes == 0


def test_a_model_whose_packing_is_wrong_is_read_text_by_text(
    model_folders: dict[str, Path],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: pytest.LogCaptureFixture,
) -> None:
    tokens = all_tokens(model_folders["llama"], data, ("plain", "yes"))
    described = manifest(model_folders["llama"])
    right = Extractor(described, tmp_path / "right", CPU).extract(request(tokens))

    def causal(_: object, end: torch.Tensor, *__: object) -> torch.Tensor:
        return torch.ones(end.shape[1], end.shape[1], dtype=torch.bool).tril().expand(len(end), 1, -1, -1)

    monkeypatch.setattr(decoder_module, "tree_masks", causal)
    fallback = Extractor(described, tmp_path / "fallback", Extraction(batch_tokens=200, device="cpu")).extract(
        request(tokens)
    )
    assert "one text per row" in told.text
    for view in tokens:
        a, b = (
            ActivationStore(tmp_path / way / digests[view][0])
            for way, digests in (("right", right), ("fallback", fallback))
        )
        rows = b.rows(a.example.tolist(), a.response.tolist())
        np.testing.assert_allclose(a.residual(3), b.residual(3)[rows], rtol=0, atol=1e-5)
        np.testing.assert_allclose(a.heads(1), b.heads(1)[rows], rtol=0, atol=1e-5)
    np.testing.assert_allclose(a.description["example"], sorted(a.example, key=list(a.example).index))


@pytest.mark.parametrize("family", ["mamba", "bloom"])
def test_architectures_that_take_no_tree_mask_are_read_text_by_text(
    family: str, data: Path, tmp_path: Path, told: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    folder = save_model(tmp_path / family, family)
    tokens = all_tokens(folder, data, ("plain", "yes"))
    described = describe_model(str(folder), None, tmp_path / "hashes.json")
    options = CPU
    digests = Extractor(described, tmp_path / "stores", options).extract(request(tokens))
    assert "one text per row" in told.text
    store = ActivationStore(tmp_path / "stores" / digests["yes"][0])
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    for row, index in enumerate(store.rows(tokens["yes"].example.tolist(), tokens["yes"].response.tolist())):
        want = plain_forward(model, tokens["yes"].text(row))["residual"]
        # Mamba's list of hidden states begins after its first block.
        np.testing.assert_allclose(store.residual(1)[index], want[0 if family == "mamba" else 1], rtol=0, atol=1e-5)
        np.testing.assert_allclose(store.residual(3)[index], want[-1], rtol=0, atol=1e-5)
    if family == "mamba":
        with pytest.raises(StoreError, match="blocks without attention heads"):
            store.heads(0)
    else:
        assert store.heads(0).shape[1:] == (4, 8)


def test_chosen_layers_and_heads_are_those_of_the_whole(
    model_folders: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    tokens = all_tokens(model_folders["llama"], data, ("plain",))
    described = manifest(model_folders["llama"])
    whole, part = (
        ActivationStore(root / Extractor(described, root, options).extract(request(tokens))["plain"][0])
        for root, options in (
            (tmp_path / "whole", CPU),
            (tmp_path / "part", replace(CPU, layers=(1, 3), heads=(0, 2))),
        )
    )
    assert (part.layers("residual"), part.layers("heads"), part.head_numbers) == ([1, 3], [1], [0, 2])
    np.testing.assert_array_equal(part.residual(3), whole.residual(3))
    np.testing.assert_array_equal(part.heads(1), whole.heads(1, [0, 2]))
    np.testing.assert_array_equal(part.heads(1, [2]), whole.heads(1, [2]))
    with pytest.raises(StoreError, match="layers 1, 3, not 2"):
        part.residual(2)
    with pytest.raises(ModelError, match="no layer 4; the last is 3"):
        Extractor(described, tmp_path, Extraction(layers=(4,), device="cpu")).decoder()
    with pytest.raises(ModelError, match="no head 9"):
        Extractor(described, tmp_path, Extraction(heads=(9,), device="cpu")).decoder()


def test_where_memory_does_not_suffice_smaller_batches_give_the_same(
    model_folders: dict[str, Path],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: pytest.LogCaptureFixture,
) -> None:
    tokens = all_tokens(model_folders["llama"], data)
    described = manifest(model_folders["llama"])
    right = Extractor(described, tmp_path / "right", CPU).extract(request(tokens))
    sizes = [len(tree) for tree in build_forest(tokens, EOS).trees]
    read = Decoder.read

    def small(decoder: Decoder, batch) -> Features:
        if batch.tokens.size > 3 * max(sizes):
            raise torch.OutOfMemoryError("no memory left")
        return read(decoder, batch)

    monkeypatch.setattr(Decoder, "read", small)
    halved = Extractor(described, tmp_path / "halved", CPU).extract(request(tokens))
    assert "out of memory" in told.text
    for view in tokens:
        a, b = (ActivationStore(tmp_path / way / d[view][0]) for way, d in (("right", right), ("halved", halved)))
        np.testing.assert_array_equal(a.example, b.example)
        np.testing.assert_allclose(a.residual(3), b.residual(3), rtol=0, atol=1e-5)
        np.testing.assert_allclose(a.log_probability() if view == "plain" else 0,
                                   b.log_probability() if view == "plain" else 0, rtol=0, atol=1e-5)  # fmt: skip


def test_a_store_that_was_begun_keeps_its_plan(
    model_folders: dict[str, Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = all_tokens(model_folders["llama"], data, ("plain",))
    described = manifest(model_folders["llama"])
    with monkeypatch.context() as patched:
        patched.setattr("genies.store.writer.StoreWriter.finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Extractor(described, tmp_path, Extraction(batch_tokens=150, device="cpu")).extract(request(tokens))
    again = Extractor(described, tmp_path, Extraction(batch_tokens=5000, device="cpu"))
    store = ActivationStore(tmp_path / again.extract(request(tokens))["plain"][0])
    assert store.description["batch_tokens"] == 150
    assert again.statistics.forward_passes == 0


def test_costs_are_told_first_and_a_disk_that_is_too_small_is_refused(
    model_folders: dict[str, Path],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: pytest.LogCaptureFixture,
) -> None:
    tokens = all_tokens(model_folders["llama"], data)
    extractor = Extractor(manifest(model_folders["llama"]), tmp_path, CPU)
    tell_costs(extractor, [request(tokens)])
    assert f"to compute: {4 * len(tokens['plain'])} texts of 1 splits" in told.text
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(DiskError, match="make room"):
        tell_costs(extractor, [request(tokens)])
    extractor.extract(request(tokens))
    tell_costs(extractor, [request(tokens)])  # nothing is missing, so nothing is needed


def test_features_are_stored_without_waste(model_folders: dict[str, Path], data: Path, tmp_path: Path) -> None:
    big = write_distribution(tmp_path / "many", train=1, test=600)
    tokens = all_tokens(model_folders["llama"], big, ("plain",))
    digest = Extractor(manifest(model_folders["llama"]), tmp_path, CPU).extract(request(tokens))["plain"][0]
    stored = sum(file.stat().st_size for file in (tmp_path / digest).rglob("*") if file.is_file())
    features = 4 * (3 * 4 * 8 + 4 * 32) + 8 + 4  # heads, residual, log-probability, scored tokens
    assert stored <= 1.03 * features * len(tokens["plain"])


@pytest.mark.parametrize(
    ("free", "hidden", "tokens"),
    [(2**30, 4096, 2**11), (60 * 2**30, 4096, 2**14), (60 * 2**30, 1024, 2**15), (0, 64, 2**10)],
)
def test_the_token_budget_grows_with_free_memory_up_to_what_fills_a_gpu(free: int, hidden: int, tokens: int) -> None:
    assert token_budget(free, hidden, 3 * hidden, 2) == tokens


def test_a_folder_without_a_causal_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=str(tmp_path)):
        Decoder.load(tmp_path, "float32", "cpu", "sdpa")


def small_model(tmp_path: Path, family: str) -> torch.nn.Module:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(save_model(tmp_path / family, family))


def test_a_residual_stream_that_changes_its_width_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILY_SIZES["opt"], "word_embed_proj_dim", 16)
    with pytest.raises(ModelError, match="the output head reads 16 numbers where the residual stream has 32"):
        Decoder(small_model(tmp_path, "opt"))


@pytest.mark.parametrize(
    ("order", "message"), [([0, 1], "block 2 runs 0 times"), ([0, 1, 1, 2], "block 1 runs 2 times")]
)
def test_blocks_that_do_not_run_once_are_refused(order: list[int], message: str, tmp_path: Path) -> None:
    model = small_model(tmp_path, "llama")
    chosen = [model.model.layers[index] for index in order]
    # The model takes its blocks by a slice.
    model.model.layers.__class__ = type("Ordered", (torch.nn.ModuleList,), {"__getitem__": lambda *_: chosen})
    with pytest.raises(ModelError, match=message):
        Decoder(model)


def test_heads_are_those_of_attention_whatever_a_block_is_called(tmp_path: Path) -> None:
    model = small_model(tmp_path, "jamba")
    decoder = Decoder(model)
    assert decoder.projections == [block.self_attn.o_proj for block in model.model.layers]
    assert "Attention" in type(decoder.blocks[0]).__name__


def test_linear_attention_has_no_heads(tmp_path: Path) -> None:
    decoder = Decoder(small_model(tmp_path, "minimax"))
    assert "blocks without attention heads (the first is block 0)" in decoder.without_heads
    assert decoder.shape.sizes == {"residual": (4, 32)}


def test_features_come_in_the_shapes_that_the_store_states(model_folders: dict[str, Path], data: Path) -> None:
    tokens = all_tokens(model_folders["gpt_neox"], data, ("plain",))
    forest = build_forest(tokens, EOS)
    decoder = Decoder.load(model_folders["gpt_neox"], "float32", "cpu", "sdpa")
    features: Features = decoder.read(pack(Batch(len(forest.trees[0]), ((0,),)), forest.trees))
    texts = len(forest.members[0])
    assert features.heads.shape == (texts, 3, 4, 8)
    assert features.residual.shape == (texts, 4, 32)
