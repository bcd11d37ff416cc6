"""Where rotary positions depend on the longest text of a pass, features of a text do not depend on its company."""

from __future__ import annotations

import copy
import logging
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import save_tokenizer

from genies.engine.classifier import RewardReader, load_classifier
from genies.engine.decoder import Decoder
from genies.engine.features import Features
from genies.engine.forest import Batch, build_forest, build_tree, pack
from genies.engine.positions import alike_up_to
from genies.engine.scoring import Scorer, TextGroup
from genies.engine.self_test import SelfTests, check_packing
from genies.engine.tokens import Tokens

EOS, LIMIT = 2, 24
LENGTHS = (40, 9, 24, 31, 25, 12, 33, 40)
"""Tokens of texts on both sides of ``LIMIT``; longer ones come before shorter ones, which a model might remember."""
KINDS = ("longrope", "dynamic", "dynamic by layer")


def save_stretched(folder: Path, kind: str) -> Path:
    """Write a random model whose context is stretched beyond ``LIMIT`` tokens."""
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes: dict[str, Any] = {
        "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 48, "bos_token_id": 1, "eos_token_id": EOS,
        "pad_token_id": 0, "initializer_range": 0.4,
    }  # fmt: skip
    dynamic = {"rope_type": "dynamic", "factor": 8.0, "rope_theta": 10000.0}
    if kind == "longrope":
        factors = {"short_factor": [1.0] * 4, "long_factor": [1.5, 3.0, 6.0, 9.0]}
        sizes |= {"max_position_embeddings": 96, "original_max_position_embeddings": LIMIT}
        config = AutoConfig.for_model(
            "phi3", **sizes, rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, **factors}
        )
    elif kind == "dynamic":
        config = AutoConfig.for_model("llama", **sizes, max_position_embeddings=LIMIT, rope_parameters=dynamic)
    else:
        rope = {"full_attention": dynamic, "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}
        config = AutoConfig.for_model(
            "gemma3_text", **sizes, head_dim=8, max_position_embeddings=LIMIT, sliding_window=64,
            layer_types=["full_attention", "sliding_attention"], rope_parameters=rope,
        )  # fmt: skip
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_stretched(tmp_path_factory.mktemp("stretched"), request.param)


def texts_of(lengths: tuple[int, ...] = LENGTHS, root: int = 4) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.concatenate([np.arange(5, 5 + root), rng.integers(3, 64, n - root)]).astype(np.int32) for n in lengths]


@cache
def _as_loaded(folder: Path) -> Decoder:
    return Decoder.load(folder, "float32", "cpu", "sdpa")


def loaded(folder: Path) -> Decoder:
    """A decoder that has read nothing yet."""
    return copy.deepcopy(_as_loaded(folder))


def alone(folder: Path, text: np.ndarray) -> Features:
    """Features of a text in a pass of its own, by a model that has read nothing before."""
    tree = build_tree([text], [3], EOS)
    return loaded(folder).read_separately(pack(Batch(len(tree), ((0,),)), [tree]))


def same(features: Features, wanted: list[Features]) -> None:
    """Whether vectors are the same but for rounding, which goes with the length of a vector, up to 86 here."""
    for name in ("residual", "heads", "log_probability"):
        found, own = getattr(features, name), torch.cat([getattr(one, name) for one in wanted])
        if name == "log_probability":
            found, own = found[:, None], own[:, None]
        assert float(((found - own).norm(dim=-1) / own.norm(dim=-1)).max()) < 2e-5, name


