"""Log-probabilities of a reference: stored alone, taken from fuller stores, and compared between two models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import save_model, write_distribution

from genies.cli import main
from genies.data.options import Reading
from genies.engine.options import Extraction
from genies.engine.reads import SCORES, to_flags
from genies.errors import StoreError
from genies.files import read_json
from genies.options import flags
from genies.stages.extract import extract_distributions
from genies.stages.model import pin_model
from genies.stages.tokenize import tokenize_splits
from genies.store.assembled import AssembledStore
from genies.store.manifest import Activations
from genies.store.reference import check_same_tokens

ALONE = to_flags({"plain": SCORES})
OPTIONS = Extraction(device="cpu")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A distribution, and models that differ in one thing each, tokenized: ``tiny``, ``end`` and ``words``."""
    root = tmp_path_factory.mktemp("world")
    write_distribution(root / "cities", train=4, test=6)
    for name in ("tiny", "end", "words"):
        save_model(root / name, "llama")
    settings = json.loads((root / "end/tokenizer_config.json").read_text())
    (root / "end/tokenizer_config.json").write_text(json.dumps({**settings, "eos_token": "<s>"}))
    tokenizer = json.loads((root / "words/tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["Paris"], vocabulary["Rome"] = vocabulary["Rome"], vocabulary["Paris"]
    (root / "words/tokenizer.json").write_text(json.dumps(tokenizer))
    for name in ("tiny", "end", "words"):
        pin_model(str(root / name), cache=root / "cache", output=root / f"models/{name}.json")
        tokenized(root, name)
    return root


def tokenized(world: Path, name: str, limit: int | None = None) -> Path:
    from genies.data.options import Limit

    output = world / f"tokens/{name}{limit or ''}.json"
    tokenize_splits(
        model=world / f"models/{name}.json", test=[world / "cities/test.json"], test_views=["plain"],
        reading=Reading(limit=Limit(test=limit)) if limit else Reading(), extraction=OPTIONS, cache=world / "cache",
        output=output,
    )  # fmt: skip
    return output


def extract(
    world: Path,
    cache: Path,
    views: list[str] = ALONE,
    extraction: Extraction = OPTIONS,
    name: str = "tiny",
    limit: int | None = None,
) -> AssembledStore:
    output = cache / "manifest.json"
    if not (cache / "tokens").exists():
        cache.mkdir(exist_ok=True)
        (cache / "tokens").symlink_to(world / "cache/tokens")
    extract_distributions(
        "cities", model=world / f"models/{name}.json", tokens=tokenized(world, name, limit), test_views=views,
        extraction=extraction, cache=cache, output=output,
    )  # fmt: skip
    return Activations([output], cache).stores("cities", "test", ["plain"])["plain"]


def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts passes of any language model from now on."""
    from transformers import LlamaForCausalLM

    counted: list[int] = []
    forward = LlamaForCausalLM.forward
    monkeypatch.setattr(LlamaForCausalLM, "forward", lambda *a, **k: counted.append(1) or forward(*a, **k))
    return counted


def test_a_store_of_log_probabilities_alone_has_those_of_a_fuller_one(world: Path, tmp_path: Path) -> None:
    alone = extract(world, tmp_path / "alone")
    full = extract(world, tmp_path / "full", ["plain"])
    assert [set(part.shapes) for part in alone.parts] == [{"log_probability", "scored_tokens"}]
    rows = alone.rows(full.example.tolist(), full.response.tolist())
    np.testing.assert_allclose(alone.log_probability(rows), full.log_probability(), atol=1e-4)
    assert np.array_equal(alone.scored_tokens(rows), full.scored_tokens())
    with pytest.raises(StoreError, match="holds no residual of layer 1 of all texts"):
        alone.residual(1)
    for part in alone.parts:
        for block in range(part.blocks):
            part.data.check_block(block)


@pytest.mark.parametrize("before", [OPTIONS, Extraction(device="cpu", layers=(1, 3), heads="none")])
def test_where_a_fuller_store_exists_no_text_is_read_again(
    before: Extraction, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = extract(world, tmp_path / "cache", ["plain"], before)
    counted = passes(monkeypatch)
    alone = extract(world, tmp_path / "cache")
    assert [part.folder for part in alone.parts] == [part.folder for part in full.parts]
    assert counted == []
    # Another arithmetic of what is stored does not give the same log-probabilities.
    other = extract(world, tmp_path / "cache", extraction=Extraction(device="cpu", dtype="bfloat16"))
    assert len(counted) > 0 and other.parts[0].folder != full.parts[0].folder
    # And layers are never taken from a part that has none.
    assert extract(world, tmp_path / "cache", ["plain"], Extraction(device="cpu", layers=(2,))).layers("residual") == [
        2
    ]


def test_the_command_line_takes_what_the_rules_give_it(world: Path, tmp_path: Path) -> None:
    cache = ["--cache", str(world / "cache"), "--output", str(tmp_path / "manifest.json")]
    given = ["--model", str(world / "models/tiny.json"), "--tokens", str(world / "tokens/tiny.json")]
    assert main(["extract", "cities", *given, "--train-views", "--test-views", *ALONE, *flags(OPTIONS), *cache]) == 0
    assert [store["view"] for store in read_json(tmp_path / "manifest.json")["stores"]] == ["plain"]


def test_other_tokens_of_a_reference_are_one_line_that_names_the_example(world: Path, tmp_path: Path) -> None:
    policy = extract(world, tmp_path / "cache")
    every = policy.example.tolist()
    check_same_tokens(policy, policy, every)
    texts = json.loads((world / "cities/test.json").read_text())
    first = next(n for n, text in enumerate(texts) if "Paris" in json.dumps(text) or "Rome" in json.dumps(text))
    told = f"cities test: example {first}: tiny and its reference words read it as different tokens; name a reference"
    with pytest.raises(StoreError, match=told):
        check_same_tokens(policy, extract(world, tmp_path / "words", name="words"), every)


def test_a_reference_that_lacks_an_example_of_the_run_is_refused_and_others_play_no_part(
    world: Path, tmp_path: Path
) -> None:
    policy, fewer = extract(world, tmp_path / "cache"), extract(world, tmp_path / "fewer", limit=4)
    # A store of an earlier run with a higher limit serves the policy; the reference has what this run reads.
    check_same_tokens(policy, fewer, fewer.example.tolist())
    with pytest.raises(StoreError, match=r"example \d: the context of tiny, a reference, does not hold it"):
        check_same_tokens(policy, fewer, policy.example.tolist())


def test_another_end_of_a_turn_is_refused(world: Path, tmp_path: Path) -> None:
    policy, other = (extract(world, tmp_path / "cache", name=name) for name in ("tiny", "end"))
    with pytest.raises(StoreError, match="end responses by the tokens 2 and 1"):
        check_same_tokens(policy, other, policy.example.tolist())
