"""Without native bfloat16 nothing multiplies in it: every intervention, watched operation by operation."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import one_thread_of_torch, save_model, save_reward_model, write_distribution
from safetensors.torch import load_file, save_file
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import genies
from genies.data.texts import Text
from genies.data.views import VIEWS
from genies.engine import arithmetic as arithmetic_module
from genies.engine.arithmetic import announce, arithmetic, native_bfloat16
from genies.engine.decoder import Decoder
from genies.engine.forest import Batch, build_forest, pack
from genies.engine.options import Extraction
from genies.engine.tokenization import tokenize
from genies.files import read_json
from genies.interventions.registry import available
from genies.interventions.text import TextPairs
from genies.models.load import load_tokenizer
from genies.stages.tune import tuning_digest
from genies.store.activations import ActivationStore
from genies.store.extraction import Extractor
from genies.store.requests import Request
from genies.store.settled import Settled, settled, store_digest

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SHIFTS = [{"source": "north", "target": "south", "label": "extreme", "category": "place"}]
TRAINED = {"steps": 2, "pairs_per_step": 4}
PRODUCT = re.compile(
    r"(^|_)(mm|addmm|bmm|baddbmm|addbmm|mv|addmv|dot|vdot|ger|addr|outer|matmul|linear|bilinear|einsum|tensordot|"
    r"conv|conv\dd|convolution|attention)(_|$)"
)
"""Names of operations that multiply matrices or vectors; a ``_backward`` at their end is included."""

one_thread = pytest.fixture(autouse=True)(one_thread_of_torch)


class Bfloat16ProductError(AssertionError):
    """Something multiplied in bfloat16."""


class NoBfloat16Products(TorchDispatchMode):
    """Fails on the first product that reads or gives bfloat16, and counts the others by name.

    A mode watches one thread. Nothing escapes it here: on a CPU, autograd runs backward passes in the thread that asks
    for them, and the other threads, those that write stores and load weights, multiply nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, _types: Sequence[type], args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs, name = dict(kwargs or {}), func.overloadpacket.__name__
        result = NotImplemented
        if not PRODUCT.search(name):
            # In inference mode composite operations come whole; their parts are to be seen as well.
            with self:
                result = func.decompose(*args, **kwargs)
        if result is NotImplemented:
            result = func(*args, **kwargs)
        if PRODUCT.search(name):
            self.seen[name] += 1
            tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
            if any(tensor.dtype == torch.bfloat16 for tensor in tensors):
                raise Bfloat16ProductError(name)
        return result


