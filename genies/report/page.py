"""The stage ``report``: one page that explains a run, works offline and asks no other host for anything.

Names in data are hostile text here. Jinja escapes them in HTML, JSON is embedded without ``<``, and the page's
Content-Security-Policy allows only its own scripts and styles, by hash, and neither ``eval`` nor the network.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import altair as alt
import jinja2
import polars as pl
import vl_convert
from markupsafe import Markup

from genies.errors import StoreError
from genies.evaluation.averages import ALL_LABELS, DISTINCT, NEW_SHIFTS, PUBLISHED
from genies.evaluation.classes import UNKNOWN
from genies.evaluation.clean import FEWEST_CLUSTERS, FEWEST_PAIRS
from genies.evaluation.tables.comparisons import NOT_TESTED
from genies.evaluation.tables.correlations import correlations
from genies.evaluation.uncertainty import FEWEST_DEGREES, supports_new_shifts
from genies.files import read_json, whole_file
from genies.report import details, drawing
from genies.report.cost import costs
from genies.report.differences import differences, leads
from genies.report.drawing import Figures
from genies.report.figures import draw
from genies.report.files import write_figures
from genies.report.findings import findings
from genies.report.predicted import prediction_boards
from genies.report.progress import readable
from genies.report.tables import Tables
from genies.report.words import counted, number, p_value, percent, plural, printable, size, span

FOLDER = Path(__file__).parent
FIGURES = "figures"
WIDE = 0.05
"""Share of a target's test examples from which on their overlap is named at the top."""


def write_report_from_tables(
    folder: Path, *, title: str, provenance: Path, beside: Sequence[Path] = (), output: Path
) -> None:
    """Draw the report page of a run from its tables.

    Args:
        folder: of the tables that ``genies metrics`` and ``genies records`` wrote.
        title: the page's, the name of the run.
        provenance: what ``genies provenance`` wrote; stated at the page's end.
        beside: folders of other runs' results, to show on the same page.
        output: the page (HTML). Its figures go as SVG and PNG files into the folder ``figures`` beside it.

    Raises:
        StoreError: a file is missing or damaged, or cannot be shown.
    """
    stated = read_json(provenance, "configuration")
    if not isinstance(stated["configuration"], dict):
        raise StoreError(f"{provenance}: its configuration is no object; restore it, or delete it and make it again")
    tables = Tables.of_run(folder, bool(stated["configuration"].get("sweep")))
    for other in beside:
        tables = tables.beside(Tables.of_run(other, earlier=True), printable(other.name))
        stated = {**stated, f"beside: {other.name}": read_json(other / "provenance.json", "configuration")}
    tables = tables.by_size().ranked()
    figures = draw(tables)
    write_figures(figures, output.parent / FIGURES)
    _write(_page(title, tables, figures, stated), output)


def write_report(run: str, tables: Tables, provenance: Mapping[str, Any], output: Path) -> None:
    """Write the report page, whole or not at all. Equal arguments give equal bytes.

    Args:
        run: name of the run, the page's title.
        tables: what to show.
        provenance: JSON values to state: what was run, on what, with what.
        output: the page (HTML).
    """
    _write(render(run, tables, provenance), output)


def render(run: str, tables: Tables, provenance: Mapping[str, Any]) -> str:
    """The report page as HTML; arguments as in ``write_report``."""
    tables = tables.by_size().ranked()
    return _page(run, tables, draw(tables), provenance)


def _write(page: str, output: Path) -> None:
    with whole_file(output) as partial:
        partial.write_text(page, encoding="utf-8")


def _page(run: str, tables: Tables, figures: Figures, provenance: Mapping[str, Any]) -> str:
    style = _own_file("page.css")
    scripts = [_vega(), _own_file("page.js")]
    return _template().render(
        run=run,
        figures=figures,
        provenance=provenance,
        arithmetic=_arithmetic(provenance.get("arithmetic", [])),
        limit=_limit(provenance.get("configuration", {}).get("limit") or {}),
        **_of_metrics(tables.metrics),
        **_of_tables(tables),
        policy=_policy(scripts, style),
        style=Markup(style),
        scripts=[Markup(script) for script in scripts],
        content=_embedded_json(
            {
                "config": drawing.CONFIG,
                "data": figures.data,
                "samples": tables.samples,
                "figures": [
                    {"id": figure.id, "wide": figure.wide, "narrow": figure.narrow} for figure in figures.all()
                ],
            }
        ),
    )


