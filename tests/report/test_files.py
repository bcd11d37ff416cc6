"""Figures as files: every one, in both formats, in the page's light colours."""

from __future__ import annotations

import re
from pathlib import Path

from test_page import TABLES

from genies.report.figures import draw
from genies.report.files import write_figures


def test_every_figure_becomes_a_drawing_and_a_picture_and_old_ones_go(tmp_path: Path) -> None:
    (tmp_path / "figure-left-over.svg").write_text("x")
    (tmp_path / "own.txt").write_text("x")
    figures = draw(TABLES)
    written = write_figures(figures, tmp_path)
    names = {f"{figure.id}.{form}" for figure in figures.all() for form in ("svg", "png")}
    assert {path.name for path in written} == names
    assert {path.name for path in tmp_path.iterdir()} == names | {"own.txt"}
    for path in written:
        content = path.read_bytes()
        if path.suffix == ".png":
            assert content.startswith(b"\x89PNG") and len(content) > 2000
        else:
            text = content.decode()
            assert "<svg" in text and "var(--" not in text
    heatmap = (tmp_path / "figure-heatmap-0.svg").read_text()
    assert "mms" in heatmap and len(re.findall("<path", heatmap)) > 12


def test_equal_tables_give_equal_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_figures(draw(TABLES), tmp_path / name)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name
