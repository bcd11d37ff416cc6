"""Samples show what interventions disagree on first, with the right texts and verdicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from helpers import save_model, write_distribution, write_evaluation

from genies.cli import main
from genies.config.load import load_config
from genies.data.distributions import read_split
from genies.data.options import Reading
from genies.data.pairs import training_pairs
from genies.data.views import QUESTION
from genies.evaluation.evaluations import PAIR_COLUMNS
from genies.files import read_json, write_json
from genies.models.describe import describe_model
from genies.models.load import load_tokenizer
from genies.plan import Plan
from genies.stages.samples import DISPUTED, DRAWN, LONGEST, LONGEST_END, choose, shortened, ways_seen, write_samples
from genies.stages.shown import ShownPrompt
from genies.stages.tokenize import tokenize_splits
from genies.store.tokens import read_tokens, tokens_path


def test_the_most_disputed_come_first_and_the_others_are_drawn() -> None:
    verdicts = np.full((60, 4), 0.9)
    verdicts[7, :2] = 0.1  # two against two
    verdicts[3, 0] = verdicts[5, 1] = 0.2  # one against three
    verdicts[8] = np.nan
    disputed, drawn = choose(verdicts, 1)
    assert disputed == [7, 3, 5]
    assert len(drawn) == DRAWN and not {7, 3, 5, 8} & set(drawn) and drawn == sorted(drawn)
    assert (disputed, drawn) == choose(verdicts, 1) != choose(verdicts, 2)
    assert len(choose(np.tile([0.1, 0.9], (60, 1)), 1)[0]) == DISPUTED


def test_ties_dispute_nothing() -> None:
    """A column of ``random``, and three methods that differ on the last two pairs alone."""
    verdicts = np.full((60, 4), 0.9)
    verdicts[:, 0] = 0.5
    verdicts[20:40, 1:] = 0.1
    verdicts[58:, 2] = 0.1
    assert choose(verdicts, 1)[0] == [58, 59]


@pytest.mark.parametrize("framing", ["response", "truthfulness"])
def test_texts_and_verdicts_belong_together(tmp_path: Path, framing: str) -> None:
    test = write_distribution(tmp_path / "north", train=1, test=9) / "test.json"
    examples = read_split(test)
    if framing == "response":
        places = [(e, n) for e, example in enumerate(examples) for n in range(len(example.worse))]
    else:
        asked = training_pairs(examples, 0)
        places = [(pair.example, response) for pair in asked for response in sorted((pair.best, pair.worse))]
    probability = {place: (7 * place[0] + 3 * place[1]) % 10 / 10 for place in places}
    for name, turn in (("mms", 0.0), ("lora", 1.0)):
        frame = pl.DataFrame(
            {"target": "north", "example": [e for e, _ in places], "pair": [p for _, p in places],
             "cluster": [e for e, _ in places], "answer": None,
             "probability": [abs(turn - probability[place]) for place in places],
             **dict.fromkeys(list(PAIR_COLUMNS)[6:])},
            schema=PAIR_COLUMNS,
        )  # fmt: skip
        (tmp_path / "evaluations/m" / name).mkdir(parents=True)
        frame.write_parquet(tmp_path / "evaluations/m" / name / "easy.parquet")
    write_samples(
        "easy:north", "easy:west", evaluations=tmp_path / "evaluations", models=["m"], interventions=["mms", "lora"],
        test=[test], reading=Reading(framing=framing), output=tmp_path / "samples.json",
    )  # fmt: skip
    (name, target), *further = read_json(tmp_path / "samples.json").items()
    assert name == "north" and not further
    assert target["columns"] == [["m", "mms", "easy"], ["m", "lora", "easy"]]
    for pair in target["pairs"]:
        place = pair["example"], pair["pair"]
        assert pair["verdicts"] == [probability[place], round(1 - probability[place], 3)]
        example = examples[place[0]]
        assert example.prompt in pair["prompt"]
        if framing == "response":
            assert pair["best"] == example.responses[example.best]
            assert pair["worse"] == example.responses[example.worse[place[1]]]
        else:
            assert {pair["best"], pair["worse"]} == {"Yes", "No"}


def test_every_distribution_is_shown_with_the_verdicts_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``north`` is no target, and ``west`` a reference alone, where ``lora`` has an evaluation from an earlier run."""
    monkeypatch.chdir(tmp_path)
    for name in ("north", "south", "west"):
        write_distribution(tmp_path / "data" / name)
    Path("shifts.yaml").write_text("- {source: north, target: south, target_reference: west}")
    chosen = {"run": "mine", "models": ["owner/m"], "shifts": ["shifts.yaml"], "interventions": ["mms", "lora"]}
    folders = [f"data/{name}" for name in ("north", "south", "west")]
    plan = Plan(load_config({**chosen, "distributions": folders, "capability_interventions": ["mms"]}))
    evaluations = plan.files.results / "evaluations"
    for name in ("mms", "lora"):
        write_evaluation(evaluations, "m", name, "north", {"north": [0.9] * 8, "south": [0.9] * 8})
    write_evaluation(evaluations, "m", "mms", "west", {"west": [0.9] * 8})
    (evaluations / "m/lora/west.parquet").write_bytes(b"left over")
    pairs = plan.selection.sampled_pairs
    tests = [str(plan.data.file(name, "test")) for name in plan.selection.tested]
    asked = ["samples", *pairs, "--evaluations", str(evaluations), "--models", "m", "--interventions", "mms", "lora"]
    asked += ["--references", *plan.selection.references, "--on-references", *plan.jobs.on_references, "--test", *tests]
    assert main([*asked, "--output", "samples.json"]) == 0
    assert {name: target["columns"] for name, target in read_json(Path("samples.json")).items()} == {
        "north": [["m", "mms", "north"], ["m", "lora", "north"]],
        "south": [["m", "mms", "north"], ["m", "lora", "north"]],
        "west": [["m", "mms", "west"]],
    }


