"""``textDocument/didChange`` and ``didClose``. pygls itself stores the documents."""

from __future__ import annotations

import time

from lsprotocol import types

from lsp_server.lsp.displayed_items import document_changed
from lsp_server.session import CodeLlamaServer


def register(server: CodeLlamaServer) -> None:
    """Register both notifications. pygls calls its own handlers first."""
    server.feature(types.TEXT_DOCUMENT_DID_CHANGE)(did_change)
    server.feature(types.TEXT_DOCUMENT_DID_CLOSE)(did_close)


def did_change(server: CodeLlamaServer, params: types.DidChangeTextDocumentParams) -> None:
    """Record a keystroke for the debounce, and update the displayed items of the document."""
    server.pipeline.typing_rate.record_key(time.monotonic() * 1000)
    document_changed(server, params.text_document.uri)


def did_close(server: CodeLlamaServer, params: types.DidCloseTextDocumentParams) -> None:
    """Forget a document: its cross-file context, its edits and its displayed items."""
    server.context.forget(params.text_document.uri)
    server.edits.closed(params.text_document.uri)
    server.watch.closed(params.text_document.uri)
