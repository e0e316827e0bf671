"""``codellama/trace``: what became of the last requests, newest last (our own request; no parameters)."""

from __future__ import annotations

from typing import Any

from lsp_server.session import CodeLlamaServer

METHOD = "codellama/trace"


def register(server: CodeLlamaServer) -> None:
    """A custom request."""
    server.feature(METHOD)(trace)


def trace(server: CodeLlamaServer, params: Any) -> list[dict[str, Any]]:
    """All records, and the engine's status last known."""
    del params
    return [record.to_json() for record in server.trace.records]