def tokenized(folder: Path, name: str, test: Path, reading: Reading, context: int = 512, template: str = "") -> Path:
    """A small model, described and with the tokens of a test split; its folder in the run."""
    model = save_model(folder / name, "llama", context=context)
    if template:
        tokenizer = load_tokenizer(model)
        tokenizer.chat_template = template
        tokenizer.save_pretrained(model)
    described = folder / "models" / f"{name}.json"
    described.parent.mkdir(exist_ok=True)
    write_json(described, describe_model(str(model), None, folder / "sha256.json"))
    tokens = folder / "tokens" / f"{name}.json"
    tokens.parent.mkdir(exist_ok=True)
    tokenize_splits(model=described, test=[test], reading=reading, cache=folder / "cache", output=tokens)
    return model


def sampled(folder: Path, models: list[str], test: Path, reading: Reading) -> list[dict]:
    """The pairs that are shown of a test split on which mms gives every pair the same verdict."""
    places = [(e, p) for e, example in enumerate(read_split(test)) for p in range(len(example.responses))]
    frame = pl.DataFrame(
        {"target": test.parent.name, "example": [e for e, _ in places], "pair": [p for _, p in places],
         "cluster": [e for e, _ in places], "answer": None, "probability": 0.9,
         **dict.fromkeys(list(PAIR_COLUMNS)[6:])},
        schema=PAIR_COLUMNS,
    )  # fmt: skip
    for model in models:
        (folder / f"evaluations/{model}/mms").mkdir(parents=True)
        frame.write_parquet(folder / f"evaluations/{model}/mms/easy.parquet")
    write_samples(
        f"easy:{test.parent.name}", evaluations=folder / "evaluations", models=models, interventions=["mms"],
        test=[test], tokens=[folder / f"tokens/{model}.json" for model in models],
        described=[folder / f"models/{model}.json" for model in models], reading=reading,
        output=folder / "samples.json",
    )  # fmt: skip
    return read_json(folder / "samples.json")[test.parent.name]["pairs"]


