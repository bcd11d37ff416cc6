"""Passes in which a direction is erased or a vector added: packed ones against separate passes of transformers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import save_model

from genies.engine.decoder import Decoder
from genies.engine.leads import LeadReader
from genies.engine.scoring import TextGroup
from genies.engine.steering import added, erased
from genies.errors import ModelError

EOS, HIDDEN, LAYER = 2, 32, 1
PARTS = {
    "llama": ("model.embed_tokens", "model.layers", "self_attn.o_proj"),
    "gemma2": ("model.embed_tokens", "model.layers", "self_attn.o_proj"),
    "gpt_neox": ("gpt_neox.embed_in", "gpt_neox.layers", "attention.dense"),
}
"""By family: the embedding, the blocks, and within a block the module whose output attention adds."""
TOLERANCE = 1e-4


def pairs(count: int, seed: int = 0) -> list[TextGroup]:
    """Two responses each, of different lengths, to prompts of different lengths."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        prompt = rng.integers(3, 60, rng.integers(4, 20))
        texts = tuple(
            np.concatenate([prompt, rng.integers(3, 60, rng.integers(1, 9))]).astype(np.int32) for _ in range(2)
        )
        found.append(TextGroup(texts, (len(prompt), len(prompt))))
    return found


def leads(reader: LeadReader, groups: list[TextGroup]) -> np.ndarray:
    found = np.full(len(groups), np.nan)
    for members, values in reader.prepared(groups)():
        found[members] = values
    return found


@contextmanager
def changed_outputs(model: torch.nn.Module, names: list[str], change) -> Iterator[None]:
    """Hooks of their own: they change what modules of these names give, not what blocks are given."""
    modules = dict(model.named_modules())
    with ExitStack() as stack:
        for name in names:
            handle = modules[name].register_forward_hook(
                lambda _m, _a, out: (change(out[0]), *out[1:]) if isinstance(out, tuple) else change(out)
            )
            stack.callback(handle.remove)
        yield


@torch.inference_mode()
def expected(model: torch.nn.Module, groups: list[TextGroup]) -> np.ndarray:
    """Leads from an ordinary pass of transformers for every text."""
    found = []
    for group in groups:
        scores = []
        for ids, start in zip(group.tokens, group.score_from, strict=True):
            after = model(torch.as_tensor(ids[None].astype(np.int64))).logits[0].double().log_softmax(-1).numpy()
            scores.append(sum(after[start - 1 + n, token] for n, token in enumerate([*ids[start:], EOS])))
        found.append(scores[0] - scores[1])
    return np.array(found)