def _of_metrics(metrics: pl.DataFrame) -> dict[str, Any]:
    """What the template says of the metrics alone."""
    shifts = metrics.group_by("source", "target", maintain_order=True).agg(pl.col("published_entries").max())
    return {
        "models": metrics["model"].unique(maintain_order=True).to_list(),
        "signs": drawing.MODEL_SIGNS,
        "interventions": metrics["intervention"].n_unique(),
        "shifts": len(shifts),
        "entries": shifts["published_entries"].sum(),
        "capabilities": details.capabilities(metrics),
        "left_out": details.left_out(metrics),
        "remarks": metrics["remarks"].null_count() < len(metrics),
        "calibrations": details.calibrations(metrics),
        "correlations": correlations(metrics).to_dicts(),
    }


def _of_tables(tables: Tables) -> dict[str, Any]:
    """What the template says of the tables, by the name that it has there."""
    over = tables["elicitation_by_category"]["interval_over"]
    return {
        "single": bool((over != NEW_SHIFTS).fill_null(True).any()),
        "fewest_degrees": FEWEST_DEGREES,
        "elicitations": details.elicitations(tables),
        "answers": details.answers(tables),
        "tie_orders": details.tie_orders(tables),
        "drawn_sets": details.drawn_sets(tables),
        "tied": details.tied_sites(tables["sites"]),
        "findings": findings(tables),
        "claims": details.claims(tables["claims"]),
        "boards": _boards(tables),
        "repeated": tables["seeds"]["seeds"].max(),
        "texts": details.texts(tables["texts"]),
        "absent": tables.absent,
        "lacking": tables.lacking,
        "overlap": _overlap(tables),
        "fewest_pairs": FEWEST_PAIRS,
        "fewest_clusters": FEWEST_CLUSTERS,
        "not_tested": NOT_TESTED,
        "differences": differences(tables),
        "predictions": prediction_boards(tables),
        "samples": details.by_loss(tables),
        "judges": details.judges(tables),
        "seen_otherwise": details.seen_otherwise(tables),
        "checks": details.checks(tables["checks"]),
        "reward_models": details.reward_models(tables["reward_models"]),
        "costs": costs(tables),
        "sweep": [] if tables.sweep is None else tables.sweep.to_dicts(),
    }


def _boards(tables: Tables) -> list[dict[str, Any]]:
    """Tables of the leaderboard by model, the mean over all distinct shifts first, there with the spread over seeds."""
    over_all = tables["seeds"].filter(over=ALL_LABELS)
    spread = {(row["model"], row["intervention"]): row for row in over_all.iter_rows(named=True)}
    of_shifts = details.of_blocks(tables.metrics)
    boards = []
    for (model,), of_model in tables["leaderboard"].group_by("model", maintain_order=True):
        blocks: list[dict[str, Any]] = []
        for (label, averaged_over), block in of_model.group_by("label", "averaged_over", maintain_order=True):
            means = block.drop("label", "averaged_over").to_dicts()
            # One label only, or every shift listed once: the table would repeat an earlier one.
            if any(means == earlier["rows"] for earlier in blocks):
                continue
            distinct = averaged_over != PUBLISHED
            over = "distinct shift" if distinct else "entry of the published list"
            count = means[0]["shifts"] if distinct else means[0]["entries"]
            of = "" if label == ALL_LABELS else f" of label {label}"
            if averaged_over not in (DISTINCT, PUBLISHED):
                of = f" of the benchmark {averaged_over}"
            names = [row["intervention"] for row in means]
            seeds_of = {name: spread.get((model, name)) for name in names}
            known = seeds_of if not blocks and any(seeds_of.values()) else {}
            freedom = None if block["degrees_of_freedom"].null_count() else min(block["degrees_of_freedom"])
            blocks.append(
                {
                    "title": f"Mean over {count} {plural(over, count)}{of}",
                    "rows": means,
                    "of_shifts": {name: of_shifts.get((model, label, averaged_over, name), {}) for name in names},
                    "seeds": known,
                    **leads(tables, model, label, averaged_over, means),
                    "classes": {row["saw"] for row in means} - {None, UNKNOWN},
                    "freedom": freedom,
                    "supported": supports_new_shifts(freedom),
                }
            )
        boards.append({"model": model, "blocks": blocks})
    return boards


