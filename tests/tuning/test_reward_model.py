"""reward_model: finished sequence classifiers, read at their true last token whatever their padding."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
from helpers import save_reward_model

from genies.errors import ConfigError, DataError, ModelError
from genies.interventions import registry


def make(folder, **parameters):
    return registry.make("reward_model", {"model": str(folder), **parameters}).bind({}, "cpu")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, model_folders):
    root = tmp_path_factory.mktemp("rewards")
    return {kind: save_reward_model(root / kind, kind=kind) for kind in ("llama", "bert")}


@pytest.fixture(scope="module")
def held_out(planted_texts):
    return planted_texts(9, seed=3, shuffled=True)


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_rewards_are_those_of_each_text_alone(kind, finished, held_out, caplog):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(finished[kind]).eval()
    model.config.pad_token_id = None  # one text a time, and its EOS is no padding
    tokenizer = AutoTokenizer.from_pretrained(finished[kind])
    end = tokenizer.eos_token if kind == "llama" else ""
    with caplog.at_level(logging.INFO, logger="genies"):
        rewards = make(finished[kind]).fit(held_out).decision_function(held_out)
    assert ("passes agree" in caplog.text) == (kind == "llama")
    assert "passes differ" not in caplog.text
    for pair, prompt in enumerate(held_out.prompt):
        for side, response in enumerate((held_out.first[pair], held_out.second[pair])):
            ids = tokenizer(prompt + response + end, return_tensors="pt")["input_ids"]
            with torch.no_grad():
                assert rewards[pair, side] == pytest.approx(float(model(ids).logits[0, 0]), abs=1e-5)
    assert rewards.std() > 1e-3


def test_probabilities_follow_bradley_and_terry(finished, held_out):
    rewards = make(finished["llama"]).decision_function(held_out)
    expected = 1 / (1 + np.exp(rewards[:, 1] - rewards[:, 0]))
    np.testing.assert_allclose(make(finished["llama"]).predict_proba(held_out), expected, rtol=1e-12)


def test_saved_and_loaded_it_names_the_same_model(finished, held_out, tmp_path):
    model = make(finished["llama"])
    registry.save(model, tmp_path)
    loaded = registry.load(tmp_path).bind({}, "cpu")
    assert np.array_equal(loaded.decision_function(held_out), model.decision_function(held_out))


def test_models_that_give_no_reward_are_refused(finished, model_folders, held_out, tmp_path):
    with pytest.raises(ConfigError, match="parameter model: name the folder or hub id"):
        registry.make("reward_model")
    with pytest.raises(ModelError, match="model folder not found"):
        make(tmp_path / "nowhere").decision_function(held_out)
    with pytest.raises(ModelError, match=r"its weights lack score\.weight"):
        make(model_folders["llama"]).decision_function(held_out)
    two = save_reward_model(tmp_path / "two", outputs=2)
    with pytest.raises(ModelError, match=r"two/config\.json: the model has 2 outputs \(0: LABEL_0, 1: LABEL_1\)"):
        make(two).decision_function(held_out)


def test_responses_that_make_no_difference_to_what_is_read_are_refused(held_out, tmp_path):
    folder = save_reward_model(tmp_path / "deaf")
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.content if m.role == 'user' }}{% endfor %}"
    )
    with pytest.raises(ModelError, match="deaf: both responses of 3 examples are the same tokens") as error:
        make(folder).fit(held_out)
    assert "\n" not in str(error.value)
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}What {{ m.content }}{{ eos_token }}{% endfor %}"
    )
    assert make(folder).fit(held_out).read_as_["texts"] == 3


def test_training_on_a_finished_reward_model_starts_with_a_new_head(finished):
    from genies.engine.classifier import new_reader
    from genies.engine.finished import finished_reader

    old = finished_reader(finished["llama"], "auto", "cpu", "auto").classifier.score.weight
    new, again = (
        new_reader(finished["llama"], None, "auto", "cpu", "auto", seed=1, quantization=None).classifier.score.weight
        for _ in range(2)
    )
    assert new.equal(again)
    assert not new.isclose(old).any()


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_texts_over_the_context_lose_tokens_in_front_where_that_is_asked_for(kind, finished, held_out):
    long = replace(held_out, prompt=("river " * 60, *held_out.prompt[1:]))
    fitted = make(finished[kind], overlong="shorten")
    strict = make(finished[kind])
    assert np.array_equal(fitted.decision_function(held_out), strict.decision_function(held_out))
    assert fitted.counts_ == strict.counts_ == {"shortened": 0}
    scores = fitted.decision_function(long)
    assert fitted.counts_ == {"shortened": 1}
    # So long a prompt is cut to words of its own: a few more of them change nothing.
    longer = replace(held_out, prompt=("river " * 70, *held_out.prompt[1:]))
    assert np.allclose(fitted.decision_function(longer), scores, atol=1e-5)


def test_texts_over_the_context_are_named(finished, planted_texts):
    import dataclasses

    pairs = planted_texts(2, seed=0)
    long = dataclasses.replace(pairs, first=(pairs.first[0], "green " * 40))
    with pytest.raises(DataError, match=r"example 1: \d+ tokens exceed the model's context of 64"):
        make(finished["llama"]).decision_function(long)
