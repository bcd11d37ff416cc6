"""The page of a whole study is small enough to be sent around."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from genies.data.shifts import Shift
from genies.report.page import render

DISTRIBUTIONS = 61
"""Of the published data."""
MOST_BYTES = 15_000_000


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("page_benchmark", Path(__file__).parents[2] / "benchmarks/page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_published_shifts_with_the_matrix_has_at_most_15_megabytes(benchmark: ModuleType) -> None:
    """All ten interventions in the matrix. Some rows go by distribution, some by two: three sizes give the whole."""

    def size(distributions: int) -> int:
        names = [f"distribution_{number:02}" for number in range(distributions)]
        shifts = [Shift(a, b, b, "extreme", "skill", 1) for a, b in itertools.pairwise(names)]
        run = benchmark.tables(shifts, [*benchmark.PROBES, *benchmark.OTHERS], [])
        return len(render("study", run, {}).encode())

    few = (4, 8, 12)
    by_distributions = np.polyfit(few, [size(count) for count in few], 2)
    assert by_distributions[0] > 0
    assert np.polyval(by_distributions, DISTRIBUTIONS) < MOST_BYTES
