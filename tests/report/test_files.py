"""Figures as files: every one, in both formats, in the page's light colours."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import altair as alt
import polars as pl
import pytest
from jsonschema import ValidationError
from test_baselines import RUN as OF_BASELINES
from test_directions import DIRECTIONS
from test_page import HOSTILE, OF_MMS, TABLES, full_matrix, make_tables, planted
from test_scores import SCORED
from test_sensitivity import curves, labels, wordings

from genies.data.shifts import Shift
from genies.evaluation.records import SITES
from genies.report.drawing import SECTIONS, Figures, Kind
from genies.report.figures import draw
from genies.report.files import write_figures
from genies.report.page import render
from genies.report.tables import Tables


def test_every_figure_becomes_a_drawing_and_a_picture_and_old_ones_go(drawn_anew: None, tmp_path: Path) -> None:
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


def test_equal_tables_give_equal_files(drawn_anew: None, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_figures(draw(TABLES), tmp_path / name)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


ODD = ("a\x00b", "\x1b[1m", "\ufffe", "\uffff", "x\x0by", "<&\"'>]]>")
"""Characters that XML has no place for, and those that it must escape."""


def test_names_that_xml_cannot_hold_are_drawn_without_those_characters(drawn_anew: None, tmp_path: Path) -> None:
    shift = Shift("easy", "hard", "hard", "extreme", ODD[4], 1)
    figures = Figures(kinds={"heatmaps": Kind("shifts", rank=0)})
    for figure in draw(make_tables([ODD[0]], ODD[1:], [shift])).all():
        if figure.id in ("figure-heatmap-0", "figure-leaderboard"):
            figures.add("heatmaps", figure)
    figures.data |= draw(make_tables([ODD[0]], ODD[1:], [shift])).data
    written = write_figures(figures, tmp_path)
    assert len(written) == 4
    texts = {element.text for path in written if path.suffix == ".svg" for element in ElementTree.parse(path).iter()}
    assert {"\ufffd[1m", "\ufffd", ODD[5]} <= texts


def test_a_method_named_capability_has_a_column_of_its_own() -> None:
    shift = Shift("easy", "hard", "hard", "extreme", "skill", 1)
    figures = draw(make_tables(["small"], ["zero_shot", "capability", "mms"], [shift]))
    (besides,) = {row["intervention"] for row in figures.data["besides-0"] if row["wide"]}
    cells = {row["intervention"] for row in figures.data["cells-0"]}
    assert cells == {"zero_shot", "capability", "mms"} and besides == "capability of the model"
    (heatmap,) = (figure for figure in figures.all() if figure.id == "figure-heatmap-0")
    assert '"capability of the model"' in json.dumps(heatmap.wide)


MANY = [Shift(f"s{n}", f"t{n}", f"t{n}", "extreme", f"kind {n % 4}", 1) for n in range(20)]
HEADS = pl.DataFrame([("small", "mms", "easy", 2, 0, 0.7, 0, 0)], schema=SITES.columns, orient="row")
RUN = OF_BASELINES.having(
    **SCORED,
    **DIRECTIONS,
    learning_curves=curves({"mms": 0.05}),
    few_labels=labels(0.1, 0.05),
    **wordings({"mms": (0.02, 0.01)}),
)
"""With figures in every section."""
DRAWN = {
    "every section": RUN,
    "hostile names": make_tables([*HOSTILE[:2]], [*HOSTILE[2:5]], [Shift(*HOSTILE[:5], 1)]),
    "sizes and many shifts": make_tables(["x-30b", "x-7b", "z"], ["random", "mms"], MANY).by_size(),
    "remarks, heads and the full matrix": planted(OF_MMS).having(cells=full_matrix(["a", "b", "c"]), sites=HEADS),
}


def test_a_figure_in_no_section_or_of_no_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="calibrations is no section with figures; choose one of leaderboard, shifts"):
        Kind("calibrations", rank=0)
    figures = draw(TABLES)
    with pytest.raises(ValueError, match="brokn is no kind of figure"):
        figures.add("brokn", figures.all()[0])


def test_every_section_that_takes_figures_shows_them() -> None:
    """The template is asked with one figure in each section, and nothing else to show there."""
    page = render("trial", RUN, {})
    shown = set(re.findall(r'<section id="(\w+)"', page))
    assert {*SECTIONS} <= shown
    for kind, own, _ in (found for section in SECTIONS for found in draw(RUN).of_section(section)):
        section = page[page.index(f'<section id="{kind.section}"') :].split("</section>")[0]
        assert all(f'id="{figure.id}"' in section for figure in own)


@pytest.mark.parametrize("tables", DRAWN.values(), ids=DRAWN)
def test_every_figure_is_as_vega_lites_schema_says(tables: Tables) -> None:
    figures = draw(tables).all()
    assert figures
    for spec in (spec for figure in figures for spec in (figure.wide, figure.narrow) if spec):
        alt.LayerChart.validate(spec)
    wrong = json.loads(json.dumps(figures[0].wide))
    wrong["layer"][0]["mark"]["type"] = "rectangle"
    with pytest.raises(ValidationError, match="rectangle"):
        alt.LayerChart.validate(wrong)


def test_a_figure_as_a_file_says_what_it_shows_and_of_which_model(drawn_anew: None, tmp_path: Path) -> None:
    figures = draw(TABLES)
    write_figures(figures, tmp_path)
    for figure in figures.all():
        shown = "".join(ElementTree.parse(tmp_path / f"{figure.id}.svg").getroot().itertext())
        assert figure.title in shown and figure.description.split()[0] in shown

    def texts(name: str) -> str:
        return "".join(ElementTree.parse(tmp_path / f"{name}.svg").getroot().itertext())

    for figure in figures["ellipses"]:
        ellipses = texts(figure.id)
        assert "Accuracy against capability" in ellipses and "small" in ellipses and figure.title in ellipses
        assert all(category in ellipses for category in figures.keys["ellipses"])
    assert "small" in texts("figure-radar") and "large" not in texts("figure-radar")
    assert all(model in texts("figure-reliability-0") for model in ("small", "large"))
