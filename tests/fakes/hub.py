"""A fake Hugging Face Hub on loopback, with faults.

It lists one repository and serves its files. Large files are redirected to another origin and can be resumed with
``Range``, as on the real hub.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".safetensors", ".bin", ".model")


@dataclass
class Request:
    """A request to the hub."""

    path: str
    range: str | None
    token: str | None


@dataclass
class FakeHub:
    """A hub with one repository.

    Attributes:
        folder: its files.
        name: owner and name.
        licence: licence of the model card.
        token: required token, or None.
        refusal: status and ``X-Error-Code`` of every response, or None.
        cuts: for a file, bytes after which each of the next responses breaks off.
        damaged: files sent with their last byte changed.
        longer: for a file, extra bytes beyond the listed size.
        changes: false entries of a hostile hub's listing.
        older: older commits that can be fetched.
        seen: all requests.
    """

    folder: Path
    name: str = "owner/name"
    licence: str = "llama2"
    token: str | None = None
    refusal: tuple[int, str] | None = None
    cuts: dict[str, list[int]] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    longer: dict[str, int] = field(default_factory=dict)
    changes: dict[str, object] = field(default_factory=dict)
    older: set[str] = field(default_factory=set)
    seen: list[Request] = field(default_factory=list)
    url: str = ""

    def ranges(self, name: str) -> list[str | None]:
        """Return the requested ranges of a file; redirects count once."""
        return [request.range for request in self.seen if request.path == f"/cdn/{name}"]

    @contextmanager
    def serving(self) -> Iterator[FakeHub]:
        server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def listing(self) -> dict[str, object]:
        """Return the response of ``/api/models/NAME?blobs=True``."""
        files = []
        for path in sorted(self.folder.iterdir()):
            content = path.read_bytes()
            entry = {"rfilename": path.name, "size": len(content), "blobId": _blob(content)}
            if path.name.endswith(LARGE):
                entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
            files.append(entry)
        listed = {"id": self.name, "sha": COMMIT, "siblings": files, "cardData": {"license": self.licence}}
        return listed | self.changes

    def content(self, name: str) -> bytes:
        content = (self.folder / name).read_bytes()
        if name in self.longer:
            return content + bytes(self.longer[name])
        return content[:-1] + bytes([content[-1] ^ 1]) if name in self.damaged else content


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore disconnected clients: some tests disconnect on purpose."""


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, hub = urlsplit(self.path).path, self.hub
        hub.seen.append(Request(path, self.headers.get("Range"), self.headers.get("Authorization")))
        name = path.rsplit("/", 1)[-1]
        if path.startswith("/cdn/"):
            self._send_file(name)
        elif hub.refusal or (hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}"):
            status, code = hub.refusal or (401, "GatedRepo")
            self._send(status, b"{}", {"X-Error-Code": code})
        elif path in (f"/api/models/{hub.name}", f"/api/models/{hub.name}/revision/{COMMIT}"):
            self._send(200, json.dumps(hub.listing()).encode())
        elif path.startswith(f"/api/models/{hub.name}/revision/"):
            if name in hub.older:
                self._send(200, json.dumps(hub.listing() | {"sha": name}).encode())
            else:
                self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif self._commit(path) not in (COMMIT, *hub.older) or not (hub.folder / name).exists():
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif name.endswith(LARGE):
            self._send(302, b"", {"Location": f"{hub.url.replace('127.0.0.1', 'localhost')}/cdn/{name}"})
        else:
            self._send(200, hub.content(name))

    def _commit(self, path: str) -> str:
        """Return the commit in a request's path."""
        prefix = f"/{self.hub.name}/resolve/"
        return path.removeprefix(prefix).split("/")[0] if path.startswith(prefix) else ""

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def _send_file(self, name: str) -> None:
        content, requested = self.hub.content(name), self.headers.get("Range")
        start = int(requested.removeprefix("bytes=").removesuffix("-")) if requested else 0
        cuts = self.hub.cuts.get(name)
        kept = cuts.pop(0) if cuts else None
        if kept == 0:
            self.close_connection = True
            return
        self.send_response(206 if requested else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:] if kept is None else content[start : start + kept])
        self.close_connection = self.close_connection or kept is not None

    def log_message(self, format: str, *args: object) -> None:
        pass


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
