"""Adapters of PEFT: what genies reads of them is what PEFT's own unmerged model computes, text by text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapters import KINDS, VIRTUAL, load_unmerged, save_adapter
from helpers import WORDS, one_thread_of_torch, save_model, save_reward_model
from safetensors.torch import load_file, save_file

from genies.engine.decoder import Decoder
from genies.engine.forest import build_tree, pack, plan_batches
from genies.errors import DataError, ModelError
from genies.interventions import registry
from genies.interventions.text import TextPairs
from genies.models.adapters import OtherModel, reward_folder
from genies.models.describe import describe_model, read_model
from genies.models.files import hashes_file
from genies.models.load import load_tokenizer
from genies.models.merging import virtual_tokens
from genies.store import cache

one_thread = pytest.fixture(autouse=True)(one_thread_of_torch)

TEXTS = (
    ("Tell me about red France .\n", "the capital is Paris .", "Rome ."),
    ("What is the capital of Peru ?\n", "Lima .", "I think that it is Oslo in Norway ."),
    ("Who lies near the river ?\n", "no", "yes it is the blue mountain"),
)
PAIRS = TextPairs(*(tuple(texts) for texts in zip(*TEXTS, strict=True)), example=np.arange(len(TEXTS)))
TOLERANCE = 1e-5
BEYOND = "base_model.model.model.layers.9.mlp.down_proj.lora_A.weight"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("base") / "tiny-llama", "llama")


@pytest.fixture
def remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return hashes_file(Path("cache"))


def ids_of(tokenizer: Any) -> list[list[np.ndarray]]:
    """Token ids of the texts of each example, with EOS."""
    return [
        [np.array([*tokenizer(prompt + text).input_ids, 2], np.int32) for text in texts] for prompt, *texts in TEXTS
    ]


@torch.inference_mode()
def expected(model: Any, ids: np.ndarray, start: int, virtual: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Of one text alone, by PEFT's unmerged model: inputs of blocks and the last state, heads, and log-probability."""
    blocks, heads = [], []
    layers = [module for name, module in model.named_modules() if name.endswith(tuple(f"layers.{i}" for i in range(3)))]

    def at_block(_: Any, args: tuple, named: dict) -> None:
        blocks.append((args[0] if args else named["hidden_states"])[0, -1])

    hooks = [layer.register_forward_pre_hook(at_block, with_kwargs=True) for layer in layers]
    projections = [layer.self_attn.o_proj for layer in layers]
    hooks += [one.register_forward_pre_hook(lambda _, args: heads.append(args[0][0, -1])) for one in projections]
    head = next(module for name, module in model.named_modules() if name.endswith("lm_head"))
    hooks.append(head.register_forward_pre_hook(lambda _m, a: blocks.append(a[0][0, -1])))
    tokens = torch.as_tensor(ids, dtype=torch.int64)[None]
    logits = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits[0, virtual:].double()
    for hook in hooks:
        hook.remove()
    steps = logits.log_softmax(-1)[:-1].gather(1, tokens[0, 1:, None])[:, 0]
    return torch.stack(blocks), torch.stack(heads), float(steps[start - 1 :].sum())


