"""lora, prompt_tuning and full_finetune: what they learn, that training resumes, and that it is one computation."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from genies.errors import ConfigError, DataError, StoreError
from genies.files import write_json
from genies.interventions import registry

SMALL = {
    "lora": {"rank": 4, "learning_rate": 0.01},
    "prompt_tuning": {"virtual_tokens": 3, "learning_rate": 0.02},
    "full_finetune": {"learning_rate": 0.003},
}
TRAINED = pytest.mark.parametrize("name", SMALL)


def make(name, manifest, folder=None, **parameters):
    parameters = {"pairs_per_step": 8, "steps": 5, **SMALL[name], **parameters}
    return registry.make(name, parameters).bind(manifest, "cpu", folder)


def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def training(planted_texts):
    return planted_texts(40, seed=1)


@pytest.fixture(scope="module")
def held_out(planted_texts):
    return planted_texts(40, seed=2, shuffled=True)


@pytest.fixture(scope="module")
def lora(manifests, training):
    return make("lora", manifests["llama"]).fit(training)


@TRAINED
def test_a_marker_of_best_responses_is_learned(name, manifests, training, held_out):
    fitted = make(name, manifests["llama"], steps=25).fit(training)
    assert np.mean((fitted.predict_proba(held_out) > 0.5) == held_out.label) >= 0.9
    losses = [line["loss"] for line in fitted.training_log_]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def test_trainings_take_one_device_where_extractions_are_spread(manifests, training, held_out, lora):
    spread = registry.make("lora", {"pairs_per_step": 8, "steps": 5, **SMALL["lora"]})
    spread.bind(manifests["llama"], "balanced").fit(training)
    np.testing.assert_allclose(spread.predict_proba(held_out), lora.predict_proba(held_out), atol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
@TRAINED
def test_packed_and_separate_rows_give_the_same_rewards(
    name, family, manifests, training, held_out, monkeypatch, caplog
):
    from genies.engine import scoring

    with caplog.at_level(logging.INFO, logger="genies"):
        fitted = make(name, manifests[family], steps=2).fit(training)
        packed = fitted.decision_function(held_out)
        assert "packed and separate passes agree" in caplog.text
        assert "passes differ" not in caplog.text
        monkeypatch.setattr(scoring, "PACKING_TOLERANCE", dict.fromkeys(scoring.PACKING_TOLERANCE, -1.0))
        separate = fitted.bind(manifests[family], "cpu").decision_function(held_out)
        assert "one text per row" in caplog.text
    assert packed.std() > 1e-3
    np.testing.assert_allclose(packed, separate, rtol=0, atol=1e-5)


def test_a_wrong_mask_is_found_by_the_self_test_and_changes_nothing(lora, manifests, held_out, monkeypatch, caplog):
    import torch

    from genies.engine import classifier

    right = lora.decision_function(held_out)

    def causal(config, end, position, dtype):
        width = end.shape[1]
        return torch.ones(width, width, dtype=torch.bool).tril().expand(len(end), 1, width, width)

    monkeypatch.setattr(classifier, "tree_masks", causal)
    with caplog.at_level(logging.WARNING, logger="genies"):
        wrong = lora.bind(manifests["llama"], "cpu").decision_function(held_out)
    assert "packed and separate passes differ" in caplog.text
    np.testing.assert_allclose(wrong, right, rtol=0, atol=1e-5)


def test_eager_attention_gives_the_same_rewards(manifests, training, held_out):
    rewards = [
        make("lora", manifests["llama"], steps=1, attention=attention).fit(training).decision_function(held_out)
        for attention in ("sdpa", "eager")
    ]
    np.testing.assert_allclose(*rewards, rtol=0, atol=1e-5)


def test_the_batch_size_does_not_change_rewards(lora, manifests, held_out):
    rewards = lora.decision_function(held_out)
    alone = registry.make("lora", lora.get_params() | {"batch_tokens": 1}).bind(manifests["llama"], "cpu")
    np.testing.assert_allclose(
        alone.set_state(*lora.get_state()).decision_function(held_out), rewards, rtol=0, atol=1e-5
    )


def test_accumulated_gradients_are_those_of_one_pass(manifests, training):
    """Up to the rounding of float32: 1e-4 of a step's length, the learning rate, in each weight after each step."""
    whole, parts = (
        make("lora", manifests["llama"], steps=3, dropout=0.0, batch_tokens=tokens).fit(training)
        for tokens in (10_000, 40)
    )
    np.testing.assert_allclose(
        *([line["loss"] for line in fitted.training_log_] for fitted in (whole, parts)), rtol=1e-5
    )
    for name, weights in whole.weights_.items():
        np.testing.assert_allclose(parts.weights_[name], weights, rtol=0, atol=3 * 1e-4 * whole.learning_rate)