@pytest.fixture
def no_native(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU without native bfloat16, whatever the machine has."""
    monkeypatch.setattr(arithmetic_module, "native_bfloat16", lambda device: device.type != "cpu")


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU with native bfloat16, whatever the machine has."""
    monkeypatch.setattr(arithmetic_module, "native_bfloat16", lambda _device: True)


def in_bfloat16(folder: Path) -> Path:
    """The model in a folder with its weights rounded to bfloat16, as most are published."""
    file, config = folder / "model.safetensors", folder / "config.json"
    save_file({name: t.bfloat16() for name, t in load_file(file).items()}, file, {"format": "pt"})
    config.write_text(json.dumps({**json.loads(config.read_text()), "dtype": "bfloat16"}))
    return folder


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model and two reward models in bfloat16, and two distributions, in the working directory."""
    monkeypatch.chdir(tmp_path)
    in_bfloat16(save_model(tmp_path / "tiny", "llama"))
    for kind in ("llama", "bert"):
        in_bfloat16(save_reward_model(tmp_path / f"rewards-{kind}", kind))
    for number, name in enumerate(("north", "south")):
        write_distribution(tmp_path / "data" / name, train=8, test=4, offset=31 * number)
    return tmp_path


@pytest.mark.parametrize(
    ("stored", "dtype", "rewards"), [("bfloat16", "bfloat16", "llama"), ("float32", "auto", "bert")]
)
def test_no_intervention_multiplies_in_bfloat16(
    world: Path, no_native: None, stored: str, dtype: str, rewards: str
) -> None:
    parameters = {
        "lora": {**TRAINED, "dtype": dtype, "rank": 2},
        "prompt_tuning": {**TRAINED, "dtype": dtype},
        "full_finetune": {**TRAINED, "dtype": dtype},
        "few_shot": {"shots": 2, "dtype": dtype},
        "ccs": {"epochs": 50, "restarts": 2, "seeds": 2},
        "reward_model": {"model": f"rewards-{rewards}", "dtype": dtype, "overlong": "shorten"},
        "implicit_reward": {"reference": "tiny"},
    }
    with NoBfloat16Products() as watched:
        table = genies.evaluate_shifts(
            "tiny",
            available(),
            SHIFTS,
            distributions=["data/north", "data/south"],
            capability_interventions=["mms", "lora"],
            intervention_parameters=parameters,
            extraction={"dtype": stored, "device": "cpu"},
        )
    assert set(table["intervention"]) == set(available())
    # What was watched is the work: passes of models forward and back.
    assert watched.seen["mm"] > 1000 and any("attention" in name for name in watched.seen)
    assert any(name.endswith("attention_for_cpu_backward") for name in watched.seen), watched.seen

    manifest = read_json(next(Path("results/python/activations/tiny").glob("*.json")))
    settled = manifest["extraction"]
    assert (settled["dtype"], settled["arithmetic"], manifest["devices"]) == (stored, "float32", ["cpu"])
    described = read_json(Path("cache/activations") / manifest["stores"][0]["digest"] / "store.json")
    assert described["dtype"] == stored and described["arithmetic"] == described["digest"]["arithmetic"] == "float32"
    assert read_json("results/python/interventions/tiny/mms.json")["origin"]["extraction"]["arithmetic"] == "float32"
    for name in ("lora", "prompt_tuning", "full_finetune", "few_shot", "reward_model"):
        assert read_json(f"results/python/interventions/tiny/{name}/north.json")["arithmetic"] == "float32"


def bfloat16(*shape: int) -> torch.Tensor:
    return torch.ones(shape, dtype=torch.bfloat16)


def through_backward(product: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """The product forward unwatched, then its backward pass."""
    result = product(torch.ones(2, 2, 4, 4, dtype=torch.bfloat16, requires_grad=True)).sum()
    with NoBfloat16Products():
        result.backward()


FORWARD: dict[str, Callable[[], Any]] = {
    "mm": lambda: bfloat16(2, 3) @ bfloat16(3, 2),
    "addmm": lambda: torch.addmm(bfloat16(2), bfloat16(2, 3), bfloat16(3, 2)),
    "bmm": lambda: torch.bmm(bfloat16(1, 2, 3), bfloat16(1, 3, 2)),
    "baddbmm": lambda: torch.baddbmm(bfloat16(1), bfloat16(1, 2, 3), bfloat16(1, 3, 2)),
    "mv": lambda: bfloat16(2, 3) @ bfloat16(3),
    "dot": lambda: bfloat16(3) @ bfloat16(3),
    "linear": lambda: functional.linear(bfloat16(2, 3), bfloat16(4, 3), bfloat16(4)),
    "einsum": lambda: torch.einsum("ij,kj->ik", bfloat16(2, 3), bfloat16(4, 3)),
    "convolution": lambda: functional.conv1d(bfloat16(1, 2, 5), bfloat16(3, 2, 2)),
    "attention": lambda: functional.scaled_dot_product_attention(*[bfloat16(1, 2, 4, 8)] * 3),
    "masked attention": lambda: functional.scaled_dot_product_attention(
        *[bfloat16(1, 2, 4, 8)] * 3, attn_mask=bfloat16(4, 4)
    ),
    "autocast": lambda: _autocast(torch.ones(2, 2)),
    # Torch has this optimizer from 2.9 on.
    **({"muon": lambda: _muon_step()} if hasattr(torch.optim, "Muon") else {}),
}
BACKWARD: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mm": lambda x: x[0, 0] @ bfloat16(4, 4),
    "bmm": lambda x: torch.bmm(x[0], bfloat16(2, 4, 4)),
    "linear": lambda x: functional.linear(x, bfloat16(3, 4)),
    "einsum": lambda x: torch.einsum("abij,kj->abik", x, bfloat16(2, 4)),
    "convolution": lambda x: functional.conv2d(x, bfloat16(3, 2, 2, 2)),
    "attention": lambda x: functional.scaled_dot_product_attention(x, x, x),
}


def _autocast(x: torch.Tensor) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        x @ x


def _muon_step() -> None:
    """An optimizer that multiplies in bfloat16 whatever the type of the weights."""
    weight = torch.nn.Parameter(torch.ones(3, 2))
    weight.grad = torch.ones(3, 2)
    torch.optim.Muon([weight]).step()


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("product", FORWARD)
def test_a_planted_product_is_found(product: str, inference: bool) -> None:
    with torch.inference_mode(inference), pytest.raises(Bfloat16ProductError), NoBfloat16Products():
        FORWARD[product]()


@pytest.mark.parametrize("product", BACKWARD)
def test_a_planted_product_of_a_backward_pass_is_found(product: str) -> None:
    with pytest.raises(Bfloat16ProductError):
        through_backward(BACKWARD[product])


def test_roundings_and_products_of_other_types_pass() -> None:
    with NoBfloat16Products() as watched:
        (torch.ones(2, 2) @ torch.ones(2, 2)).bfloat16().mul(2).sum()
    assert watched.seen == {"mm": 1}


def test_a_product_planted_in_a_pass_is_found(world: Path, no_native: None, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Decoder.read

    def planted(decoder: Decoder, batch: Any) -> Any:
        bfloat16(2, 2) @ bfloat16(2, 2)
        return read(decoder, batch)

    monkeypatch.setattr(Decoder, "read", planted)
    with pytest.raises(Bfloat16ProductError), NoBfloat16Products():
        genies.evaluate_shifts(
            "tiny", ["zero_shot"], SHIFTS, distributions=["data/north", "data/south"], extraction={"device": "cpu"}
        )


def test_what_is_computed_in_float32_is_rounded_when_it_is_stored(world: Path, no_native: None) -> None:
    texts = [Text(0, r, "What is the capital of Peru ?\n", f"{city} .") for r, city in enumerate(("Lima", "Rome"))]
    tokens = {"plain": tokenize(load_tokenizer(Path("tiny")), texts, VIEWS["plain"])}
    model = {"name": "tiny", "path": "tiny", "files": {}, "weights_digest": "w", "eos_token": 2, "attention": "sdpa"}
    extractor = Extractor(model, world / "stores", Extraction(dtype="bfloat16", device="cpu"))
    store = ActivationStore(
        world / "stores" / extractor.extract(Request("d", "test", tokens, {"plain": "t"}))["plain"][0]
    )
    forest = build_forest(tokens, 2)
    want = Decoder.load(Path("tiny"), "float32", "cpu", "sdpa").read(
        pack(Batch(len(forest.trees[0]), ((0,),)), forest.trees)
    )
    assert not torch.equal(want.residual, want.residual.bfloat16().float())
    for layer in range(4):
        np.testing.assert_array_equal(store.residual(layer), want.residual[:, layer].bfloat16().float())
    np.testing.assert_array_equal(store.heads(1), want.heads[:, 1].bfloat16().float())
    np.testing.assert_array_equal(store.log_probability(), want.log_probability)


def named(chosen: Settled) -> str:
    return store_digest({"weights_digest": "w", "eos_token": 2}, "t", chosen)[0]


def test_stores_are_named_by_their_arithmetic_and_keep_that_of_a_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = {"attention": "sdpa"}
    half, whole = (Extraction(dtype=dtype, device="cpu") for dtype in ("bfloat16", "float32"))
    elsewhere = replace(half, device="cuda")
    fast, slow = [], []
    for found, has in ((fast, True), (slow, False)):
        monkeypatch.setattr(arithmetic_module, "native_bfloat16", lambda d, has=has: has or d.type != "cpu")
        found += [settled(half, model), settled(half, model, "bfloat16"), settled(whole, model)]
        found += [settled(options, model, "float32") for options in (half, elsewhere)]
        assert settled(elsewhere, model).arithmetic == "bfloat16"
    assert [s.arithmetic for s in fast] == ["bfloat16", "bfloat16", "float32", "float32", "float32"]
    assert {s.arithmetic for s in slow} == {"float32"}
    assert named(fast[0]) != named(slow[0]) and named(fast[2]) == named(slow[2])
    assert named(Settled(half, "sdpa", "bfloat16", "cpu")) == named(fast[0])


@pytest.mark.parametrize("dtype", ["bfloat16", "auto"])
def test_a_training_is_named_by_its_arithmetic(dtype: str, no_native: None) -> None:
    model = {"weights_digest": "w", "tokenizer_digest": "t", "eos_token": 2, "context": 512}
    pairs = TextPairs(("p",), ("a",), ("b",), np.array([0]))
    parameters = {"steps": 1, "dtype": dtype}
    on = {
        device: tuning_digest("full_finetune", parameters, model, pairs, device, Path("cache"))[1]["dtype"]
        for device in ("cpu", "cuda")
    }
    assert on == {"cpu": "float32", "cuda": "bfloat16"}


def test_auto_is_float32_on_every_cpu_and_what_is_asked_for_is_kept_where_it_is_fast(native: None) -> None:
    assert (arithmetic("auto", CPU), arithmetic("auto", CUDA)) == ("float32", "bfloat16")
    assert (arithmetic("bfloat16", CPU), arithmetic("float32", CPU)) == ("bfloat16", "float32")
    assert (arithmetic("bfloat16", CUDA), arithmetic("float32", CUDA)) == ("bfloat16", "float32")


@pytest.mark.parametrize(("dtype", "said"), [("bfloat16", 1), ("auto", 0), ("float32", 0)])
def test_one_line_says_that_what_was_asked_for_is_not_what_is_done(
    no_native: None, caplog: pytest.LogCaptureFixture, dtype: str, said: int
) -> None:
    caplog.set_level("INFO", "genies")
    announce(dtype, CPU)
    announce(dtype, CUDA)
    assert [record.getMessage() for record in caplog.records] == [
        "dtype bfloat16: this processor has no instructions for it, so products are computed in float32"
    ] * said


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., bool]]:
    """Whether a processor of these capabilities has native bfloat16, in an environment."""
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)

    def native(capabilities: Sequence[str], used: str = "AVX512", onednn: bool = True, **environment: str) -> bool:
        with monkeypatch.context() as patched:
            patched.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(capabilities, True), raising=False)
            patched.setattr(torch.backends.cpu, "get_cpu_capability", lambda: used)
            patched.setattr(torch.backends.mkldnn, "is_available", lambda: onednn)
            for name, value in environment.items():
                patched.setenv(name, value)
            return native_bfloat16(CPU)

    return native


def test_a_processor_has_native_bfloat16_by_its_instructions(processor: Callable[..., bool]) -> None:
    assert processor(["avx2", "avx512_f", "avx512_bf16"])
    assert processor(["avx512_f", "amx_bf16"])
    assert processor(["neon", "bf16"], used="DEFAULT")
    assert not processor(["avx2", "avx512_f"])
    assert not processor(["avx2"], used="AVX2")
    assert not processor(["neon"], used="DEFAULT")
    assert not processor(["neon", "bf16"], used="DEFAULT", onednn=False)
    assert native_bfloat16(CUDA)


def test_the_environment_may_switch_native_bfloat16_off(processor: Callable[..., bool]) -> None:
    has = ["avx2", "avx512_f", "avx512_bf16"]
    assert not processor(has, used="AVX2")  # what ATEN_CPU_CAPABILITY=avx2 does
    assert not processor(has, ONEDNN_MAX_CPU_ISA="AVX2")
    assert not processor(has, ONEDNN_MAX_CPU_ISA="avx512_core")
    assert not processor(has, DNNL_MAX_CPU_ISA="AVX2")
    assert processor(has, ONEDNN_MAX_CPU_ISA="AVX512_CORE_BF16")
    assert processor(has, ONEDNN_MAX_CPU_ISA="DEFAULT")


def test_a_torch_that_lists_no_capabilities_is_asked_for_the_one(
    processor: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    for has in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has: has)
        assert native_bfloat16(CPU) == has
