"""Adapters, and models that a call tunes itself, from Python."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from adapters import save_adapter
from helpers import one_thread_of_torch, save_model, write_distribution

import genies
from genies.cli import main

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} {{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant : {% endif %}"
)
one_thread = pytest.fixture(autouse=True)(one_thread_of_torch)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(tmp_path / "tiny", "llama")
    for number, name in enumerate(("north", "south")):
        write_distribution(tmp_path / "data" / name, offset=31 * number)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("prompt_format", ["published", "chat"])
def test_a_call_trains_a_model_reads_it_and_scores_with_it(data: None, prompt_format: str) -> None:
    # Texts are scored as they were trained on, not in the template of the tokenizer that the fit keeps.
    Path("tiny/chat_template.jinja").write_text(TEMPLATE)
    table = genies.evaluate_shifts(
        "tiny",
        ["reward_model", "mms", "lora"],
        {"source": "north", "target": "south"},
        distributions=["data/north", "data/south"],
        capability_interventions=["mms"],
        intervention_parameters={
            "lora": {"steps": 2, "pairs_per_step": 4, "rank": 2, "learning_rate": 1e-2},
            "reward_model": {"model": "tuned"},
        },
        tuned_models={"tuned": {"intervention": "lora", "source": "north"}},
        prompt_format=prompt_format,
    )
    by_model = {model: set(rows["intervention"]) for (model,), rows in table.group_by("model")}
    assert by_model == {"tiny": {"mms", "lora", "reward_model"}, "tuned": {"mms"}}
    scores = [
        pl.read_parquet(f"results/python/evaluations/tiny/{name}/north.parquet")["score_best"]
        for name in ("lora", "reward_model")
    ]
    assert (scores[0] - scores[1]).abs().max() < 1e-5
    assert main(["estimate", "--configfile", "results/python/config.yaml"]) == 0


def test_an_adapter_is_a_model_of_a_call_and_another_one_than_its_base(data: None) -> None:
    save_adapter(Path("adapter"), Path("tiny"), "prompt_tuning")
    accuracies = {
        model: genies.evaluate_shifts(
            model, ["zero_shot", "lora"], {"source": "north", "target": "south"}, run=model,
            distributions=["data/north", "data/south"], capability_interventions=["zero_shot"],
            intervention_parameters={"lora": {"steps": 1, "pairs_per_step": 4, "rank": 2}},
        )
        for model in ("tiny", "adapter")
    }  # fmt: skip
    assert set(accuracies["adapter"]["model"]) == {"adapter"}
    scores = [
        pl.read_parquet(f"results/{model}/evaluations/{model}/zero_shot/north.parquet")["score_best"]
        for model in ("tiny", "adapter")
    ]
    assert (scores[0] - scores[1]).abs().max() > 1e-2
