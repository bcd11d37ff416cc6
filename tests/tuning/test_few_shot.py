"""few_shot: which texts it reads, what it makes of them, and what it does when the context is full."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from helpers import FAMILY_SIZES, families, save_model

from genies.engine.decoder import Decoder
from genies.engine.scoring import Scorer
from genies.errors import ConfigError, DataError, ModelError
from genies.interventions import registry
from genies.models.describe import describe_model


def make(manifest, **parameters):
    return registry.make("few_shot", parameters).bind(manifest, "cpu")


@pytest.fixture(scope="module")
def training(planted_texts):
    return planted_texts(20, seed=1)


@pytest.fixture(scope="module")
def held_out(planted_texts):
    return planted_texts(8, seed=2, shuffled=True)


@pytest.fixture(scope="module")
def few_shot(manifests, training):
    return make(manifests["llama"]).fit(training)


@pytest.fixture(scope="module")
def reference(manifests):
    """Log-probability of a response and EOS after a text, by transformers alone; and the number of tokens."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = manifests["llama"]["path"]
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)

    def score(before: str, response: str) -> tuple[float, int]:
        ids = tokenizer(before + response + tokenizer.eos_token, return_tensors="pt")["input_ids"]
        start = len(tokenizer(before)["input_ids"])
        with torch.no_grad():
            steps = model(ids).logits[0].log_softmax(-1)[:-1].gather(1, ids[0, 1:, None])[start - 1 :]
        return float(steps.sum()), len(steps)

    return score


def before(intervention, prompt, shots=4):
    return "".join(f"\n\n{text}" for text in intervention.draw(prompt)[4 - shots :]) + "\n\n" + prompt


@pytest.mark.parametrize("normalization", ["sum", "mean"])
def test_scores_are_log_probabilities_after_four_examples(
    normalization, manifests, few_shot, training, held_out, reference
):
    scores = make(manifests["llama"], normalization=normalization).fit(training).decision_function(held_out)
    for pair in (0, 2, 7):
        for side, response in enumerate((held_out.first[pair], held_out.second[pair])):
            total, tokens = reference(before(few_shot, held_out.prompt[pair]), response)
            expected = total / tokens if normalization == "mean" else total
            assert scores[pair, side] == pytest.approx(expected, abs=1e-4)


def test_shots_are_distinct_best_responses_of_a_few_sets_drawn_by_seed(manifests, few_shot, training, take_pairs):
    allowed = {prompt + best for prompt, best in zip(training.prompt, training.first, strict=True)}
    drawn = {prompt: few_shot.draw(prompt) for prompt in set(training.prompt)}
    assert all(len(set(texts)) == 4 and set(texts) <= allowed for texts in drawn.values())
    sets = {few_shot.set_of(prompt): texts for prompt, texts in drawn.items()}
    assert all(texts == sets[few_shot.set_of(prompt)] for prompt, texts in drawn.items())
    assert 1 < len({tuple(texts) for texts in sets.values()}) == len(sets) <= 8 < len(drawn)
    reversed_file = make(manifests["llama"]).fit(take_pairs(training, np.arange(len(training))[::-1]))
    other_seed = make(manifests["llama"], seed=1).fit(training)
    assert all(reversed_file.draw(prompt) == texts for prompt, texts in drawn.items())
    assert any(other_seed.draw(prompt) != texts for prompt, texts in drawn.items())
    assert any(other_seed.set_of(prompt) != few_shot.set_of(prompt) for prompt in drawn)


def test_under_paper_shots_are_drawn_for_each_prompt(manifests, training, held_out):
    published = make(manifests["llama"], protocol="paper").fit(training)
    drawn = {prompt: tuple(published.draw(prompt)) for prompt in training.prompt}
    assert len(set(drawn.values())) == len(drawn)
    assert published.drawn_sets(held_out) is None


