"""reward_model reads finished models in their own format: equal to their own pipeline in transformers, text by text."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import save_model, save_reward_model
from hypothesis import given
from hypothesis import strategies as st

from genies.data.records import Turn
from genies.errors import ConfigError, DataError, ModelError
from genies.interventions import registry
from genies.interventions.reward_model import RewardModel
from genies.interventions.text import TextPairs
from genies.interventions.training.question import Question

WITH_BOS = (
    "{{ bos_token }}{% for m in messages %}# {{ m.role }} : {{ m.content }} {{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}# assistant : {% endif %}"
)
DEFAULT_SYSTEM = (
    "{% if messages[0].role != 'system' %}# system : please follow the instruction .\n{% endif %}"
    "{% for m in messages %}# {{ m.role }} : {{ m.content }}\n{% endfor %}"
)
DATED = (
    "{{ bos_token }}{{ strftime_now('%d %b %Y') }} . {% for m in messages %}# {{ m.role }} {{ m.content }} {% endfor %}"
)
NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{{ m.content }}{% endfor %}"
)
STILL = datetime(2024, 7, 26)
WORDS = (
    "What the a of is capital city country what where who Paris Rome Oslo Lima Cairo France Italy Norway Peru Egypt "
    "river mountain red green blue one two three four five right wrong yes no answer question it lies in on A B "
    "1 2 3 4 5 system user assistant please follow instruction Response Prompt better Jul 26 2024 ? . , : # \n"
).split(" ")
WORDS.append(" ")


def with_template(folder: Path, template: str) -> Path:
    (folder / "chat_template.jinja").write_text(template)
    return folder


def without_padding(folder: Path) -> Path:
    """The model, whose configuration no longer calls EOS its padding."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": None}))
    return folder


def scalar(folder: Path, template: str | None = WITH_BOS) -> Path:
    made = without_padding(save_reward_model(folder, context=256, words=WORDS))
    return with_template(made, template) if template else made


def judge_model(folder: Path, template: str | None = None, family: str = "llama") -> Path:
    made = save_model(folder, family, layers=2, words=WORDS)
    return with_template(made, template) if template else made


def make(folder: Path, **parameters: Any) -> RewardModel:
    return registry.make("reward_model", {"model": str(folder), **parameters}).bind({}, "cpu")


@pytest.fixture(scope="module")
def held_out(planted_texts: Callable[..., TextPairs]) -> TextPairs:
    return planted_texts(7, seed=3, shuffled=True)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("formats")
    two = without_padding(save_reward_model(root / "two", outputs=2, context=256, words=WORDS))
    return {
        "scalar": scalar(root / "scalar"),
        "two": with_template(two, WITH_BOS),
        "judge": judge_model(root / "judge"),
        "chat_judge": judge_model(root / "chat_judge", WITH_BOS, family="gemma2"),
    }


