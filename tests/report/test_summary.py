"""The lines that a run ends with."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from genies.evaluation.table import write_csv
from genies.evaluation.tables.leaderboard import TABLE as LEADERBOARD
from genies.report.summary import ROWS, leaderboard_lines


def write_board(folder: Path, freedom: dict[str, float | None]) -> None:
    """A leaderboard of one intervention, a row per label."""
    rows = [
        {"model": "m", "label": label, "averaged_over": "distinct", "intervention": "mms", "shifts": 9,
         "degrees_of_freedom": value, "generalization_accuracy": 0.6, "generalization_accuracy_low": 0.5,
         "generalization_accuracy_high": 0.7}
        for label, value in freedom.items()
    ]  # fmt: skip
    write_csv(pl.DataFrame(rows, schema=LEADERBOARD.columns), folder / LEADERBOARD.file)


def test_few_degrees_of_freedom_are_named_behind_the_table(tmp_path: Path) -> None:
    write_board(tmp_path, {"all": 2.8, "extreme": 12.4, "probing": None})
    lines = leaderboard_lines(tmp_path)
    assert lines[0] == "m: accuracy on the target, mean over shifts [95 % interval for new shifts]"
    assert "0.600 [0.500, 0.700]" in lines[2]
    assert lines[3:] == [
        "all shifts: 2.8 degrees of freedom, fewer than 4; these shifts cannot support a claim about new shifts",
        "probing shifts: one source; these shifts cannot support a claim about new shifts",
    ]


def test_enough_degrees_of_freedom_need_no_remark(tmp_path: Path) -> None:
    write_board(tmp_path, {"all": 5.9, "extreme": 4.0})
    assert not any("cannot support" in line for line in leaderboard_lines(tmp_path))


def test_what_the_table_leaves_out_is_counted_and_the_file_named(tmp_path: Path) -> None:
    def written(count: int) -> list[str]:
        rows = [
            {"model": "m", "label": "all", "averaged_over": "distinct", "intervention": f"method_{n}", "shifts": 9,
             "degrees_of_freedom": 5.0, "generalization_accuracy": None if n else 0.6}
            for n in range(count)
        ]  # fmt: skip
        write_csv(pl.DataFrame(rows, schema=LEADERBOARD.columns), tmp_path / LEADERBOARD.file)
        return leaderboard_lines(tmp_path)

    lines = written(ROWS + 2)
    assert lines[-1] == f"… and 2 more in {tmp_path / LEADERBOARD.file}" and len(lines) == 2 + ROWS + 1
    assert not any("more in" in line for line in written(ROWS))
