"""A model hub on localhost, as far as huggingface_hub asks one: listings, metadata, files, ranges and refusals."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

TOKEN = "hf_token_that_may_read"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Repository:
    """A folder as a repository.

    Attributes:
        folder: its files.
        commit: what its branch ``main`` points to.
        gated: whether files are given to ``TOKEN`` alone, as the hub does it (listings are public).
    """

    folder: Path
    commit: str = COMMIT
    gated: bool = False


@dataclass
class Hub:
    """The hub, answering from the start of a ``with`` block to its end.

    Attributes:
        repositories: by ``owner/name``.
        breaks: file name → bytes after which the connection breaks, once.
        fails: names of files that the hub fails to give (status 500).
        requests: (method, path, Range header) of every request so far.
    """

    repositories: dict[str, Repository]
    breaks: dict[str, int] = field(default_factory=dict)
    fails: set[str] = field(default_factory=set)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)

    def __enter__(self) -> Self:
        hub = self

        class Handler(_Handler):
            def __init__(self, *arguments: object) -> None:
                self.hub = hub
                super().__init__(*arguments)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to ask this hub, past any proxy."""
        return {"HF_ENDPOINT": self.url, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}

    def files_sent(self) -> list[str]:
        """Names of the files that were asked for, by their paths in the repository, sorted."""
        asked = [path.partition("/resolve/")[2] for method, path, _ in self.requests if method == "GET"]
        return sorted(path.partition("/")[2] for path in asked if path)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("Range")))
        listing = re.fullmatch(r"/api/(?:models|datasets)/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path)
        file = re.fullmatch(r"(?:/datasets)?/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        name, revision = (listing[1], listing[3] or "main") if listing else (file[1], file[2]) if file else ("", "")
        repository = self.hub.repositories.get(name)
        if repository is None:
            return self._refuse(401, "RepoNotFound", "Invalid username or password.")
        if revision not in ("main", repository.commit):
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if listing:
            return self._send(json.dumps(self._tree(repository) if listing[2] == "tree" else self._info(name)).encode())
        if repository.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._refuse(401, "GatedRepo", f"Access to model {name} is restricted.")
        if not (repository.folder / file[3]).is_file():
            return self._refuse(404, "EntryNotFound", f"{file[3]} does not exist in {name}.")
        if file[3] in self.hub.fails and self.command == "GET":
            return self._refuse(500, "InternalError", "something broke")
        return self._send_file(repository, file[3])

    def _info(self, name: str) -> dict:
        repository = self.hub.repositories[name]
        return {"id": name, "sha": repository.commit, "gated": "auto" if repository.gated else False, "siblings": []}

    @staticmethod
    def _tree(repository: Repository) -> list[dict]:
        files = sorted(file for file in repository.folder.rglob("*") if file.is_file())
        return [
            {"type": "file", "path": str(f.relative_to(repository.folder)), "size": f.stat().st_size, "oid": _digest(f)}
            for f in files
        ]

    def _send_file(self, repository: Repository, name: str) -> None:
        file = repository.folder / name
        content = file.read_bytes()
        start = int(re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))[1])
        headers = {"X-Repo-Commit": repository.commit, "ETag": f'"{_digest(file)}"', "Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        breaks = self.hub.breaks.pop(name, None) if self.command == "GET" else None
        self._send(content[start:], 206 if start else 200, headers, breaks)

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._send(json.dumps({"error": message}).encode(), status, {"X-Error-Code": code, "X-Error-Message": message})

    def _send(
        self, content: bytes, status: int = 200, headers: dict[str, str] | None = None, breaks: int | None = None
    ) -> None:
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[:breaks])
        self.close_connection = self.close_connection or breaks is not None


def _digest(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()