def test_each_pair_says_which_set_it_was_judged_after(few_shot, held_out):
    sets = few_shot.drawn_sets(held_out)
    assert sets.tolist() == [few_shot.set_of(prompt) for prompt in held_out.prompt]


def test_tokens_of_a_set_are_passed_once(manifests, training, planted_texts, monkeypatch):
    many = planted_texts(60, seed=3, shuffled=True)
    fitted = make(manifests["llama"], sets=2).fit(training)
    passed = {"before": 0, "rows": 0}
    remember, read = Decoder.remember, Decoder.read

    def remembering(decoder, tokens):
        passed["before"] += len(tokens)
        return remember(decoder, tokens)

    def reading(decoder, batch, past=None):
        assert past is not None
        passed["rows"] += batch.tokens.size
        return read(decoder, batch, past)

    monkeypatch.setattr(Decoder, "remember", remembering)
    monkeypatch.setattr(Decoder, "read", reading)
    monkeypatch.setattr(Scorer, "_agrees", lambda *_: True)  # the self-test's own passes are not counted
    fitted.decision_function(many)
    groups = fitted.grouped(many).groups
    roots = {group.root.tobytes(): len(group.root) for group in groups}
    whole = sum(len(text) for group in groups for text in group.tokens)
    assert len(roots) == 2
    # What comes before all texts of a set: its shots, and what their prompts have in common.
    assert passed["before"] <= sum(roots.values())
    assert passed["before"] + passed["rows"] < whole / 3


def test_several_targets_share_batches_and_are_told_apart(few_shot, held_out, planted_texts, monkeypatch):
    other = planted_texts(11, seed=4, shuffled=True)
    alone = [few_shot.predict(pairs) for pairs in (held_out, other)]
    passes = []
    read = Decoder.read
    monkeypatch.setattr(Decoder, "read", lambda *given: passes.append(1) or read(*given))
    both = few_shot.predict_each([held_out, other])
    together = len(passes)
    for (probability, scores), said in zip(alone, both, strict=True):
        np.testing.assert_allclose(said.probability, probability, atol=1e-5)
        np.testing.assert_allclose(said.scores, scores, atol=1e-4)
        assert said.counts == {"dropped_shots": 0}
    few_shot.predict_each([held_out])
    few_shot.predict_each([other])
    assert together < len(passes) - together


@pytest.mark.parametrize("family", families(FAMILY_SIZES))
def test_of_every_family_texts_after_a_set_score_as_whole_texts_do(family, training, held_out, tmp_path, monkeypatch):
    folder = save_model(tmp_path / family, family, context=512)
    manifest = describe_model(str(folder), None, tmp_path / "sha256.json")
    scores = make(manifest, attention=manifest["attention"]).fit(training).decision_function(held_out)
    monkeypatch.setattr(Scorer, "_agrees", lambda *_: False)  # one text in a row
    apart = make(manifest, attention=manifest["attention"]).fit(training).decision_function(held_out)
    np.testing.assert_allclose(scores, apart, rtol=2e-5, atol=2e-3)


@pytest.mark.parametrize(
    "family", families(["llama", "qwen3", "mistral", "gemma2", "gemma3_text", "gpt2", "opt", "mixtral"])
)
def test_of_usual_families_a_set_is_not_passed_anew(family, training, held_out, tmp_path, caplog):
    folder = save_model(tmp_path / family, family, context=512)
    manifest = describe_model(str(folder), None, tmp_path / "sha256.json")
    with caplog.at_level(logging.INFO, logger="genies"):
        make(manifest, attention=manifest["attention"]).fit(training).decision_function(held_out)
    assert "rooted and separate passes agree" in caplog.text


