"""The verb ``report``, and looking at the page that it writes."""

from __future__ import annotations

import os
import socket
import sys
import webbrowser
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from genies.files import read_json, results_folder
from genies.report.page import write_report_from_tables

LOOPBACK = "127.0.0.1"


def report(
    folder: Path,
    *,
    title: str | None = None,
    provenance: Path | None = None,
    beside: Sequence[Path] = (),
    output: Path | None = None,
    open: bool = False,
) -> None:
    """Draw the report page of a run from its tables.

    Args:
        folder: of the run's results.
        title: the page's (default: the name of the folder).
        provenance: what ``genies provenance`` wrote (default: ``provenance.json`` in the folder).
        beside: folders of other runs' results, to show on the same page.
        output: the page (default: ``report.html`` in the folder).
        open: look at the page afterwards: in the browser, or where there is no display, at an address of this machine
            that is printed. Ctrl-C ends that.

    Raises:
        StoreError: a table is missing or damaged.
    """
    provenance = provenance or results_folder(folder) / "provenance.json"
    page = output or folder / "report.html"
    read_json(provenance, "configuration")
    name = title if title is not None else folder.resolve().name
    write_report_from_tables(folder, title=name, provenance=provenance, beside=beside, output=page)
    if open:
        show(page)


def has_display() -> bool:
    """Whether a browser can be opened here."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def show(page: Path, told: Callable[[str], None] = print) -> None:
    """Open a page in the browser, or serve it to this machine alone until interrupted where there is no display.

    Args:
        page: one that stands alone, as ``genies report`` writes it.
        told: takes the lines that say how to reach it.
    """
    if has_display() and webbrowser.open(page.resolve().as_uri()):
        told(f"opened {page.resolve()}")
        return
    with _server(page) as server:
        port = server.server_address[1]
        told(f"report: http://{LOOPBACK}:{port}/ (Ctrl-C to end)")
        there = f"ssh -L {port}:{LOOPBACK}:{port} {socket.gethostname()}"
        told(f"from another machine: {there}, then open that address there")
        server.serve_forever()


def _server(page: Path) -> HTTPServer:
    """A server of one page, on a free port, that this machine alone can reach."""

    class OnePage(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/":
                self.send_error(404)
                return
            content = page.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return HTTPServer((LOOPBACK, 0), OnePage)
