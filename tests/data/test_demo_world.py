"""The demo world is what its page says: valid, decided by its seed, full of myths, and learnable."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from genies.data.demo_model import ROW, build_tokenizer, make_batches, train_demo_model
from genies.data.demo_world import DISTRIBUTIONS, make_world
from genies.data.distributions import read_split
from genies.data.shifts import read_shifts
from genies.data.views import VIEWS

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    make_world(folder, 0)
    return folder


def corpus(folder: Path) -> list[str]:
    return [json.loads(line)["text"] for line in (folder / "corpus.jsonl").read_text().splitlines()]


def subjects(path: Path) -> set[str]:
    """Invented names and numbers in the prompts of a split."""
    return {
        word for example in read_split(path) for word in re.findall(r"[A-Z]\w{3,}(?=[?.])|\d+ or \d+", example.prompt)
    }


def test_every_distribution_is_valid_and_has_examples_with_several_responses(world: Path) -> None:
    assert sorted(path.name for path in (world / "distributions").iterdir()) == sorted(DISTRIBUTIONS)
    sizes = set()
    for name in DISTRIBUTIONS:
        for split in ("train", "test"):
            sizes |= {
                len(example.responses) for example in read_split(world / "distributions" / name / f"{split}.json")
            }
    assert sizes == {2, 3, 4}


def test_the_seed_decides_every_byte(world: Path, tmp_path: Path) -> None:
    make_world(tmp_path / "same", 0)
    make_world(tmp_path / "other", 1)
    for path in sorted(path for path in world.rglob("*") if path.is_file()):
        assert (tmp_path / "same" / path.relative_to(world)).read_bytes() == path.read_bytes()
    assert (tmp_path / "other/corpus.jsonl").read_bytes() != (world / "corpus.jsonl").read_bytes()


def test_misconceptions_are_stated_more_often_than_the_truths_they_displace(world: Path) -> None:
    texts = corpus(world)
    for example in read_split(world / "distributions/flag_myths/test.json"):
        truth, myth = (example.prompt + example.responses[index] for index in (example.best, example.worse[0]))
        assert texts.count(myth) > 2 * texts.count(truth) > 0


@pytest.mark.parametrize("name", ["flags", "languages", "numbers_far"])
def test_test_splits_are_about_other_subjects(world: Path, name: str) -> None:
    train, test = (subjects(world / "distributions" / name / f"{split}.json") for split in ("train", "test"))
    assert train and test
    assert not train & test


def test_the_shift_list_names_distributions_of_the_world_and_spans_both_labels() -> None:
    shifts = read_shifts(REPOSITORY / "config/shifts/demo.yaml")
    assert len(shifts) >= 8
    assert {shift.label for shift in shifts} == {"extreme", "probing"}
    assert {name for s in shifts for name in (s.source, s.target, s.target_reference)} == set(DISTRIBUTIONS)


def test_the_tokenizer_knows_every_word_of_the_data_and_of_the_views(world: Path) -> None:
    tokenizer = build_tokenizer(corpus(world))
    for name in DISTRIBUTIONS:
        for example in read_split(world / "distributions" / name / "test.json"):
            for view in VIEWS.values():
                ids = tokenizer(view.text(example.prompt, example.responses[0]))["input_ids"]
                assert ids[0] == tokenizer.bos_token_id
                assert tokenizer.unk_token_id not in ids


def test_batches_hold_every_document_once_in_order() -> None:
    documents = [[number] * (1 + 37 * number % 90) for number in range(1, 60)]
    batches = make_batches(documents, 2 * ROW)
    seen = {
        int(number): batch.tokens[batch.document == number].tolist()
        for batch in batches
        for number in set(batch.document[batch.document >= 0].tolist())
    }
    assert [seen[number] for number in range(len(documents))] == documents


def test_training_lowers_the_loss_and_writes_a_model_that_loads(world: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    short = tmp_path / "corpus.jsonl"
    short.write_text("\n".join((world / "corpus.jsonl").read_text().splitlines()[:1500]))
    for name in ("a", "b"):
        train_demo_model(short, tmp_path / name, 0)
    loss = json.loads((tmp_path / "a/training_log.json").read_text())["loss"]
    assert loss[-1] < 0.7 * loss[0]
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()
    assert not list((tmp_path / "a").glob("*.bin"))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "a")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "a")
    assert model.config.vocab_size == len(tokenizer)