def pipeline(folder: Path, turns: list[dict[str, str]]) -> torch.Tensor:
    """Outputs of a classifier for one conversation, by transformers alone."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    inputs = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True, return_tensors="pt")
    with torch.no_grad():
        return model(**inputs).logits[0]


def said(prompt: str, response: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]


def of_texts(pairs: TextPairs, score: Callable[[str, str], float]) -> np.ndarray:
    return np.array([
        [score(prompt, first), score(prompt, second)]
        for prompt, first, second in zip(pairs.prompt, pairs.first, pairs.second, strict=True)
    ])  # fmt: skip


def test_a_scalar_head_is_read_in_its_chat_template(models: dict[str, Path], held_out: TextPairs) -> None:
    own = of_texts(held_out, lambda prompt, response: float(pipeline(models["scalar"], said(prompt, response))[0]))
    rewards = make(models["scalar"]).decision_function(held_out)
    np.testing.assert_allclose(rewards, own, atol=1e-5, rtol=0)
    off_format = make(models["scalar"], format="prompt_response").decision_function(held_out)
    assert np.abs(off_format - own).min() > 1e-3
    assert own.std() > 1e-2


@pytest.mark.parametrize(
    ("output", "weights"),
    [(1, [0, 1]), ("LABEL_0", [1, 0]), ([0.5, -2], [0.5, -2]), ({"LABEL_1": -1, "LABEL_0": 1}, [1, -1])],
)
def test_of_two_outputs_the_named_ones_are_the_reward(
    models: dict[str, Path], held_out: TextPairs, output: Any, weights: list[float]
) -> None:
    own = of_texts(
        held_out,
        lambda prompt, response: float(pipeline(models["two"], said(prompt, response)) @ torch.tensor(weights).float()),
    )
    rewards = make(models["two"], output=output).decision_function(held_out)
    np.testing.assert_allclose(rewards, own, atol=1e-5, rtol=0)
    off_format = make(models["two"], output=output, format="prompt_response").decision_function(held_out)
    assert np.abs(off_format - own).max() > 1e-2


def test_a_cost_model_is_read_with_a_negative_weight(models: dict[str, Path], held_out: TextPairs) -> None:
    cost = make(models["scalar"]).decision_function(held_out)
    np.testing.assert_array_equal(make(models["scalar"], output=[-1]).decision_function(held_out), -cost)


def test_a_configuration_that_does_not_count_outputs_leaves_that_to_the_weights(
    tmp_path: Path, models: dict[str, Path], held_out: TextPairs
) -> None:
    """As configurations of language models do; transformers itself would take two, of which there are none."""
    folder = scalar(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    kept = {key: value for key, value in config.items() if key not in ("id2label", "label2id", "num_labels")}
    (folder / "config.json").write_text(json.dumps(kept))
    rewards = make(folder).decision_function(held_out)
    np.testing.assert_array_equal(rewards, make(models["scalar"]).decision_function(held_out))


def test_several_outputs_without_a_name_are_refused_with_their_labels(
    models: dict[str, Path], held_out: TextPairs
) -> None:
    refused = r"config\.json: the model has 2 outputs \(0: LABEL_0, 1: LABEL_1\); say which is the reward"
    with pytest.raises(ModelError, match=refused):
        make(models["two"]).decision_function(held_out)
    for output in (2, "LABEL_2", [1.0], {"LABEL_2": 1}):
        with pytest.raises(ConfigError, match=r"parameter output: .* does not fit the outputs of .*two \(0: LABEL_0"):
            make(models["two"], output=output).decision_function(held_out)


TEMPLATE = "# Prompt : {prompt} # Response A : {first} # Response B : {second} # better ? answer :"


def answer_logits(folder: Path, text: str, answers: list[str], special: bool) -> torch.Tensor:
    """Logits of single tokens after a text, by transformers alone."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    inputs = tokenizer(text, add_special_tokens=special, return_tensors="pt")
    with torch.no_grad():
        return model(**inputs).logits[0, -1][tokenizer.convert_tokens_to_ids(answers)]


def asked_in_chat(question: str) -> str:
    return f"<s># user : {question} </s>\n# assistant : "


@pytest.mark.parametrize("kind", ["judge", "chat_judge"])
def test_a_judge_is_asked_in_both_orders(models: dict[str, Path], held_out: TextPairs, kind: str) -> None:
    def log_odds(prompt: str, one: str, other: str) -> float:
        question = TEMPLATE.format(prompt=prompt, first=one, second=other)
        # The space between question and answer is a token of its own here.
        text = asked_in_chat(question) if kind == "chat_judge" else f"{question} "
        a, b = answer_logits(models[kind], text, ["A", "B"], special=kind == "judge").tolist()
        return a - b

    orders = np.array([
        [log_odds(prompt, first, second), log_odds(prompt, second, first)]
        for prompt, first, second in zip(held_out.prompt, held_out.first, held_out.second, strict=True)
    ])  # fmt: skip
    judge = make(models[kind], format="judge", template=TEMPLATE)
    scores, own = judge.decision_function(held_out), (orders[:, 0] - orders[:, 1]) / 2
    np.testing.assert_allclose(scores[:, 0] - scores[:, 1], own, atol=1e-5, rtol=0)
    np.testing.assert_allclose(judge.predict_proba(held_out), 1 / (1 + np.exp(-own)), atol=1e-5)
    assert judge.counts_ == {
        "judged": len(held_out),
        "order_decides": int(np.sum(np.sign(orders[:, 0]) == np.sign(orders[:, 1]))),
        "toward_first": pytest.approx(orders.mean(), abs=1e-5),
    }
    assert judge.counts_["order_decides"] > 0 and np.abs(own).min() > 1e-4
    # Off-format: asked once, or in another question.
    assert np.abs(orders[:, 0] - own).max() > 1e-3
    other = make(models[kind], format="judge").decision_function(held_out)
    assert np.abs(other[:, 0] - other[:, 1] - own).max() > 1e-3


