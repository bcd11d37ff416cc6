"""Looking at a page: in a browser, or over the loopback address of a machine without a display."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import webbrowser
from pathlib import Path

import pytest
from test_page import TABLES, write_run

from genies.cli import main
from genies.commands import report


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(tmp_path / "mine", TABLES, 11)
    return tmp_path / "mine"


def test_title_provenance_and_page_follow_from_the_folder(folder: Path) -> None:
    assert main(["report", str(folder)]) == 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<title>mine: how reward models generalize</title>" in page and "0123abcd" in page


def test_a_folder_without_provenance_is_refused_before_anything_is_drawn(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    (folder / "provenance.json").unlink()
    assert main(["report", str(folder)]) == 2
    assert "provenance.json" in capsys.readouterr().err and not (folder / "report.html").exists()


def test_with_a_display_the_browser_opens_the_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    told: list[str] = []
    report.show(folder / "report.html", told.append)
    assert opened == [(folder / "report.html").as_uri()] and str(folder / "report.html") in told[0]


def test_without_a_display_the_page_is_served_to_this_machine_alone(folder: Path) -> None:
    assert main(["report", str(folder)]) == 0
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    page = str(folder / "report.html")
    code = f"from pathlib import Path; from genies.commands.report import show; show(Path({page!r}))"
    with subprocess.Popen(
        [sys.executable, "-u", "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as served:
        address = re.search(r"http://127\.0\.0\.1:(\d+)/", served.stdout.readline())
        hint = served.stdout.readline()
        try:
            with urllib.request.urlopen(address[0], timeout=10) as answer:
                assert answer.read() == (folder / "report.html").read_bytes()
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"{address[0]}provenance.json", timeout=10)
            others = [info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
            for other in {*others} - {"127.0.0.1", "127.0.1.1"}:
                with pytest.raises(OSError):
                    socket.create_connection((other, int(address[1])), timeout=2).close()
        finally:
            served.send_signal(signal.SIGINT)
            served.wait(timeout=10)
    assert f"ssh -L {address[1]}:127.0.0.1:{address[1]} {socket.gethostname()}" in hint