def check_features(folder: Path, adapter: Path, base: Path, kind: str) -> None:
    """Compare packed passes, separate ones, and those after a shared beginning with PEFT's model."""
    decoder = Decoder.load(folder, "float32", "cpu", "sdpa")
    model, virtual = load_unmerged(adapter, base, "CAUSAL_LM"), 5 if kind in VIRTUAL else 0
    texts, starts = ids_of(load_tokenizer(folder)), 4
    trees = [build_tree(pair, [starts] * len(pair), 2) for pair in texts]
    (batch,) = plan_batches([len(tree) for tree in trees], 4096)
    single = [build_tree([text], [starts], 2) for pair in texts for text in pair]
    rows = plan_batches([len(tree) for tree in single], 1)
    read = decoder.read(pack(batch, trees))
    order = [text for tree in batch.trees for text in (2 * tree, 2 * tree + 1)]
    apart = {row.trees[0]: decoder.read_separately(pack(row, single)) for row in rows}
    largest = 0.0
    for place, text in enumerate(order):
        states, heads, log_probability = expected(model, texts[text // 2][text % 2], starts, virtual)
        for features, at in ((read, place), (apart[text], 0)):
            largest = max(largest, float((features.residual[at] - states).abs().max()))
            assert features.heads is not None
            largest = max(largest, float((features.heads[at].flatten(1) - heads).abs().max()))
            largest = max(largest, abs(float(features.log_probability[at]) - log_probability))
    print(f"{kind}: largest difference {largest:.2g}")
    assert largest < TOLERANCE
    plain = Decoder.load(base, "float32", "cpu", "sdpa").read(pack(batch, trees))
    assert float((plain.residual - read.residual).abs().max()) > 1e-2


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_those_of_the_unmerged_adapter(kind: str, base: Path, tmp_path: Path, remembered: Path) -> None:
    adapter = save_adapter(tmp_path / kind, base, kind)
    described = describe_model(str(adapter), None, remembered)
    folder = Path(described["path"])
    assert described["converted"] == folder.name and folder.parent == remembered.parent
    assert described["adapter"]["base"] == str(base) and described["adapter"]["base_revision"] is None
    assert described["context"] == 512 - (5 if kind in VIRTUAL else 0)
    check_features(folder, adapter, base, kind)


@pytest.mark.parametrize("kind", ["lora", "dora", "ia3", "prompt_tuning", "p_tuning"])
def test_rewards_are_those_of_the_unmerged_adapter_text_by_text(
    kind: str, base: Path, tmp_path: Path, remembered: Path
) -> None:
    adapter = save_adapter(tmp_path / kind, base, kind, "SEQ_CLS")
    model = load_unmerged(adapter, base, "SEQ_CLS")
    model.config.pad_token_id = None
    fitted = registry.make("reward_model", {"model": str(adapter)}).bind({}, "cpu").fit(PAIRS)
    scored = fitted.decision_function(PAIRS)
    # The self-test's own pass reads the virtual tokens, too.
    assert fitted.read_as_["difference"] < TOLERANCE
    texts = ids_of(load_tokenizer(base))
    with torch.inference_mode():
        rewards = [
            [float(model(input_ids=torch.as_tensor(text)[None].long()).logits[0, 0]) for text in pair] for pair in texts
        ]
    difference = float(np.abs(scored - np.array(rewards)).max())
    print(f"{kind}: largest difference {difference:.2g}, spread {scored.std():.2g}")
    assert difference < TOLERANCE and scored.std() > 1e-3


@pytest.mark.parametrize("kind", ["lora", "prompt_tuning"])
def test_a_judge_answers_as_the_unmerged_adapter_does(kind: str, tmp_path: Path, remembered: Path) -> None:
    base = save_model(tmp_path / "judge", "llama", words=(*WORDS, "A", "B", "1", "Which", "Answer"))
    adapter = save_adapter(tmp_path / kind, base, kind)
    template = "{prompt} Which one ? A {first} B {second} . Answer :"
    judge = registry.make("reward_model", {
        "model": str(adapter), "format": "judge", "template": template, "answers": ["A", "B"],
    }).bind({}, "cpu").fit(PAIRS)  # fmt: skip
    assert judge.read_as_["difference"] < TOLERANCE
    model, tokenizer = load_unmerged(adapter, base, "CAUSAL_LM"), load_tokenizer(base)

    @torch.inference_mode()
    def odds(prompt: str, first: str, second: str) -> float:
        # The space before an answer is a token of its own.
        asked = template.format(prompt=prompt, first=first, second=second) + " "
        known = tokenizer.get_vocab()
        logits = model(input_ids=torch.tensor([tokenizer(asked).input_ids])).logits[0, -1]
        return float(logits[known["A"]] - logits[known["B"]])

    texts = list(zip(PAIRS.prompt, PAIRS.first, PAIRS.second, strict=True))
    own = np.array([(odds(p, a, b) - odds(p, b, a)) / 2 for p, a, b in texts])
    scores = judge.decision_function(PAIRS)
    assert np.abs(scores[:, 0] - scores[:, 1] - own).max() < TOLERANCE and own.std() > 1e-3


def test_a_judges_virtual_tokens_take_positions_of_its_context(tmp_path: Path, remembered: Path) -> None:
    base = save_model(tmp_path / "judge", "llama", context=32, words=(*WORDS, "A", "B"))
    asked = {"format": "judge", "template": "{prompt} {first} {second} ?", "answers": ["A", "B"]}
    pairs = TextPairs(("river" + " river" * 11,), ("river",), ("right",), example=np.array([0]))
    registry.make("reward_model", {"model": str(base), **asked}).bind({}, "cpu").decision_function(pairs)
    adapter = save_adapter(tmp_path / "prompt", base, "prompt_tuning")
    judge = registry.make("reward_model", {"model": str(adapter), **asked}).bind({}, "cpu")
    with pytest.raises(DataError, match="exceed the model's context of 32"):
        judge.decision_function(pairs)


def test_virtual_tokens_before_the_texts_of_an_encoder_are_refused(tmp_path: Path, remembered: Path) -> None:
    encoder = save_reward_model(tmp_path / "bert", "bert")
    adapter = save_adapter(tmp_path / "prompt", encoder, "prompt_tuning", "SEQ_CLS")
    scorer = registry.make("reward_model", {"model": str(adapter), "base": str(encoder)}).bind({}, "cpu")
    with pytest.raises(ModelError, match=r"virtual tokens .* decoders alone; give another adapter") as caught:
        scorer.decision_function(PAIRS)
    assert "\n" not in str(caught.value)


def test_an_adapter_without_its_head_is_no_reward_model_but_a_language_model(
    base: Path, tmp_path: Path, remembered: Path
) -> None:
    headless = save_adapter(tmp_path / "headless", base, "lora")
    with pytest.raises(
        ModelError, match=r"headless: its weights lack score\.weight .* would be random; save the adapter"
    ):
        registry.make("reward_model", {"model": str(headless)}).bind({}, "cpu").decision_function(PAIRS)
    adapter = save_adapter(tmp_path / "reward", base, "lora", "SEQ_CLS")
    assert describe_model(str(adapter), None, remembered)["architecture"] == "LlamaForCausalLM"


def test_a_head_of_the_base_is_enough(tmp_path: Path, remembered: Path) -> None:
    finished = save_reward_model(tmp_path / "finished")
    adapter = save_adapter(tmp_path / "adapter", finished, "lora", "SEQ_CLS")
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({n: t for n, t in weights.items() if "score" not in n}, adapter / "adapter_model.safetensors")
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "modules_to_save": None}))
    scores = registry.make("reward_model", {"model": str(adapter)}).bind({}, "cpu").decision_function(PAIRS)
    assert scores.std() > 1e-3