def test_a_judges_scores_turn_round_with_the_pair(
    models: dict[str, Path],
    held_out: TextPairs,
    swap_pairs: Callable[[TextPairs], TextPairs],
    caplog: pytest.LogCaptureFixture,
) -> None:
    judge = make(models["judge"], format="judge", template=TEMPLATE)
    with caplog.at_level(logging.INFO, logger="genies"):
        scores = judge.decision_function(held_out)
    assert "packed and separate passes agree" in caplog.text
    bias = judge.counts_
    np.testing.assert_array_equal(judge.decision_function(swap_pairs(held_out)), scores[:, ::-1])
    assert judge.counts_ == bias
    together = judge.predict_each([held_out, held_out.rows([0, 1])])
    np.testing.assert_allclose(together[0].scores, scores, atol=1e-6)
    assert [each.counts["judged"] for each in together] == [len(held_out), 2]


def test_a_grade_is_the_expectation_over_its_tokens(models: dict[str, Path], held_out: TextPairs) -> None:
    template = "# Prompt : {prompt} # Response : {response} # answer :\n"
    grades = {"wrong": 0, "right": 1, "better": 3}

    def grade(prompt: str, response: str) -> float:
        text = template.format(prompt=prompt, response=response)
        shares = answer_logits(models["judge"], text, list(grades), special=True).softmax(-1)
        return float(shares @ torch.tensor(list(grades.values())).float())

    judge = make(models["judge"], format="judge", template=template, answers=grades)
    np.testing.assert_allclose(judge.decision_function(held_out), of_texts(held_out, grade), atol=1e-5, rtol=0)
    assert "order_decides" not in judge.counts_
    five = make(models["judge"], format="judge", template="grade").decision_function(held_out)
    assert (five > 1).all() and (five < 5).all()


def test_a_question_to_a_judge_without_a_chat_template_ends_with_words(
    models: dict[str, Path], held_out: TextPairs
) -> None:
    template = "which is better ? {prompt} A : {first} B : {second}"
    refused = (
        "parameter template: ends with a text that is to be judged; .* the tokenizer of .*judge has no chat template"
    )
    with pytest.raises(ConfigError, match=refused):
        make(models["judge"], format="judge", template=template).decision_function(held_out)
    assert np.isfinite(make(models["chat_judge"], format="judge", template=template).decision_function(held_out)).all()


@given(prompt=st.text(), one=st.text(), other=st.text())
def test_a_question_holds_its_texts_as_they_are(prompt: str, one: str, other: str) -> None:
    """Also where they say ``{second}``, or the template has other braces."""
    parts = {"prompt": prompt + "{second}", "first": one + "{prompt}", "second": other + "{"}
    question = Question.of('{"a": {first}} of {prompt}, {second} {or} ?', None)
    expected = f'{{"a": {parts["first"]}}} of {parts["prompt"]}, {parts["second"]} {{or}} ?'
    assert question.asked(**parts) == expected


def test_answers_that_share_their_first_token_are_refused(models: dict[str, Path], held_out: TextPairs) -> None:
    """Words that the tokenizer does not know are the same token."""
    judge = make(models["judge"], format="judge", template=TEMPLATE, answers=["yea", "nay"])
    with pytest.raises(ConfigError, match="parameter answers: yea, nay do not begin with tokens of their own after"):
        judge.decision_function(held_out)