@TRAINED
def test_what_is_computed_again_for_the_gradients_changes_no_step(name, manifests, training, held_out, monkeypatch):
    from transformers.models.llama.modeling_llama import LlamaMLP

    passes, forward = [], LlamaMLP.forward
    monkeypatch.setattr(LlamaMLP, "forward", lambda *given: passes.append(1) or forward(*given))
    kept = make(name, manifests["llama"], steps=3).fit(training)
    once = len(passes)
    again = make(name, manifests["llama"], steps=3, gradient_checkpointing=True).fit(training)
    assert len(passes) - once >= once + 3 * 3  # three blocks, once more in each of three steps
    losses = [[line["loss"] for line in fitted.training_log_] for fitted in (kept, again)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    np.testing.assert_allclose(again.decision_function(held_out), kept.decision_function(held_out), atol=1e-4)


def test_exchanging_first_and_second_exchanges_rewards(lora, held_out, swap_pairs):
    straight, swapped = lora.decision_function(held_out), lora.decision_function(swap_pairs(held_out))
    assert np.array_equal(straight, swapped[:, ::-1])
    np.testing.assert_allclose(
        lora.predict_proba(held_out) + lora.predict_proba(swap_pairs(held_out)), 1, rtol=0, atol=1e-12
    )


@TRAINED
def test_the_same_seed_gives_the_same_weights_in_any_order_of_the_pairs_and_another_seed_others(
    name, manifests, training, take_pairs
):
    first, other = (make(name, manifests["llama"], steps=2, seed=seed).fit(training).weights_ for seed in (3, 4))
    assert not any(np.array_equal(first[weight], other[weight]) for weight in first if "score" in weight)
    reversed_file = take_pairs(training, np.arange(len(training))[::-1])
    assert equal(first, make(name, manifests["llama"], steps=2, seed=3).fit(reversed_file).weights_)


@pytest.mark.long
def test_after_sigkill_training_goes_on_to_the_same_bits(manifests, training, tmp_path):
    folder, job = tmp_path / "fit", tmp_path / "job.json"
    parameters = {**SMALL["lora"], "pairs_per_step": 8, "steps": 14, "checkpoint_steps": 4, "seed": 5}
    texts = [training.prompt, training.first, training.second, training.example.tolist()]
    write_json(
        job,
        {
            "intervention": "lora",
            "parameters": parameters,
            "model": manifests["llama"],
            "folder": str(folder),
            "pairs": texts,
            "kill_in_step": 11,
        },
    )
    program = Path(__file__).with_name("killed_training.py")
    killed = subprocess.run([sys.executable, str(program), str(job)], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len((folder / "training_log.jsonl").read_text().splitlines()) == 10
    resumed = registry.make("lora", parameters).bind(manifests["llama"], "cpu", folder)
    steps = count_steps(resumed, training)
    assert steps == 14 - 8
    undisturbed = registry.make("lora", parameters).bind(manifests["llama"], "cpu").fit(training)
    assert equal(resumed.weights_, undisturbed.weights_)
    assert resumed.training_log_ == undisturbed.training_log_
    lines = (folder / "training_log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == undisturbed.training_log_


def count_steps(intervention, pairs):
    """Optimizer steps that ``fit`` takes."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    taken = []
    handle = register_optimizer_step_post_hook(lambda *_: taken.append(1))
    try:
        intervention.fit(pairs)
    finally:
        handle.remove()
    return len(taken)


@TRAINED
def test_a_finished_training_is_not_repeated_until_its_checkpoint_is_removed(name, manifests, training, tmp_path):
    fitted = make(name, manifests["llama"], tmp_path, steps=2)
    assert count_steps(fitted, training) == 2
    weights = fitted.weights_
    assert count_steps(fitted, training) == 0
    assert equal(weights, fitted.weights_)
    fitted.remove_checkpoint()
    assert count_steps(fitted, training) == 2


def test_a_checkpoint_of_another_training_or_a_damaged_one_is_not_continued(
    manifests, training, take_pairs, tmp_path, caplog
):
    make("lora", manifests["llama"], tmp_path).fit(training)
    others = take_pairs(training, np.arange(20))
    with caplog.at_level(logging.WARNING, logger="genies"):
        assert count_steps(make("lora", manifests["llama"], tmp_path), others) == 5
        assert "of another training" in caplog.text
        checkpoint = tmp_path / "checkpoint.safetensors"
        checkpoint.write_bytes(checkpoint.read_bytes()[:200])
        assert count_steps(make("lora", manifests["llama"], tmp_path), others) == 5
        assert "damaged" in caplog.text


@TRAINED
def test_saved_and_loaded_it_predicts_the_same_bits(name, manifests, training, held_out, tmp_path):
    fitted = make(name, manifests["llama"], steps=2).fit(training)
    expected = fitted.decision_function(held_out)
    registry.save(fitted, tmp_path)
    loaded = registry.load(tmp_path).bind(manifests["llama"], "cpu")
    assert np.array_equal(loaded.decision_function(held_out), expected)
    assert loaded.training_log_ == fitted.training_log_


def test_peft_reads_the_saved_adapter(lora, manifests, held_out, tmp_path):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    registry.save(lora, tmp_path)
    folder = manifests["llama"]["path"]
    base = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    model, tokenizer = PeftModel.from_pretrained(base, tmp_path).eval(), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(held_out.prompt[0] + held_out.first[0] + tokenizer.eos_token, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        reward = float(model(ids).logits[0, 0])
    assert reward == pytest.approx(lora.decision_function(held_out)[0, 0], abs=1e-5)


def test_weights_of_another_model_are_refused(lora, manifests, held_out):
    other = registry.make("lora", lora.get_params()).bind(manifests["gpt_neox"], "cpu")
    with pytest.raises(StoreError, match="do not fit"):
        other.set_state(*lora.get_state()).decision_function(held_out)


def test_architectures_without_default_modules_get_adapters_on_every_linear_layer(
    manifests, training, monkeypatch, caplog
):
    import peft.utils

    monkeypatch.delitem(peft.utils.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING, "llama")
    with caplog.at_level(logging.INFO, logger="genies"):
        fitted = make("lora", manifests["llama"], steps=1).fit(training)
    assert "every linear layer gets an adapter" in caplog.text
    adapted = {name.split(".")[-3] for name in fitted.weights_ if "lora_A" in name}
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"steps": 0}, "parameter steps: 0 is not an integer of at least 1"),
        ({"learning_rate": -1}, "parameter learning_rate: -1 is not a positive number"),
        ({"dropout": 1.0}, "parameter dropout: 1.0 is not below 1"),
        ({"dtype": "float16"}, "parameter dtype: 'float16' is unknown; choose one of auto, float32, bfloat16"),
        ({"quantization": "int3"}, "parameter quantization: 'int3' is unknown"),
        ({"rnak": 2}, "near: rank"),
    ],
)
def test_parameters_that_cannot_be_used_are_named(parameters, message):
    with pytest.raises(ConfigError, match=message):
        registry.make("lora", parameters)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"quantization": "nf4"}, "nf4 needs a CUDA device"),
        ({"target_modules": ["no_such_layer"]}, "PEFT cannot adapt it"),
        (
            {"learning_rate": 9e18, "max_grad_norm": 9e18, "alpha": 10**6},
            "the loss of step [23] is (nan|inf); lower the learning rate",
        ),
    ],
)
def test_what_the_model_cannot_do_is_a_configuration_error(parameters, message, manifests, training):
    with pytest.raises(ConfigError, match=message):
        make("lora", manifests["llama"], **parameters).fit(training)


def test_input_that_cannot_be_trained_on_is_named(manifests, training, held_out, take_pairs):
    with pytest.raises(ConfigError, match=r"Lora: reads texts with a model; call bind"):
        registry.make("lora").fit(training)
    with pytest.raises(DataError, match="has its worse response first"):
        make("lora", manifests["llama"]).fit(held_out)
    with pytest.raises(DataError, match="there are none"):
        make("lora", manifests["llama"]).fit(take_pairs(training, np.zeros(0, int)))
    short = manifests["llama"] | {"context": 27}
    with pytest.raises(DataError, match=r"example \d+: \d+ tokens exceed the model's context of 27"):
        make("lora", short).fit(training)
