"""The verb ``compare``."""

from __future__ import annotations

from pathlib import Path

from genies.evaluation.runs import compare_runs, describe
from genies.evaluation.table import write_csv
from genies.files import results_folder


def compare(run_a: Path, run_b: Path, *, output: Path | None = None) -> None:
    """Tell which cells of two runs differ by more than noise.

    Args:
        run_a: folder of a run's results.
        run_b: folder of another's.
        output: CSV to write, with every cell's comparison.
    """
    compared = compare_runs(results_folder(run_a), results_folder(run_b))
    print(*describe(compared), sep="\n")
    if output:
        write_csv(compared, output)