def seen_texts(pair: dict) -> dict[str, str]:
    """The prompt of a pair as the page puts it together, by model."""
    return {
        model: way["before"] + way.get("prompt", pair["prompt"]) + way["after"]
        for way in pair["seen"]
        for model in way["models"]
    }


CHAT = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}[assistant] "


def test_under_a_chat_template_and_as_claims_prompts_are_those_whose_tokens_were_read(tmp_path: Path) -> None:
    test = write_distribution(tmp_path / "north", train=1, test=9) / "test.json"
    reading = Reading(framing="truthfulness", prompt_format="chat")
    model = tokenized(tmp_path, "m", test, reading, template=CHAT)
    (entry,) = read_json(tmp_path / "tokens/m.json")["tokens"]
    tokens = read_tokens(tokens_path(tmp_path / "cache", entry["digest"]))
    read = {tuple(ids.tolist()) for ids in np.split(tokens.ids, tokens.offsets[1:-1])}
    tokenizer, examples = load_tokenizer(model), read_split(test)
    pairs = sampled(tmp_path, ["m"], test, reading)
    assert len(pairs) == DRAWN
    for pair in pairs:
        example = examples[pair["example"]]
        claim = f"{example.prompt}{example.responses[pair['pair']]}{QUESTION}"
        assert pair["prompt"] == claim
        (way,) = pair["seen"]
        assert way == {"models": ["m"], "before": "[user] ", "after": " [assistant] ", "dropped": 0}
        for answer in ("Yes", "No"):
            assert tuple(tokenizer(seen_texts(pair)["m"] + answer)["input_ids"]) in read


def test_what_was_dropped_of_a_prompt_is_shown_of_the_models_that_had_no_room(tmp_path: Path) -> None:
    test = write_distribution(tmp_path / "north", train=1, test=9) / "test.json"
    reading = Reading(overlong="shorten")
    tokenized(tmp_path, "large", test, reading)
    tokenized(tmp_path, "small", test, reading, context=38)
    dropped = read_json(tmp_path / "tokens/small.json")["shortened"]["north/test"]
    pairs = sampled(tmp_path, ["large", "small"], test, reading)
    assert dropped and {pair["example"] for pair in pairs} - {int(example) for example in dropped}
    for pair in pairs:
        count = dropped.get(str(pair["example"]))
        if count is None:
            assert "seen" not in pair  # every model saw it as it is written
            continue
        assert seen_texts(pair) == {"large": pair["prompt"], "small": pair["prompt"][count:]}
        assert [(way["models"], way["dropped"]) for way in pair["seen"]] == [(["large"], 0), (["small"], count)]


def test_a_template_that_changes_the_prompt_is_shown_in_its_own_words() -> None:
    stripped, upper = ShownPrompt("[ red ? ]", 0), ShownPrompt("RED ?", 0)
    assert ways_seen("  red ? \n", {"a": stripped, "b": upper}) == [
        {"models": ["a"], "before": "[ ", "after": " ]", "dropped": 0, "prompt": "red ?"},
        {"models": ["b"], "before": "", "after": "", "dropped": 0, "prompt": "RED ?"},
    ]
    assert ways_seen("red", {"a": ShownPrompt("red", 0), "b": ShownPrompt("red", 0)}) == []


def test_long_texts_are_cut_in_the_middle_and_say_so() -> None:
    assert shortened("x" * LONGEST) == "x" * LONGEST
    text = f"begin{'x' * LONGEST}end"
    cut = shortened(text)
    assert cut.startswith("begin") and cut.endswith("end") and "[… 8 characters more …]" in cut
    assert cut.count("x") == LONGEST - 8 and cut.index("\n") == LONGEST - LONGEST_END