def test_what_is_read_after_a_shared_beginning_comes_after_the_virtual_tokens(
    base: Path, tmp_path: Path, remembered: Path
) -> None:
    adapter = save_adapter(tmp_path / "prompt", base, "prompt_tuning")
    folder = Path(describe_model(str(adapter), None, remembered)["path"])
    decoder = Decoder.load(folder, "float32", "cpu", "sdpa")
    (one, other), *_ = ids_of(load_tokenizer(folder))
    shared = 5
    whole, rest = (build_tree([one, other], [shared] * 2, 2, before) for before in (0, shared - 1))
    batches = [pack(plan_batches([len(tree)], 4096)[0], [tree]) for tree in (whole, rest)]
    direct, after = decoder.read(batches[0]), decoder.read(batches[1], decoder.remember(one[: shared - 1]))
    assert torch.allclose(direct.residual, after.residual, atol=TOLERANCE)
    assert torch.allclose(direct.log_probability, after.log_probability, atol=TOLERANCE)


def test_training_on_a_model_with_virtual_tokens_reads_them_too(base: Path, tmp_path: Path, remembered: Path) -> None:
    adapter = save_adapter(tmp_path / "prompt", base, "prompt_tuning")
    described = describe_model(str(adapter), None, remembered)
    plain = describe_model(str(base), None, remembered)
    parameters = {"steps": 1, "learning_rate": 1e-9, "pairs_per_step": 2, "virtual_tokens": 3}
    scores = {
        model["name"]: registry.make("prompt_tuning", parameters).bind(model, "cpu").fit(PAIRS).decision_function(PAIRS)
        for model in (described, plain)
    }
    assert np.abs(scores["prompt"] - scores["tiny-llama"]).max() > 1e-3