def test_a_models_own_pass_mixes_texts_of_different_lengths(folder: Path) -> None:
    """What the others guard against: should transformers mend it, they are not needed any more."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    short, long = (torch.as_tensor(text[None], dtype=torch.int64) for text in texts_of((12, 40)))
    padded = torch.nn.functional.pad(short, (0, 28))
    mask = torch.cat([(torch.arange(40) < 12)[None], torch.ones(1, 40, dtype=torch.bool)]).long()
    with torch.inference_mode():
        before = model(short).logits[0]
        after = model(torch.cat([padded, long]), attention_mask=mask).logits[0, :12]
    assert float((before - after).norm() / before.norm()) > 1e-3


def test_texts_of_different_lengths_in_one_batch_are_read_as_each_by_itself(folder: Path) -> None:
    texts, decoder = texts_of(), loaded(folder)
    trees = [build_tree([text], [3], EOS) for text in texts]
    batch = pack(Batch(max(LENGTHS), tuple((row,) for row in range(len(trees)))), trees)
    same(decoder.read_separately(batch), [alone(folder, text) for text in texts])
    for text in texts:  # what was read before plays no part
        tree = build_tree([text], [3], EOS)
        same(decoder.read_separately(pack(Batch(len(tree), ((0,),)), [tree])), [alone(folder, text)])


@pytest.mark.parametrize(("longest", "packed"), [(LIMIT, True), (LIMIT + 1, False)])
def test_a_split_is_packed_only_where_all_its_texts_are_embedded_alike(
    longest: int, packed: bool, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        decoder = Decoder.load(folder, "float32", "cpu", "sdpa")
    assert f"beyond {LIMIT} tokens" in caplog.text
    texts = texts_of((longest, 9, 12, 12))
    tokens = Tokens(
        np.concatenate(texts), np.cumsum([0, *map(len, texts)]), np.full(4, 3, np.int32), np.zeros(4, bool),
        np.array([0, 0, 1, 1], np.int32), np.array([0, 1, 0, 1], np.int32),
    )  # fmt: skip
    check = SelfTests().check(decoder, {"plain": tokens}, build_forest({"plain": tokens}, EOS), EOS, whole=True)
    assert check.packed is packed
    assert packed or "longest text of a pass" in check.reason
    assert check_packing(decoder, {"plain": tokens}, build_forest({"plain": tokens}, EOS), EOS).packed is packed


def scorer(decoder: Decoder) -> Scorer:
    from genies.engine.scoring import Reading

    def reading(features: Features) -> Reading:
        return Reading(features.log_probability, features.residual[:, -1])

    def read_after(tokens: np.ndarray) -> Any:
        past = decoder.remember(tokens)
        return lambda batch: reading(decoder.read(batch, past))

    return Scorer(
        lambda batch, packed: reading(decoder.read(batch) if packed else decoder.read_separately(batch)),
        EOS, 4096, torch.float32, read_after=read_after,
    )  # fmt: skip


@pytest.mark.parametrize("neighbours", [(), (40,), (9,), (40, 40, 9, 25)])
def test_scores_after_shared_shots_do_not_depend_on_the_neighbours(folder: Path, neighbours: tuple[int, ...]) -> None:
    own = texts_of((12, 12, 20, 33))
    groups = [TextGroup((first, second), (8, 8), own[0][:4]) for first, second in ((own[0], own[1]), (own[2], own[3]))]
    others = [TextGroup((text,), (8,), own[0][:4]) for text in texts_of(neighbours)] if neighbours else []
    decoder = loaded(folder)
    read = scorer(decoder)
    wanted = [float(alone_score(folder, text)) for group in groups for text in group.tokens]
    for order in ([*others, *groups], groups):
        scores = read.scores(order, "")[-4:]
        np.testing.assert_allclose(scores, wanted, rtol=1e-4, atol=1e-4)


def alone_score(folder: Path, text: np.ndarray) -> float:
    tree = build_tree([text], [8], EOS)
    return float(loaded(folder).read_separately(pack(Batch(len(tree), ((0,),)), [tree])).log_probability[0])


def test_rewards_of_texts_of_different_lengths_are_those_of_each_by_itself(folder: Path) -> None:
    torch.manual_seed(1)
    model, _ = load_classifier(folder, torch.float32, torch.device("cpu"), "sdpa")
    reader = RewardReader(model, torch.float32)
    groups = [TextGroup((text,), (None,)) for text in texts_of()]
    read = Scorer(reader, EOS, 4096, torch.float32)
    with torch.inference_mode():
        single = [
            float(reader(pack(Batch(len(g.tokens[0]), ((0,),)), [build_tree(g.tokens, (None,), EOS)]), False).scores)
            for g in sorted(groups, key=lambda g: g.longest)
        ]
    order = np.argsort([g.longest for g in groups], kind="stable")
    np.testing.assert_allclose(read.scores(groups, "")[order], single, rtol=1e-4, atol=1e-5)


def test_where_positions_are_embedded_alike_whatever_is_read_there_is_no_bound(model_folders: dict[str, Path]) -> None:
    from transformers import AutoConfig

    assert all(alike_up_to(AutoConfig.from_pretrained(path)) is None for path in model_folders.values())
