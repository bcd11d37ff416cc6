"""Only methods that saw the same are ranked together."""

from __future__ import annotations

import polars as pl
import pytest

from genies.evaluation.averages import BLOCK
from genies.evaluation.classes import NOTHING, UNKNOWN, class_of, saw_by, together
from genies.evaluation.tables.comparisons import TABLE as COMPARISONS
from genies.evaluation.tables.generalization_metrics import TABLE as METRICS
from genies.evaluation.tables.leaderboard import leaderboard
from genies.interventions import registry
from genies.published.recomputed import published_classes

ACCURACY = {"judge": 0.9, "mms": 0.8, "lora": 0.7, "zero_shot": 0.6, "unsaid": 0.95, "own": 0.5}
CLASSES = {"judge": "a judge", "mms": "source labels", "lora": "source labels", "zero_shot": NOTHING}


@pytest.fixture(scope="module")
def board() -> pl.DataFrame:
    places = [(f"s{number}", "t") for number in range(6)]
    metrics = METRICS.frame(
        {"model": "m", "intervention": name, "label": "l", "category": "c", "source": source, "target": target,
         "generalization_accuracy": accuracy}
        for name, accuracy in ACCURACY.items() for source, target in places
    )  # fmt: skip
    names = list(ACCURACY)
    compared = COMPARISONS.frame(
        {**dict(zip(BLOCK, ("m", "all", "distinct"), strict=True)), "intervention": a, "other": b, "shifts": 6,
         "difference": ACCURACY[a] - ACCURACY[b], "low": ACCURACY[a] - ACCURACY[b] - 0.01,
         "high": ACCURACY[a] - ACCURACY[b] + 0.01, "p_adjusted": 0.01, "interval_over": "new shifts",
         "verdict": "higher" if ACCURACY[a] > ACCURACY[b] else "lower"}
        for n, a in enumerate(names) for b in names[n + 1:]
    )  # fmt: skip
    return leaderboard(metrics, comparisons=compared, classes=CLASSES).filter(label="all", averaged_over="distinct")


def test_ranks_differences_and_the_best_are_within_a_class(board: pl.DataFrame) -> None:
    rows = {row["intervention"]: row for row in board.iter_rows(named=True)}
    assert list(rows) == sorted(ACCURACY, key=ACCURACY.__getitem__, reverse=True)
    assert {name: row["rank"] for name, row in rows.items()} == {
        "judge": 1, "mms": 1, "lora": 2, "zero_shot": 1, "unsaid": 1, "own": 2,
    }  # fmt: skip
    assert {name: row["saw"] for name, row in rows.items()} == {name: CLASSES.get(name, UNKNOWN) for name in ACCURACY}
    differences = {name: row["difference_to_best"] for name, row in rows.items()}
    assert differences.pop("lora") == pytest.approx(-0.1) and differences.pop("own") == pytest.approx(-0.45)
    assert set(differences.values()) == {None}
    # All were shown to be worse than `unsaid`, which saw what is not known.
    assert {name: row["may_be_best"] for name, row in rows.items()} == {
        "judge": None, "mms": True, "lora": False, "zero_shot": None, "unsaid": True, "own": False,
    }  # fmt: skip
    assert rows["lora"]["difference_to_best_low"] == pytest.approx(-0.11)


@pytest.mark.parametrize("name", registry.available())
def test_every_intervention_declares_what_it_saw(name: str) -> None:
    assert registry.load_class(name).saw is not None


def test_what_was_seen_is_put_in_words() -> None:
    assert class_of(None) == UNKNOWN and class_of(()) == NOTHING
    assert class_of({"a judge", "source labels"}) == "source labels, a judge"
    assert together([("source labels",), ()]) == {"source labels"}
    assert together([("source labels",), None]) is None
    assert class_of(saw_by(registry.make("ccs"))) == "source labels"
    assert class_of(saw_by(registry.make("ccs", {"protocol": "paper"}))) == "source labels, target texts, target labels"


def test_published_methods_have_the_classes_of_the_interventions_here() -> None:
    assert published_classes(["lora_fine_tuning", "lat", "zero_shot", "ccs", "other"]) == {
        "lora_fine_tuning": "source labels", "lat": "source labels", "zero_shot": NOTHING,
        "ccs": "source labels, target texts, target labels", "other": UNKNOWN,
    }  # fmt: skip


def test_an_intervention_of_ones_own_may_not_say_what_there_is_not(tmp_path) -> None:
    from pathlib import Path

    from genies.errors import ConfigError

    text = (Path(__file__).parents[1] / "interventions/own_probe.py").read_text()
    own = tmp_path / "own.py"
    own.write_text(text)
    assert registry.load_class(str(own)).saw is None
    own.write_text(text.replace("    features =", '    saw = ("everything",)\n    features ='))
    with pytest.raises(ConfigError, match="saw is .*'source labels', 'target texts'"):
        registry.load_class(str(own))
