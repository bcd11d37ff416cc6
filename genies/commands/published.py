"""The verb ``published``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genies.published.results import source_digest
from genies.report.page import write_report_from_tables
from genies.report.summary import leaderboard_lines
from genies.stages.metrics import write_published_tables
from genies.stages.provenance import write_provenance


def published(source: Path, *, out: Path, shifts: Sequence[Path] = (Path("published69"),)) -> None:
    """Recompute the paper's tables from its per-cell results.

    Args:
        source: folder or tar archive of published results.
        out: folder of the tables.
        shifts: shift lists, for labels and categories (default: the published one).
    """
    told = list(write_published_tables(source, shifts, out))
    provenance = out / "provenance.json"
    stated = {"run": "published", "source": str(source), "shifts": list(map(str, shifts))}
    digests = {source.resolve().name: source_digest(source)}
    write_provenance(stated, [], [], [], sorted(out.glob("*.csv")), provenance, digests)
    write_report_from_tables(out, title="published results", provenance=provenance, output=out / "report.html")
    print(*told, *leaderboard_lines(out), f"report: {(out / 'report.html').absolute()}", sep="\n")
