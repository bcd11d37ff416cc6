"""Samples show what interventions disagree on first, with the right texts and verdicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from helpers import write_distribution, write_evaluation

from genies.cli import main
from genies.config.load import load_config
from genies.data.distributions import read_split
from genies.data.options import Reading
from genies.data.pairs import training_pairs
from genies.evaluation.evaluations import PAIR_COLUMNS
from genies.files import read_json
from genies.plan import Plan
from genies.stages.samples import DISPUTED, DRAWN, LONGEST, _shortened, choose, write_samples


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


def test_long_texts_are_cut_and_say_so() -> None:
    assert _shortened("x" * LONGEST) == "x" * LONGEST
    assert _shortened("x" * (LONGEST + 5)).endswith("… (5 characters more)")
