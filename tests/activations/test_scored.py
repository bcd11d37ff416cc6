"""Log-probabilities alone: stored without layers, taken from fuller stores, and compared between two models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import save_model, write_distribution

from genies.cli import main
from genies.data.options import Reading
from genies.engine.options import Extraction
from genies.engine.tokens import Tokens
from genies.errors import StoreError
from genies.files import read_json
from genies.stages.extract import extract_distributions
from genies.stages.model import pin_model
from genies.stages.tokenize import tokenize_splits
from genies.store.activations import ActivationStore
from genies.store.reference import check_same_tokens
from genies.store.tokens import read_attributes, read_tokens, tokens_path, write_tokens

SCORES = Extraction(device="cpu").of_scores


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and one with another end of a turn; a distribution; both tokenized."""
    root = tmp_path_factory.mktemp("world")
    write_distribution(root / "cities", train=4, test=6)
    save_model(root / "tiny", "llama")
    save_model(root / "other", "llama")
    settings = json.loads((root / "other/tokenizer_config.json").read_text())
    (root / "other/tokenizer_config.json").write_text(json.dumps({**settings, "eos_token": "<s>"}))
    for name in ("tiny", "other"):
        pin_model(str(root / name), cache=root / "cache", output=root / f"models/{name}.json")
        tokenize_splits(
            model=root / f"models/{name}.json", test=[root / "cities/test.json"], test_views=["plain"],
            reading=Reading(), extraction=SCORES, cache=root / "cache", output=root / f"tokens/{name}.json",
        )  # fmt: skip
    return root


def extract(world: Path, cache: Path, extraction: Extraction, name: str = "tiny") -> ActivationStore:
    output = cache / "manifest.json"
    if not (cache / "tokens").exists():
        cache.mkdir(exist_ok=True)
        (cache / "tokens").symlink_to(world / "cache/tokens")
    extract_distributions(
        "cities", model=world / f"models/{name}.json", tokens=world / f"tokens/{name}.json", test_views=["plain"],
        extraction=extraction, cache=cache, output=output,
    )  # fmt: skip
    (store,) = read_json(output)["stores"]
    return ActivationStore(cache / "activations" / store["digest"])


def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts passes of any language model from now on."""
    from transformers import LlamaForCausalLM

    counted: list[int] = []
    forward = LlamaForCausalLM.forward
    monkeypatch.setattr(LlamaForCausalLM, "forward", lambda *a, **k: counted.append(1) or forward(*a, **k))
    return counted


def test_a_store_of_log_probabilities_alone_has_those_of_a_fuller_one(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = passes(monkeypatch)
    alone = extract(world, tmp_path / "alone", SCORES)
    full = extract(world, tmp_path / "full", Extraction(device="cpu"))
    assert len(counted) > 0 and set(alone.shapes) == {"log_probability", "scored_tokens"}
    rows = alone.rows(full.example.tolist(), full.response.tolist())
    np.testing.assert_allclose(alone.log_probability()[rows], full.log_probability(), atol=1e-4)
    assert np.array_equal(alone.scored_tokens()[rows], full.scored_tokens())
    with pytest.raises(StoreError, match="holds log-probabilities alone; add the layers"):
        alone.residual(1)
    for block in range(alone.blocks):
        alone.check_block(block)


@pytest.mark.parametrize("before", [Extraction(device="cpu"), Extraction(device="cpu", layers=(1, 3), heads="none")])
def test_where_a_fuller_store_exists_no_text_is_read_again(
    before: Extraction, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = extract(world, tmp_path / "cache", before)
    counted = passes(monkeypatch)
    assert extract(world, tmp_path / "cache", SCORES).folder == full.folder
    assert counted == []
    # Other weights, or another arithmetic of what is stored, are not the same log-probabilities.
    other = extract(world, tmp_path / "cache", Extraction(device="cpu", dtype="bfloat16").of_scores)
    assert len(counted) > 0 and other.folder != full.folder
    # And layers are never taken from a store that has none.
    assert extract(world, tmp_path / "cache", Extraction(device="cpu", layers=(2,))).layers("residual") == [2]


def test_the_command_line_takes_what_the_rules_give_it(world: Path, tmp_path: Path) -> None:
    from genies.options import flags

    cache = ["--cache", str(world / "cache"), "--output", str(tmp_path / "manifest.json")]
    given = ["--model", str(world / "models/tiny.json"), "--tokens", str(world / "tokens/tiny.json")]
    assert main(["extract", "cities", *given, "--test-views", "plain", *flags(SCORES), *cache]) == 0
    assert read_json(tmp_path / "manifest.json")["options"]["layers"] == "none"


def test_other_tokens_of_a_reference_are_one_line_that_names_the_text(world: Path, tmp_path: Path) -> None:
    policy = extract(world, tmp_path / "cache", SCORES)
    known = tokens_path(world / "cache", policy.description["digest"]["tokens"])
    tokens = read_tokens(known)

    def refers_to(changed: Tokens, name: str) -> None:
        write_tokens(tokens_path(world / "cache", name), changed, read_attributes(known))
        other = ActivationStore(policy.folder)
        other.description = {
            **other.description,
            "model": "ref",
            "digest": {**policy.description["digest"], "tokens": name},
        }
        check_same_tokens(policy, other, world / "cache")

    check_same_tokens(policy, policy, world / "cache")
    refers_to(tokens, "same")  # as of a tokenizer whose files are others
    ids = tokens.ids.copy()
    ids[tokens.offsets[3] + 2] += 1
    text = f"example {tokens.example[3]}, response {tokens.response[3]}"
    told = f"cities test: {text}: tiny and its reference ref read it as different tokens"
    with pytest.raises(StoreError, match=told):
        refers_to(Tokens(**{**vars(tokens), "ids": ids}), "ids")
    begins = tokens.prompt_tokens.copy()
    begins[3] -= 1
    with pytest.raises(StoreError, match=told):
        refers_to(Tokens(**{**vars(tokens), "prompt_tokens": begins}), "begins")
    from genies.engine.tokens import select_tokens

    with pytest.raises(StoreError, match="the context of ref, a reference, does not hold it"):
        refers_to(select_tokens(tokens, list(range(1, len(tokens)))), "fewer")


def test_another_end_of_a_turn_is_refused(world: Path, tmp_path: Path) -> None:
    policy, other = (extract(world, tmp_path / "cache", SCORES, name) for name in ("tiny", "other"))
    with pytest.raises(StoreError, match="end responses by the tokens 2 and 1"):
        check_same_tokens(policy, other, world / "cache")