@pytest.mark.parametrize("family", PARTS)
def test_packed_passes_with_a_change_equal_separate_ones_of_transformers_with_other_hooks(
    family: str, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    folder, groups = save_model(tmp_path / family, family), pairs(6)
    reader = LeadReader(Decoder.load(folder, "float32", "cpu", "sdpa" if family != "gemma2" else "eager"), EOS, 200)
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    rng = np.random.default_rng(1)
    direction, vector = 7 * rng.standard_normal(HIDDEN), 3 * rng.standard_normal(HIDDEN)
    unit, term = (torch.as_tensor(v, dtype=torch.float32) for v in (direction / np.linalg.norm(direction), vector))
    embedding, blocks, attention = PARTS[family]
    every = [embedding, *(f"{blocks}.{n}" for n in range(3)), *(f"{blocks}.{n}.{attention}" for n in range(3))]

    untouched = leads(reader, groups)
    np.testing.assert_allclose(untouched, expected(model, groups), rtol=0, atol=TOLERANCE)
    with erased(reader.decoder, direction):
        found = leads(reader, groups)
    with changed_outputs(model, every, lambda hidden: hidden - (hidden @ unit)[..., None] * unit):
        want = expected(model, groups)
    np.testing.assert_allclose(found, want, rtol=0, atol=TOLERANCE)
    assert np.abs(found - untouched).max() > 100 * TOLERANCE

    with added(reader.decoder, vector, LAYER):
        found = leads(reader, groups)
    with changed_outputs(model, [f"{blocks}.{LAYER - 1}"], lambda hidden: hidden + term):
        want = expected(model, groups)
    np.testing.assert_allclose(found, want, rtol=0, atol=TOLERANCE)
    assert np.abs(found - untouched).max() > 100 * TOLERANCE
    np.testing.assert_array_equal(leads(reader, groups), untouched)


def test_an_erased_direction_is_nowhere_and_hooks_are_gone_after_an_error(model_folders: dict[str, Path]) -> None:
    from genies.engine.scoring import lay_out

    decoder = Decoder.load(model_folders["llama"], "float32", "cpu", "sdpa")
    direction = np.random.default_rng(2).standard_normal(HIDDEN)
    ((_, batch),) = lay_out(pairs(1), 1000, EOS, True)
    with erased(decoder, direction):
        features = decoder.read(batch)
    inner = features.residual[:, :-1].numpy()
    assert np.abs(inner @ direction).max() < 1e-4 * np.linalg.norm(direction) * np.linalg.norm(inner, axis=-1).max()
    before = decoder.read(batch).log_probability
    with (
        pytest.raises(ValueError, match="no block reads layer 3; the last that one does is 2"),
        added(decoder, direction, 3),
    ):
        pass
    with pytest.raises(RuntimeError), erased(decoder, direction):
        raise RuntimeError
    some = Decoder.load(model_folders["llama"], "float32", "cpu", "sdpa", layers=[1])
    with pytest.raises(ValueError, match="load the model with all layers and heads"), erased(some, direction):
        pass
    with erased(decoder, np.zeros(HIDDEN)), added(decoder, np.zeros(HIDDEN), 0):
        assert torch.equal(decoder.read(batch).log_probability, before)


@pytest.mark.parametrize(
    ("family", "norm"),
    [("llama", "post_attention_layernorm"), *((f, "pre_feedforward_layernorm") for f in ("gemma2", "gemma3_text"))],
)
def test_an_erased_direction_is_not_in_what_follows_attention_either(family: str, norm: str, tmp_path: Path) -> None:
    """Some families put a norm behind attention; its weights, here as unlike as trained ones, turn directions."""
    from genies.engine.scoring import lay_out

    decoder = Decoder.load(save_model(tmp_path / family, family), "float32", "cpu", "eager")
    torch.manual_seed(0)
    for name, weights in decoder.blocks.named_parameters():
        if "norm" in name:
            weights.data = torch.randn_like(weights)
    direction = np.random.default_rng(4).standard_normal(HIDDEN)
    unit, shares = torch.as_tensor(direction / np.linalg.norm(direction), dtype=torch.float32), []
    for block in decoder.blocks:
        block.get_submodule(norm).register_forward_pre_hook(
            lambda _, args: shares.append(float((args[0] @ unit).norm() / args[0].norm()))
        )
    ((_, batch),) = lay_out(pairs(1), 1000, EOS, True)
    decoder.read(batch)
    with erased(decoder, direction):
        decoder.read(batch)
    assert len(shares) == 6 and min(shares[:3]) > 0.05 and max(shares[3:]) < 1e-5


def test_rows_of_one_text_each_are_changed_alike(model_folders: dict[str, Path], monkeypatch) -> None:
    groups, direction = pairs(5), np.random.default_rng(3).standard_normal(HIDDEN)
    reader = LeadReader(Decoder.load(model_folders["llama"], "float32", "cpu", "sdpa"), EOS, 120)
    with erased(reader.decoder, direction):
        packed = leads(reader, groups)
    monkeypatch.setattr("genies.engine.scoring.Scorer.may_pack", lambda *_: False)
    monkeypatch.setattr(Decoder, "read", lambda *_: 1 / 0)
    with erased(reader.decoder, direction):
        separate = leads(reader, groups)
    np.testing.assert_allclose(separate, packed, rtol=0, atol=TOLERANCE)


def test_a_pass_that_memory_does_not_hold_names_the_remedy(model_folders: dict[str, Path], monkeypatch) -> None:
    reader = LeadReader(Decoder.load(model_folders["llama"], "float32", "cpu", "sdpa"), EOS, 120)
    passes = reader.prepared(pairs(2))

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Decoder, "read", full)
    with pytest.raises(ModelError, match="lower extraction.batch_tokens"):
        [*passes()]
