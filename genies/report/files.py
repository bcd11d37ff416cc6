"""The report's figures as files, SVG and PNG, in the colours of the page's light theme."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from textwrap import wrap
from typing import Any

import vl_convert

from genies.files import whole_file
from genies.report import drawing
from genies.report.words import printable

WIDTH = 640
"""Pixels of a figure that the page draws as wide as its column."""
LETTERS = 100
"""Of a line below a figure's title."""
LEGEND = {"title": None, "orient": "bottom", "columns": 3, "labelLimit": 200, "symbolLimit": 0}
SCALE = 2
"""Pixels of the PNG per pixel of the drawing."""


def write_figures(figures: drawing.Figures, folder: Path) -> list[Path]:
    """Write every figure as ``<id>.svg`` and ``<id>.png``. Returns the files.

    Args:
        figures: as ``genies.report.figures.draw`` makes them.
        folder: where to write; other figures in it, left from another configuration, are removed.
    """
    written = []
    for kind, figure in figures.by_kind():
        known = {**figure.wide.get("datasets", {}), **figures.data}
        # Others would only be parsed: drawing a figure takes as long as all of its data.
        data = {name: known[name] for name in sorted(_sources(figure.wide)) if name in known}
        model = figures.models[0] if kind.by_model and figures.models else ""
        spokes = figures.spokes if figure.id.startswith("figure-radar") else []
        alone = {**_with_legends(figure.wide), "title": _title(kind, figure, model, spokes)}
        spec = _with_colors(_printable({**alone, "datasets": data}))
        if spec.get("width") == "container":
            spec["width"] = WIDTH
        spec |= {"background": _light()["paper"], "config": _with_colors(drawing.CONFIG)}
        spec["config"]["background"] = _light()["paper"]
        svg = _renumbered(vl_convert.vegalite_to_svg(spec))
        # From the drawing, which Vega would otherwise make a second time.
        for form, content in (("svg", svg.encode()), ("png", vl_convert.svg_to_png(svg, scale=SCALE))):
            path = folder / f"{figure.id}.{form}"
            with whole_file(path) as partial:
                partial.write_bytes(content)
            written.append(path)
    for file in folder.glob("figure-*"):
        if file not in written:
            file.unlink()
    return written


def _sources(value: Any) -> set[str]:
    """Names of the tables that a specification draws from, at whatever depth."""
    if isinstance(value, list):
        return set().union(*map(_sources, value))
    if not isinstance(value, dict):
        return set()
    data = value.get("data")
    own = {data["name"]} if isinstance(data, dict) and "name" in data else set()
    return own.union(*map(_sources, value.values()))


def _title(kind: drawing.Kind, figure: drawing.Figure, model: str, spokes: list[str]) -> dict[str, Any]:
    """What a figure shows, for those who see it without the page around it."""
    names = ", ".join(name for name in (figure.title, model) if name)
    text = f"{kind.heading}: {names}" if kind.heading and kind.titled else names
    numbered = "; ".join(f"{number} {name}" for number, name in enumerate(spokes, 1))
    words = " ".join(part for part in (figure.note, figure.description, numbered) if part)
    colors = {"color": "var(--ink)", "subtitleColor": "var(--soft)"}
    return {"text": text, "subtitle": wrap(words, LETTERS), "anchor": "start", "offset": 12, **colors}


def _with_legends(value: Any) -> Any:
    """The specification with legends for the colours and shapes of models and categories."""
    if isinstance(value, list):
        return [_with_legends(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {name: _with_legends(item) for name, item in value.items()}
    for channel in ("color", "fill", "stroke", "shape"):
        encoded = found.get(channel)
        if isinstance(encoded, dict) and encoded.get("field") in ("model", "category") and "legend" in encoded:
            found[channel] = {**encoded, "legend": LEGEND}
    return found


def _renumbered(svg: str) -> str:
    """The drawing with its clips counted from 0: Vega counts on over all drawings of a process."""
    numbers: dict[str, int] = {}
    return re.sub(r"\b(clip|gradient_)(\d+)\b", lambda m: f"{m[1]}{numbers.setdefault(m[0], len(numbers))}", svg)


def _printable(value: Any) -> Any:
    """A specification whose texts XML can hold."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(name): _printable(item) for name, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list) else value


def _with_colors(value: Any) -> Any:
    """A specification with the page's colour variables replaced by their values."""
    text = re.sub(r"var\(--([a-z0-9-]+)\)", lambda match: _light()[match[1]], json.dumps(value))
    return json.loads(text)


@cache
def _light() -> dict[str, str]:
    """The colour variables of page.css, as its light theme has them; a variable may name another."""
    css = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    light = css[: css.index("@media")]
    colors = dict(re.findall(r"--([a-z0-9-]+):\s*([^;]+);", light))
    for name, value in colors.items():
        if named := re.fullmatch(r"var\(--([a-z0-9-]+)\)", value):
            colors[name] = colors[named[1]]
    return colors