def _overlap(tables: Tables) -> dict[str, Any]:
    """Test examples that also appear in training splits, and accuracies without them.

    Returns:
        ``known`` (whether texts were compared), ``within`` and ``across`` (rows of ``overlap.csv`` that share
        anything, of distributions and of shifts), ``wide`` (those of the latter that share much, the most first) and
        ``cells`` (rows of ``cells.csv`` with pairs that are not fresh).
    """
    places = ["source", "target"]
    examples = pl.col("examples")
    shared = tables["overlap"].filter((pl.col("seen") > 0) | (pl.col("near") > 0).fill_null(False))
    shared = shared.with_columns(share=pl.col("seen") / examples, near_share=pl.col("near") / examples)
    within = shared.filter(pl.col("source") == pl.col("target"))
    across = shared.join(tables.metrics.select(places).unique(), on=places, how="semi", maintain_order="left")
    shown = pl.concat([across, within]).select(places).unique()
    cells = tables["cells"].filter(pl.min_horizontal("clean_pairs", "fresh_pairs") < pl.col("test_pairs"))
    return {
        "known": bool(len(tables["overlap"])),
        "within": within.to_dicts(),
        "across": across.to_dicts(),
        "wide": across.filter(pl.col("share") > WIDE).sort("share", descending=True, maintain_order=True).to_dicts(),
        "cells": cells.join(shown, on=places, how="semi", maintain_order="left").to_dicts(),
    }


def _limit(limit: Mapping[str, Any]) -> str:
    """What the configuration's ``limit`` says, in a sentence; empty where everything is read."""

    def listed(limits: Mapping[str, int | None]) -> str:
        kinds = {"train": "training", "test": "test"}
        return " and ".join(
            f"all {kinds[split]} examples" if count is None else f"at most {counted(count, f'{kinds[split]} example')}"
            for split, count in sorted(limits.items(), reverse=True)
        )

    general = {split: limit.get(split) for split in ("train", "test")}
    special = [f"{listed(own)} of {name}" for name, own in sorted(limit.get("distributions", {}).items()) if own]
    if not special and set(general.values()) == {None}:
        return ""
    exceptions = f", but {'; '.join(special)}" if special else ""
    return f"The run reads {listed(general)} of each distribution{exceptions}."


def _arithmetic(stated: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What each model computed in, a row for activations and one for all interventions of one arithmetic."""
    device = {"cpu": "the CPU", "cuda": "a GPU"}
    rows: dict[tuple, list[str]] = {}
    for entry in stated:
        devices = tuple(device.get(name, name) for name in entry.get("devices", ()))
        rows.setdefault((entry["model"], entry["computed"], devices, entry.get("stored")), []).append(entry["of"])
    return [dict(zip(("model", "computed", "devices", "stored", "of"), (*row, of), strict=True))
            for row, of in rows.items()]  # fmt: skip


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        # An empty cell of a table is a dash on the page, never a word.
        finalize=lambda value: "–" if value is None else value,
    )
    environment.filters["number"] = number
    environment.filters["p_value"] = p_value
    # Unlike Jinja's own filter, this one leaves quotes to be escaped, so that no text ends an attribute.
    environment.filters["json"] = json.dumps
    environment.filters["duration"] = lambda seconds: "–" if seconds is None else readable(seconds)
    environment.filters["size"] = size
    environment.filters["scientific"] = lambda value: "–" if value is None else f"{value:.1e}"
    environment.globals |= {
        "counted": counted,
        "percent": percent,
        "span": span,
        "color_and_sign": drawing.color_and_sign,
    }
    return environment.get_template("page.html")


def _own_file(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


@cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, of the version that Altair writes specifications for."""
    version = alt.SCHEMA_VERSION.removeprefix("v").rpartition(".")[0]
    # Its types ask for a snippet, which it has a default for.
    script = vl_convert.javascript_bundle(vl_version=version)  # type: ignore[call-arg]
    lowered = script.lower()
    if "</script" in lowered or "<!--" in lowered or "\r" in script:
        raise RuntimeError("the Vega bundle of vl-convert cannot stand in a page as it is")
    return script


def _policy(scripts: Sequence[str], style: str) -> str:
    """A Content-Security-Policy that allows these scripts and this style, and nothing else."""
    allowed, styles = " ".join(_source_hash(script) for script in scripts), _source_hash(style)
    return f"default-src 'none'; script-src {allowed}; style-src {styles}; base-uri 'none'; form-action 'none'"


def _source_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _embedded_json(value: Any) -> Markup:
    """JSON that can stand in a script element: no ``<``, ``>`` or ``&``, so nothing ends the element early."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
