"""``textDocument/didChange``: when a person types, for the debounce, and what; pygls itself keeps the documents."""

from __future__ import annotations

import time

from lsprotocol import types

from lsp_server.features import usage_statistics
from lsp_server.session import CodeLlamaServer


def register(server: CodeLlamaServer) -> None:
    """Called after pygls's own handler."""
    server.feature(types.TEXT_DOCUMENT_DID_CHANGE)(did_change)


def did_change(server: CodeLlamaServer, params: types.DidChangeTextDocumentParams) -> None:
    """A key, or something as short."""
    server.suggestions.rhythm.key(time.monotonic() * 1000)
    usage_statistics.changed(server, params.text_document.uri)
