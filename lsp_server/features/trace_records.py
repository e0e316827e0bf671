"""``codellama/trace``: the records of the last completion requests. A custom request without parameters."""

from __future__ import annotations

from typing import Any

from lsp_server.session import CodeLlamaServer

METHOD = "codellama/trace"


def register(server: CodeLlamaServer) -> None:
    """Register the custom request."""
    server.feature(METHOD)(trace)


def trace(server: CodeLlamaServer, params: Any) -> list[dict[str, Any]]:
    """Return all records, newest last."""
    del params
    return [record.to_json() for record in server.trace.records]