def test_virtual_tokens_take_positions_of_the_context_once(tmp_path: Path, remembered: Path) -> None:
    small = save_model(tmp_path / "small", "llama", context=32)
    language = save_adapter(tmp_path / "language", small, "prompt_tuning")
    reward = save_adapter(tmp_path / "reward", small, "prompt_tuning", "SEQ_CLS")
    described = describe_model(str(language), None, remembered)
    assert described["context"] == 27

    def of_length(tokens: int) -> TextPairs:
        """Pairs of which the longest text has so many tokens, BOS and EOS counted."""
        return TextPairs(("river" + " river" * (tokens // 2 - 2),), (" .",), (" ,",), example=np.array([0]))

    def score(name: str, pairs: TextPairs, **parameters: Any) -> np.ndarray:
        return registry.make(name, parameters).bind(described, "cpu").fit(pairs).decision_function(pairs)

    lora = {"steps": 1, "pairs_per_step": 1, "rank": 2}
    finished = {"model": str(reward)}
    lengths = [len(load_tokenizer(small)(of_length(n).prompt[0] + " .").input_ids) + 1 for n in (26, 28)]
    assert lengths == [27, 29]
    for name, parameters in (("lora", lora), ("reward_model", finished)):
        score(name, of_length(26), **parameters)
        with pytest.raises(DataError, match=r"exceed the model's context of"):
            score(name, of_length(28), **parameters)
    shortened = score("reward_model", of_length(40), **finished, overlong="shorten")
    assert np.allclose(shortened, score("reward_model", of_length(44), **finished, overlong="shorten"), atol=TOLERANCE)


def test_a_base_with_virtual_tokens_is_refused(base: Path, tmp_path: Path, remembered: Path) -> None:
    adapter = save_adapter(tmp_path / "prompt", base, "prompt_tuning")
    described = describe_model(str(adapter), None, remembered)
    assert virtual_tokens(Path(described["path"])) == 5
    with pytest.raises(ModelError, match="its base .* has virtual tokens itself"):
        other = save_adapter(tmp_path / "lora", base, "lora")
        describe_model(str(other), None, remembered, base=described["path"])


def test_a_second_time_nothing_is_merged_and_the_cache_checks_it(base: Path, tmp_path: Path, remembered: Path) -> None:
    adapter = save_adapter(tmp_path / "lora", base, "lora")
    first = describe_model(str(adapter), None, remembered)
    stamp = (Path(first["path"]) / "model.safetensors").stat().st_mtime_ns
    assert describe_model(str(adapter), None, remembered) == first
    assert (Path(first["path"]) / "model.safetensors").stat().st_mtime_ns == stamp
    (entry,) = cache.entries(Path("cache"), Path("results"))
    cache.verify(entry)
    manifest = tmp_path / "model.json"
    manifest.write_text(json.dumps(first))
    assert read_model(manifest) == first
    other = describe_model(str(adapter), None, remembered, base=str(shutil.copytree(base, tmp_path / "same")))
    assert other["path"] == first["path"], "the same bytes elsewhere"


def edit(**changes: Any) -> Callable[[Path], None]:
    def edited(adapter: Path) -> None:
        file = adapter / "adapter_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return edited


def pickled(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")


def cut_short(adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-40])


def no_json(adapter: Path) -> None:
    (adapter / "adapter_config.json").write_text("{")


def with_weights(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
    def changed(adapter: Path) -> None:
        file = adapter / "adapter_model.safetensors"
        save_file(change(load_file(file)), file)

    return changed


def next_to_a_model(adapter: Path) -> None:
    save_file({"weight": torch.zeros(2)}, adapter / "model.safetensors")


@pytest.mark.parametrize(
    ("kind", "breaking", "message"),
    [
        ("lora", edit(base_model_name_or_path=None), "adapter_config.json: names no base_model_name_or_path; name its"),
        ("lora", edit(base_model_name_or_path="/no/where"), r"its base: /no/where: model folder not found; .* bases"),
        ("lora", edit(peft_type="PREFIX_TUNING"), r"peft_type is 'PREFIX_TUNING', which is neither .* are ADALORA"),
        ("lora", edit(peft_type=["LORA"]), r"peft_type is \['LORA'\], which is neither"),
        ("lora", edit(alora_invocation_tokens=[3]), "alora_invocation_tokens is set: it acts only after"),
        ("lora", edit(megatron_config={"a": 1}), "megatron_config is set"),
        ("lora", edit(r=8), "PEFT .* cannot load it on its base"),
        ("lora", edit(target_modules=["nothing"]), "PEFT .* cannot load it on its base .*nothing"),
        ("lora", pickled, r"adapter_model\.safetensors: missing; save the adapter as safetensors \(pickle"),
        ("lora", cut_short, "adapter_model.safetensors: cannot be read; download it again|cannot load it"),
        ("lora", no_json, "adapter_config.json: not JSON"),
        ("lora", next_to_a_model, r"an adapter, which would change the weights in model\.safetensors next to it"),
        ("lora", with_weights(lambda w: dict(list(w.items())[2:])), r"adapter_model\.safetensors lacks .* together"),
        (
            "lora",
            with_weights(lambda w: {**w, BEYOND: torch.ones(4, 64)}),
            "LlamaForCausalLM has no place for .*layers.9",
        ),
        ("prompt_tuning", edit(num_virtual_tokens=6), r"prompt_embeddings is \[5, 32\], not \[6, 32\]"),
        ("prompt_tuning", with_weights(lambda w: {"other": torch.zeros(2)}), "prompt_embeddings is not there"),
        ("prompt_tuning", edit(num_transformer_submodules=2), "virtual tokens for an encoder and a decoder"),
    ],
)  # fmt: skip
def test_what_is_broken_is_refused_in_one_line_that_names_the_file(
    kind: str, breaking: Callable[[Path], None], message: str, base: Path, tmp_path: Path, remembered: Path
) -> None:
    adapter = save_adapter(tmp_path / "broken", base, kind)
    breaking(adapter)
    with pytest.raises(ModelError, match=message) as refused:
        describe_model(str(adapter), None, remembered)
    assert "\n" not in str(refused.value) and str(tmp_path) in str(refused.value)
    left = remembered.parent.iterdir() if remembered.parent.exists() else []
    assert not [folder for folder in left if folder.is_dir() and len(folder.name) == 32]


def test_a_base_of_another_name_than_the_adapter_was_trained_on_is_said(
    base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    adapter = save_adapter(tmp_path / "adapter", base, "lora", "SEQ_CLS")
    other, copied = save_model(tmp_path / "other", "llama"), save_model(tmp_path / "copies" / base.name, "llama")
    for given, warned in ((copied, False), (other, True)):
        caplog.clear()
        reward_folder(OtherModel(str(adapter), base=str(given)), hashes_file(tmp_path / f"cache_{given.name}"))
        assert (f"trained on {base}, and put on {given}" in caplog.text) == warned


def test_adapters_of_adapters_and_bases_of_models_are_refused(base: Path, tmp_path: Path, remembered: Path) -> None:
    first, second = (save_adapter(tmp_path / name, base, "lora") for name in ("first", "second"))
    with pytest.raises(ModelError, match=r"its base .*first is an adapter, too; merge that one first"):
        describe_model(str(second), None, remembered, base=str(first))
    with pytest.raises(ModelError, match="is no adapter, so it has no base"):
        describe_model(str(base), None, remembered, base=str(base))


def test_a_tokenizer_of_the_adapters_own_is_taken_unless_it_has_more_tokens_than_the_base(
    base: Path, tmp_path: Path, remembered: Path
) -> None:
    from transformers import AutoTokenizer

    adapter = save_adapter(tmp_path / "lora", base, "lora")
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = "{{ messages[0].content }}!"
    tokenizer.save_pretrained(adapter)
    described = describe_model(str(adapter), None, remembered)
    assert "chat_template.jinja" in described["files"]
    tokenizer.add_tokens(["another"])
    tokenizer.save_pretrained(adapter)
    with pytest.raises(ModelError, match=r"its tokenizer has \d+ tokens, and .* embeddings for \d+; merge it yourself"):
        describe_model(str(adapter), None, remembered)
