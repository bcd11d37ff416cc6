"""implicit_reward through the real workflow: rewards as transformers alone gives them, and no needless pass."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F
from helpers import save_model
from project import Project

BETA = 0.3
TO_TABLES = ("--until", "metrics")


def save_policy(folder: Path, noise: float = 0.02) -> Path:
    """A model with the tokenizer of ``save_model``'s Llama and weights a little off its, as a tuned one has."""
    from transformers import AutoModelForCausalLM

    save_model(folder, "llama")
    model = AutoModelForCausalLM.from_pretrained(folder)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight += noise * torch.randn_like(weight)
    model.save_pretrained(folder)
    return folder


@cache
def loaded(folder: Path) -> tuple[Any, Any]:
    """Tokenizer and model, by transformers."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    return AutoTokenizer.from_pretrained(folder), model


def dpo_rewards(policy: Path, reference: Path, prompt: str, response: str) -> float:
    """β (log π − log π_ref) of one response by the arithmetic of TRL's ``DPOTrainer``, with transformers alone.

    As there, prompt and completion are tokenized, EOS ends the completion, logits are shifted against labels, tokens of
    the prompt are masked, and the log-probabilities of the others are summed.
    """
    tokenizer, _ = loaded(policy)
    prompt_ids = tokenizer(prompt)["input_ids"]
    ids = tokenizer(prompt + response)["input_ids"] + [tokenizer.eos_token_id]
    assert ids[: len(prompt_ids)] == prompt_ids
    labels = torch.tensor(ids)
    mask = torch.arange(len(ids)) >= len(prompt_ids)
    sums = []
    for folder in (policy, reference):
        with torch.no_grad():
            logits = loaded(folder)[1](labels[None]).logits[0].float()
        per_token = torch.gather(F.log_softmax(logits[:-1], dim=-1), 1, labels[1:, None])[:, 0]
        sums.append(float((per_token * mask[1:]).sum()))
    return BETA * (sums[0] - sums[1])


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "project")
    save_policy(project.folder / "policy")
    project.config |= {
        "models": ["policy"],
        "interventions": ["zero_shot", "implicit_reward"],
        "intervention_parameters": {"implicit_reward": {"reference": "./tiny-llama", "beta": BETA}},
        "capability_interventions": ["zero_shot"],
    }
    return project


def passes(project: Project, model: str, run: str = "mini") -> int:
    """Forward passes of the last extraction of a model, as its log counts them; 0 where it loaded no model."""
    log = (project.folder / f"results/{run}/logs/extract/{model}/0.log").read_text()
    return int(re.findall(rf"{model}: (\d+) forward passes", log)[-1])


def evaluation(project: Project, run: str = "mini", model: str = "policy") -> pl.DataFrame:
    return pl.read_parquet(project.folder / f"results/{run}/evaluations/{model}/implicit_reward/north.parquet")


def test_rewards_are_those_of_direct_preference_optimization_and_no_text_is_read_twice(project: Project) -> None:
    executed = project.jobs(*TO_TABLES)
    assert executed["model"] == executed["tokenize"] == executed["extract"] == 2
    found, checked = evaluation(project), 0
    for target in ("north", "south"):
        examples = json.loads((project.folder / f"data/{target}/test.json").read_text())
        for row in found.filter(target=target).iter_rows(named=True):
            responses = examples[row["example"]]["responses"]
            best = next(text for text, score in responses.items() if score == 1)
            others = [text for text, score in responses.items() if score != 1]
            prompt, worse = examples[row["example"]]["prompt"], others[row["pair"]]
            folders = project.folder / "policy", project.folder / "tiny-llama"
            expected = [dpo_rewards(*folders, prompt, text) for text in (best, worse)]
            np.testing.assert_allclose([row["score_best"], row["score_worse"]], expected, atol=1e-5)
            assert row["probability"] == pytest.approx(
                float(torch.sigmoid(torch.tensor(expected[0] - expected[1]))), abs=1e-5
            )
            checked += 1
    assert checked == len(found) > 16
    assert found["score_best"].std() > 1e-3
    # Of the reference the test splits alone were read, and no more than numbers that are read was stored.
    manifest = json.loads((project.folder / "results/mini/activations/tiny-llama/0.json").read_text())
    assert {(s["split"], s["view"]) for s in manifest["stores"]} == {("test", "plain")}
    shapes = [
        json.loads((project.folder / f"cache/activations/{s['digest']}/store.json").read_text())["shapes"]
        for s in manifest["stores"]
    ]
    assert all(set(shape) == {"log_probability", "scored_tokens"} for shape in shapes)
    assert passes(project, "tiny-llama") > 0
    assert project.jobs(*TO_TABLES) == {}


def test_where_both_models_have_stores_no_text_passes_through_a_model(project: Project) -> None:
    project.config["models"] = ["policy", "tiny-llama"]
    project.config["intervention_parameters"]["implicit_reward"]["reference"] = "tiny-llama"
    executed = project.jobs(*TO_TABLES)
    # The reference is a model of the run: its own extraction serves, and it is compared with itself.
    assert executed["model"] == executed["tokenize"] == executed["extract"] == 2
    assert passes(project, "policy") > 0 and passes(project, "tiny-llama") > 0
    own = evaluation(project, model="tiny-llama")
    assert own["score_best"].to_list() == [0.0] * len(own) and own["probability"].to_list() == [0.5] * len(own)

    project.config |= {"run": "second", "models": ["policy"]}
    project.config["intervention_parameters"]["implicit_reward"]["reference"] = "./tiny-llama"
    assert project.jobs()["extract"] == 2
    assert passes(project, "policy", "second") == passes(project, "tiny-llama", "second") == 0
    assert evaluation(project, "second").equals(evaluation(project))
    stated = json.loads((project.folder / "results/second/provenance.json").read_text())
    assert [model["name"] for model in stated["models"]] == ["policy", "tiny-llama"]

    # Another β evaluates again, and reads no text.
    project.config["intervention_parameters"]["implicit_reward"]["beta"] = 2 * BETA
    assert project.jobs() == {
        **dict.fromkeys(("probe:implicit_reward", "metrics", "details", "provenance", "report"), 1),
    }
    doubled = evaluation(project, "second")
    np.testing.assert_allclose(doubled["score_best"].to_numpy(), 2 * evaluation(project)["score_best"].to_numpy())
    # The report names the policy alone: nothing was asked of the reference for its own sake.
    metrics = pl.read_csv(project.folder / "results/second/generalization_metrics.csv")
    assert metrics["model"].unique().to_list() == ["policy"]


def test_a_reference_with_another_tokenizer_ends_the_run_in_one_line(project: Project) -> None:
    reference = project.folder / "other-words"
    save_model(reference, "gpt_neox")
    file = reference / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["Paris"], vocabulary["Rome"] = vocabulary["Rome"], vocabulary["Paris"]
    file.write_text(json.dumps(tokenizer))
    project.config["intervention_parameters"]["implicit_reward"]["reference"] = "other-words"
    result = project.run()
    assert result.returncode != 0
    log = (project.folder / "results/mini/logs/probe/policy/implicit_reward.log").read_text()
    assert re.search(
        r"error: north test: example \d+: policy and its reference other-words read it as different "
        r"tokens; name a reference with the same tokenizer and chat template\n",
        log,
    ), log
