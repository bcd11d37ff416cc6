"""The stage ``causal`` on a real Llama whose output reads a planted direction, and on one whose output does not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from staged import StagedRuns

from genies.data.options import Reading
from genies.data.reading import read_test
from genies.engine.options import Extraction
from genies.errors import ModelError
from genies.evaluation.table import read_csv
from genies.evaluation.tables.causal import TABLE
from genies.stages.causal import drawn_pairs, write_causal

GOOD, BAD = ("right", "yes", "Yes", "Paris", "Lima", "green"), ("wrong", "no", "No", "Rome", "Cairo", "red")
COLOURS = ("one", "two", "three", "four", "five", "river", "mountain", "blue")
HIDDEN = 32


def write_answers(folder: Path) -> None:
    """Pairs that end with a good or a bad word, after prompts that end with a colon."""
    for split, count, noun in (("train", 24, "city"), ("test", 20, "country")):
        examples = [
            {
                "prompt": f"Tell me about {COLOURS[n % 8]} {COLOURS[n // 8]} {noun} :",
                "responses": {GOOD[n % 6]: 1.0, BAD[(n + n // 6) % 6]: 0.0},
            }
            for n in range(count)
        ]
        (folder / f"{split}.json").write_text(json.dumps(examples))


def plant(folder: Path, read: bool) -> None:
    """Good and bad words differ along a direction. Where it is ``read``, the colon has it and the output follows it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    direction = torch.linalg.qr(torch.randn(HIDDEN, 2, generator=torch.Generator().manual_seed(5)))[0][:, 0]
    words = {name: tokenizer.convert_tokens_to_ids(list(some)) for name, some in (("good", GOOD), ("bad", BAD))}
    with torch.no_grad():
        embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        for weight in (embedding, head):
            weight -= (weight @ direction)[:, None] * direction
        for block in model.model.layers:
            block.self_attn.o_proj.weight *= 0.05
            block.mlp.down_proj.weight *= 0.05
        embedding[words["good"]] += 0.5 * direction
        embedding[words["bad"]] -= 0.5 * direction
        if read:
            embedding[tokenizer.convert_tokens_to_ids(":")] += 0.5 * direction
            head[words["good"]] += direction
            head[words["bad"]] -= direction
    model.save_pretrained(folder)


def tried(root: Path, read: bool, **options: object) -> pl.DataFrame:
    runs = StagedRuns(root)
    write_answers(root / "data/north")
    plant(root / "tiny", read)
    manifest = runs.extract("run", ["plain:inner"])
    given = {"texts": 30, "strengths": [1.0], "draws": 19, "extraction": Extraction(device="cpu"), **options}
    write_causal(
        "north:north", model=root / "results/run/models/tiny.json", train=runs.files("train"), test=runs.files("test"),
        activations=[manifest], cache=runs.cache, output=root, **given,
    )  # fmt: skip
    return read_csv(root / "causal.csv", TABLE.columns)


def test_a_direction_that_the_output_reads_has_effects_beyond_random_ones(tmp_path: Path) -> None:
    found = tried(tmp_path, read=True)
    assert found["change"].to_list() == ["erased", "added"] and found["strength"].to_list() == [None, 1]
    assert found["texts"].to_list() == [30, 30] and found["draws"].to_list() == [19, 19]
    effect = found["effect"].to_list()
    assert effect[0] < 0 < effect[1] and found["lead"][0] > -effect[0] / 2
    assert found["p_adjusted"].to_list() == [0.05, 0.05]
    assert found["effect"][0] < found["random_low"][0] - 5 and found["effect"][1] > found["random_high"][1] + 3
    assert found["high"][0] < 0 < found["low"][1]


def test_a_direction_that_it_does_not_read_has_none(tmp_path: Path) -> None:
    found = tried(tmp_path, read=False)
    assert (found["p"] > 0.05).all() and (found["p_adjusted"] >= found["p"]).all()
    assert (found["effect"].abs() < 0.5).all()


def test_an_effect_that_is_no_number_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tiny, north added 1e\+60 times: .* of north are not finite; lower causal"):
        tried(tmp_path, read=True, strengths=[1e60], texts=4)


def test_pairs_are_drawn_by_their_texts_one_of_an_example(tmp_path: Path) -> None:
    StagedRuns(tmp_path, test=14)
    file = tmp_path / "data/north/test.json"
    split = read_test(file, Reading(), ())
    drawn = drawn_pairs(split, 6, 0)
    chosen = {split.framed.examples[split.pairs[row].example].prompt for row in drawn}
    assert len(drawn) == len(chosen) == 6 and (np.diff(drawn) > 0).all()
    assert len(drawn_pairs(split, 99, 0)) == 14 < len(split.pairs)
    file.write_text(json.dumps(json.loads(file.read_text())[::-1]))
    turned = read_test(file, Reading(), ())
    again = {turned.framed.examples[turned.pairs[row].example].prompt for row in drawn_pairs(turned, 6, 0)}
    assert (
        again == chosen != {turned.framed.examples[turned.pairs[r].example].prompt for r in drawn_pairs(turned, 6, 1)}
    )
