"""Learning curves of a source whose training examples share prompts: a few pairs have too few of them to be split."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from verbs import COMMON, EXAMPLES, Verbs

from genies.stages.curves import write_learning_curves


def curves(run: Verbs, protocol: str) -> dict[str, list[int]]:
    """The sizes in the table by probe."""
    probes = {name: {"intervention": name, "parameters": {**COMMON, "protocol": protocol}} for name in run.fits}
    write_learning_curves(
        "north:north", probes=probes, model="tiny", sizes=[8, 12, 16], draws=2, train=[Path("data/north/train.json")],
        test=[Path("data/north/test.json")], activations=[Path(run.activations)], output=Path("curves"),
    )  # fmt: skip
    rows = pl.read_csv("curves/learning_curves.csv").group_by("intervention").agg("size")
    return {name: sorted(sizes) for name, sizes in rows.iter_rows()}


@pytest.mark.parametrize(
    ("protocol", "sizes", "left_out"),
    [("corrected", [16, EXAMPLES], [8, 12]), ("paper", [8, 12, 16, EXAMPLES], [])],
)
def test_sizes_with_too_few_prompts_are_left_out_and_named_once(
    run: Verbs,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    protocol: str,
    sizes: list[int],
    left_out: list[int],
) -> None:
    monkeypatch.setattr("genies.data.framing.prompt_clusters", lambda prompts: np.arange(len(prompts)) // 4)
    with caplog.at_level(logging.WARNING, "genies"):
        assert curves(run, protocol) == {"mms": sizes, "cra": sizes}
    said = [message for message in caplog.messages if "prompts" in message]
    assert said == [
        f"north: {size} training pairs have too few different prompts to be split, left out" for size in left_out
    ]
