from __future__ import annotations

import json
from pathlib import Path

import pytest

from genies.data.demo_model import BEGIN, END, ROW, UNKNOWN, build_tokenizer, make_batches, train_demo_model
from genies.data.demo_world import make_world
from genies.data.views import VIEWS
from genies.errors import DataError

STEPS = 3


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    make_world(folder, seed=0)
    lines = (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    short = folder / "short.jsonl"
    short.write_text("\n".join(lines[:200] + lines[-200:]) + "\n", encoding="utf-8")
    return short


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "model"
    train_demo_model(corpus, folder, seed=0, steps=STEPS)
    return folder


def test_the_model_and_its_tokenizer_load(trained: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(trained)
    model = AutoModelForCausalLM.from_pretrained(trained)
    assert model.config.max_position_embeddings >= 512
    tokens = tokenizer("They export wool.", return_tensors="pt")["input_ids"]
    assert tokens[0, 0] == model.config.bos_token_id == tokenizer.bos_token_id
    assert torch.isfinite(model(tokens).logits).all()


def test_only_safetensors_and_json_are_written_and_nothing_is_left_beside(trained: Path) -> None:
    assert {path.suffix for path in trained.iterdir()} == {".json", ".safetensors"}
    assert [path.name for path in trained.parent.iterdir()] == ["model"]


def test_a_seed_gives_the_same_weights_again_and_another_seed_others(
    corpus: Path, trained: Path, tmp_path: Path
) -> None:
    train_demo_model(corpus, tmp_path / "same", seed=0, steps=STEPS)
    train_demo_model(corpus, tmp_path / "other", seed=1, steps=STEPS)
    weights = (trained / "model.safetensors").read_bytes()
    assert (tmp_path / "same" / "model.safetensors").read_bytes() == weights
    assert (tmp_path / "other" / "model.safetensors").read_bytes() != weights


def test_training_leaves_the_callers_random_numbers_alone(corpus: Path, tmp_path: Path) -> None:
    import torch

    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    train_demo_model(corpus, tmp_path / "model", seed=0, steps=1)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_loss_of_each_step_is_logged_and_falls(trained: Path, corpus: Path, tmp_path: Path) -> None:
    assert len(json.loads((trained / "training_log.json").read_text(encoding="utf-8"))["loss"]) == STEPS
    train_demo_model(corpus, tmp_path / "longer", seed=0, steps=8)
    losses = json.loads((tmp_path / "longer" / "training_log.json").read_text(encoding="utf-8"))["loss"]
    assert losses[-1] < losses[0]


def test_a_text_is_split_the_same_way_whether_or_not_a_response_follows() -> None:
    prompt, response = "What does Bo export?\n", "They export wool."
    tokenizer = build_tokenizer([prompt, response])
    alone, both = tokenizer(prompt)["input_ids"], tokenizer(prompt + response)["input_ids"]
    assert both[: len(alone)] == alone
    assert both == [*alone, *tokenizer(response, add_special_tokens=False)["input_ids"]]


def test_every_word_of_the_views_is_known_and_other_words_are_not() -> None:
    tokenizer = build_tokenizer(["They export wool."])
    for view in VIEWS.values():
        assert tokenizer.unk_token_id not in tokenizer(view.text("", "They export wool."))["input_ids"]
    assert tokenizer.tokenize("They export\n\nsnow") == ["They", "export", "\n", "\n", UNKNOWN]
    assert tokenizer.convert_tokens_to_ids([BEGIN, END, UNKNOWN]) == [0, 1, 2]


def test_batches_hold_each_document_once_whole_and_in_a_row_of_its_own_positions() -> None:
    documents = [[number + 3] * length for number, length in enumerate((100, 60, 60, ROW, 5, 20))]
    seen = {}
    for batch in make_batches(documents, 2 * ROW):
        assert batch.tokens.shape == (2, ROW)
        for number in set(batch.document.ravel().tolist()) - {-1}:
            here = batch.document == number
            assert number not in seen
            assert here.any(axis=1).sum() == 1
            assert batch.position[here].tolist() == list(range(here.sum()))
            seen[number] = batch.tokens[here].tolist()
    assert [seen[number] for number in range(len(documents))] == documents


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"text": "They export wool."}\n{"words": 1}\n', encoding="utf-8")
    with pytest.raises(DataError, match="line 2"):
        train_demo_model(path, tmp_path / "model", seed=0)


def test_a_document_that_fits_no_row_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text(json.dumps({"text": "wool " * (ROW + 1)}) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 1"):
        train_demo_model(path, tmp_path / "model", seed=0)
    assert not (tmp_path / "model").exists()