def test_shots_that_do_not_fit_are_dropped_from_the_front_and_counted(
    manifests, few_shot, training, held_out, reference, caplog
):
    few_shot.decision_function(held_out)
    assert few_shot.counts_["dropped_shots"] == 0
    short = make(manifests["llama"] | {"context": 100}).fit(training)
    with caplog.at_level(logging.WARNING, logger="genies"):
        scores = short.decision_function(held_out)
    examples = len(set(held_out.example.tolist()))
    assert short.counts_["dropped_shots"] == 2 * examples
    assert f"{2 * examples} shots dropped in {examples} of {examples} examples" in caplog.text
    expected, _ = reference(before(few_shot, held_out.prompt[0], shots=2), held_out.first[0])
    assert scores[0, 0] == pytest.approx(expected, abs=1e-4)


def test_probabilities_are_a_softmax_or_under_paper_a_decision(manifests, few_shot, training, held_out, swap_pairs):
    probability = few_shot.predict_proba(held_out)
    scores = few_shot.decision_function(held_out)
    np.testing.assert_allclose(probability, np.exp(scores[:, 0]) / np.exp(scores).sum(axis=1), rtol=1e-9)
    np.testing.assert_allclose(probability + few_shot.predict_proba(swap_pairs(held_out)), 1, atol=1e-12)
    published = make(manifests["llama"], protocol="paper").fit(training).predict_proba(held_out)
    assert np.array_equal(published, probability > 0.5)


def test_saved_and_loaded_it_predicts_the_same_bits(manifests, few_shot, held_out, tmp_path):
    registry.save(few_shot, tmp_path)
    loaded = registry.load(tmp_path).bind(manifests["llama"], "cpu")
    assert np.array_equal(loaded.decision_function(held_out), few_shot.decision_function(held_out))


def test_input_that_cannot_be_used_is_named(manifests, few_shot, training, held_out, take_pairs):
    with pytest.raises(DataError, match="3 distinct examples, 4 shots are asked for"):
        make(manifests["llama"]).fit(take_pairs(training, np.arange(3)))
    with pytest.raises(DataError, match="has its worse response first"):
        make(manifests["llama"]).fit(held_out)
    with pytest.raises(DataError, match=r"example 0: \d+ tokens exceed the model's context of 20"):
        make(manifests["llama"] | {"context": 20}).fit(training).decision_function(held_out)
    with pytest.raises(ConfigError, match="the protocol paper decides by sum"):
        make(manifests["llama"], protocol="paper", normalization="mean")


def test_a_model_that_is_spread_over_the_devices_there_are_says_the_same(manifests, few_shot, training, held_out):
    spread = registry.make("few_shot", {}).bind(manifests["llama"], "balanced").fit(training)
    np.testing.assert_allclose(spread.predict_proba(held_out), few_shot.predict_proba(held_out), atol=1e-5)


def test_texts_that_leak_into_each_other_are_not_packed(training, held_out, tmp_path, caplog):
    folder = save_model(tmp_path / "falcon", "falcon_h1", context=256)
    manifest = describe_model(str(folder), None, tmp_path / "sha256.json")
    fitted = make(manifest, dtype="bfloat16", shots=1).fit(training)
    with caplog.at_level(logging.WARNING, logger="genies"):
        fitted.decision_function(held_out)
    assert "passes differ (other texts of the row move a text by" in caplog.text


def test_a_row_that_memory_does_not_hold_is_read_text_by_text(few_shot, manifests, held_out, monkeypatch, caplog):
    import torch

    right = few_shot.decision_function(held_out)
    monkeypatch.setattr(Decoder, "read", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("no memory left")))
    with caplog.at_level(logging.WARNING, logger="genies"):
        apart = few_shot.bind(manifests["llama"], "cpu").decision_function(held_out)
    assert "memory does not suffice for a row" in caplog.text
    np.testing.assert_allclose(apart, right, rtol=0, atol=1e-4)
    monkeypatch.setattr(Decoder, "read_separately", Decoder.read)
    with pytest.raises(ModelError, match="memory does not suffice"):
        few_shot.bind(manifests["llama"], "cpu").decision_function(held_out)
