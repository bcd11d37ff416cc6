"""Correlations over shifts, with the baseline and between models."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genies.evaluation.tables.correlations import TABLE as CORRELATIONS
from genies.evaluation.tables.correlations import correlations


def metrics(rows: dict[tuple[str, str], list[float]]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "model": m,
                "intervention": i,
                "source": "easy",
                "target": f"t{n}",
                "generalization_accuracy": value,
            }
            for (m, i), values in rows.items()
            for n, value in enumerate(values)
        ]
    )


def test_methods_are_correlated_with_the_baseline_and_models_with_each_other() -> None:
    draw = np.random.default_rng(1)
    base, other = draw.random(30), draw.random(30)
    noisy = base + draw.normal(0, 0.1, 30)
    found = correlations(
        metrics({("a", "zero_shot"): base, ("a", "mms"): noisy, ("b", "zero_shot"): other, ("b", "mms"): 1 - other})
    )
    assert found.columns == list(CORRELATIONS.columns)
    by_name = {(row["of"], row["intervention"], row["with"]): row for row in found.iter_rows(named=True)}
    assert set(by_name) == {
        ("a", "mms", "zero_shot"),
        ("b", "mms", "zero_shot"),
        ("a", "zero_shot", "b"),
        ("a", "mms", "b"),
    }
    row = by_name["a", "mms", "zero_shot"]
    assert row["r"] == pytest.approx(np.corrcoef(base, noisy)[0, 1]) and row["low"] < row["r"] < row["high"]
    assert by_name["b", "mms", "zero_shot"]["r"] == pytest.approx(-1)


def test_what_does_not_vary_and_few_shifts_have_none() -> None:
    assert not len(correlations(metrics({("a", "zero_shot"): [0.5, 0.6, 0.7], ("a", "mms"): [0.5, 0.6, 0.8]})))
    assert not len(correlations(metrics({("a", "zero_shot"): [0.5, 0.6, 0.7, 0.8], ("a", "random"): [0.5] * 4})))