@pytest.mark.parametrize("template", [WITH_BOS, DEFAULT_SYSTEM, DATED])
@pytest.mark.parametrize("system", [(), (Turn("system", "please answer yes"),)])
def test_tokens_are_those_of_the_pipeline(
    tmp_path: Path, held_out: TextPairs, template: str, system: tuple[Turn, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the day at which the clock of templates is held still, whatever day it is."""
    from transformers import AutoTokenizer
    from transformers.utils import chat_template_utils

    folder = scalar(tmp_path, template)
    turns = (*system, Turn("user", "what is red ?"), Turn("assistant", "blue"), Turn("user", "where is Rome ?"))
    pairs = replace(held_out.rows([0]), conversation=(turns,))
    ids = make(folder).grouped(pairs).groups[0].tokens

    class Today(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return STILL

    monkeypatch.setattr(chat_template_utils, "datetime", Today)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    asked = [{"role": turn.role, "content": turn.content} for turn in turns]
    own = [
        tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": response}])["input_ids"]
        for response in sorted((pairs.first[0], pairs.second[0]))
    ]
    assert [text.tolist() for text in ids] == own
    assert tokenizer.unk_token_id not in own[0]
    assert own[0].count(tokenizer.bos_token_id) == int("bos_token" in template)


def test_a_run_in_chat_prompts_shows_a_reward_model_the_published_ones(
    models: dict[str, Path], held_out: TextPairs
) -> None:
    shown = replace(held_out, prompt=tuple(f"[user] {prompt}" for prompt in held_out.prompt), published=held_out.prompt)
    for parameters in ({}, {"model": str(models["judge"]), "format": "judge", "template": TEMPLATE}):
        model = make(models["scalar"], **parameters)
        np.testing.assert_array_equal(model.decision_function(shown), model.decision_function(held_out))


def test_a_template_that_refuses_a_system_prompt_is_named_with_the_example(tmp_path: Path, held_out: TextPairs) -> None:
    pairs = replace(held_out.rows([0]), conversation=((Turn("system", "yes"), Turn("user", "what ?")),))
    refused = r"its chat template cannot be used on example 0; .* \(System role not supported\)"
    with pytest.raises(ModelError, match=refused):
        make(scalar(tmp_path, NO_SYSTEM)).decision_function(pairs)


def test_the_reward_is_read_at_the_last_place_of_a_named_token(models: dict[str, Path], held_out: TextPairs) -> None:
    """At the end of the prompt's line, so that responses play no part; and at EOS, before the line break after it."""

    def at_prompt(prompt: str, _response: str) -> float:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(models["scalar"])
        model = AutoModelForSequenceClassification.from_pretrained(models["scalar"]).eval()
        ids = tokenizer(f"<s># user : {prompt}".rpartition("?")[0] + "?", add_special_tokens=False, return_tensors="pt")
        with torch.no_grad():
            return float(model(**ids).logits[0, 0])

    own = of_texts(held_out, at_prompt)
    np.testing.assert_allclose(make(models["scalar"], read_at="?").decision_function(held_out), own, atol=1e-5, rtol=0)
    by_text = make(models["scalar"], read_at="</s>").decision_function(held_out)
    np.testing.assert_array_equal(make(models["scalar"], read_at=2).decision_function(held_out), by_text)
    assert np.abs(by_text - make(models["scalar"]).decision_function(held_out)).max() > 1e-3
    with pytest.raises(DataError, match=r"example \d: its text lacks the token 'Lima', at which the reward is to be"):
        make(models["scalar"], read_at="Lima").decision_function(held_out)
    with pytest.raises(ConfigError, match=r"parameter read_at: 'red blue' is not one token of .*scalar"):
        make(models["scalar"], read_at="red blue").decision_function(held_out)
    bert = save_reward_model(models["scalar"].parent / "bert", "bert")
    with pytest.raises(ConfigError, match=r"parameter read_at: .*bert is no decoder"):
        make(bert, read_at="?").decision_function(held_out)


def test_where_padding_ends_the_texts_a_line_says_that_transformers_reads_elsewhere(
    tmp_path: Path, held_out: TextPairs, caplog: pytest.LogCaptureFixture
) -> None:
    folder = with_template(
        save_reward_model(tmp_path, context=256, words=WORDS), WITH_BOS.replace("{{ eos_token }}\n", "{{ eos_token }}")
    )
    model = make(folder).fit(held_out)
    import transformers

    version = f"transformers {transformers.__version__}"
    assert f"{version} reads rewards before the padding token that ends the texts" in caplog.text
    assert "read_at: unpadded" in caplog.text
    assert model.read_as_["elsewhere"] == model.read_as_["texts"] == 3
    assert model.read_as_["library"] == version
    caplog.clear()
    unpadded = make(folder, read_at="unpadded").fit(held_out)
    assert "reads rewards" not in caplog.text and unpadded.read_as_["elsewhere"] == 0
    own = of_texts(held_out, lambda prompt, response: float(pipeline(folder, said(prompt, response))[0]))
    np.testing.assert_allclose(unpadded.decision_function(held_out), own, atol=1e-5, rtol=0)
    assert np.abs(model.decision_function(held_out) - own).max() > 1e-3


def test_a_fit_states_the_format_and_what_it_was_compared_with(
    models: dict[str, Path], held_out: TextPairs, tmp_path: Path
) -> None:
    for name, parameters, form in (
        ("scalar", {}, "chat"),
        ("scalar", {"format": "prompt_response"}, "prompt_response"),
        ("judge", {"format": "judge", "template": TEMPLATE}, "judge"),
    ):
        fitted = make(models[name], **parameters).fit(held_out)
        assert fitted.read_as_["format"] == form
        assert fitted.read_as_["texts"] == 3 and fitted.read_as_["difference"] < 1e-5
        registry.save(fitted, tmp_path / form)
        assert registry.load(tmp_path / form).read_as_ == fitted.read_as_
    no_template = save_reward_model(tmp_path / "plain")
    assert make(no_template).fit(held_out).read_as_["format"] == "prompt_response"
    with pytest.raises(ModelError, match=r"plain: its tokenizer has no chat template; use format: prompt_response"):
        make(no_template, format="chat").fit(held_out)


@pytest.mark.parametrize("kind", ["scalar", "two", "judge", "chat_judge"])
def test_in_bfloat16_only_rounding_differs(
    models: dict[str, Path], held_out: TextPairs, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genies.engine.arithmetic.native_bfloat16", lambda _device: True)
    own = {"format": "judge"} if "judge" in kind else {"output": 1} if kind == "two" else {}
    rounded = make(models[kind], dtype="bfloat16", **own).fit(held_out)
    assert 0 <= rounded.read_as_["difference"] < 0.02 and rounded.read_as_["elsewhere"] == 0
    exact = make(models[kind], dtype="float32", **own)
    np.testing.assert_allclose(rounded.decision_function(held_out), exact.decision_function(held_out), atol=0.1)


def test_a_class_that_computes_more_than_its_head_is_refused(
    models: dict[str, Path], held_out: TextPairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import LlamaForSequenceClassification

    own = LlamaForSequenceClassification.forward

    def doubled(self: Any, *args: Any, **inputs: Any) -> Any:
        outputs = own(self, *args, **inputs)
        outputs.logits = outputs.logits * 2
        return outputs

    monkeypatch.setattr(LlamaForSequenceClassification, "forward", doubled)
    with pytest.raises(ModelError, match=r"scalar: the score of a text is .* in the model's own pass of transformers"):
        make(models["scalar"]).fit(held_out)


def test_a_model_that_needs_code_of_its_own_is_refused_with_the_file(tmp_path: Path, held_out: TextPairs) -> None:
    folder = scalar(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    named = {"AutoModelForSequenceClassification": "modeling_custom.LlamaForRewardModelWithGating"}
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": named}))
    with pytest.raises(ModelError, match=r"modeling_custom\.py: code of the model's own, .* \(trust_remote_code\)"):
        make(folder).decision_function(held_out)
    named = {"AutoModelForSequenceClassification": "modeling_llama.LlamaForSequenceClassification"}
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": named}))
    assert np.isfinite(make(folder).decision_function(held_out)).all()


@pytest.mark.parametrize(
    ("parameters", "refused"),
    [
        ({"output": True}, "parameter output: True names no output"),
        ({"output": -1}, "parameter output: -1 names no output"),
        ({"output": []}, r"parameter output: \[\] names no output"),
        ({"output": [0.0, 0]}, "names no output"),
        ({"output": {"a": float("nan")}}, "names no output"),
        ({"read_at": -1}, "parameter read_at: -1 is no token"),
        ({"read_at": ""}, "parameter read_at: '' is no token"),
        ({"answers": ["A", "B"]}, "parameter answers: is for format: judge, the format is auto"),
        ({"format": "judge", "output": 1}, "parameter output: is for a classifier, the format is judge"),
        ({"format": "judge", "overlong": "shorten"}, "parameter overlong: a judge's question cannot be shortened"),
        ({"format": "judge", "template": "which ?"}, "parameter template: has places for nothing"),
        ({"format": "judge", "template": "{prompt} {first}"}, "parameter template: has places for first, prompt"),
        ({"format": "judge", "answers": ["C", "D"]}, "parameter answers: goes with a template of your own"),
        ({"format": "judge", "template": TEMPLATE, "answers": ["A"]}, "are not two in a list"),
        ({"format": "judge", "template": TEMPLATE, "answers": [1, 2]}, "are not different texts"),
        ({"format": "judge", "template": "{prompt} {response} :", "answers": ["good", "bad"]}, "are not all numbers"),
        ({"format": "judge", "template": "{prompt} {response} :", "answers": ["3"]}, "are no grades"),
        ({"format": "letters"}, "parameter format: 'letters' is unknown; choose one of auto, prompt_response, chat"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(parameters: dict[str, Any], refused: str) -> None:
    with pytest.raises(ConfigError, match=refused):
        registry.make("reward_model", {"model": "some-model", **parameters})
