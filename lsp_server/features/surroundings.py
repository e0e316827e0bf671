"""What the editor has open, given to the model as context; ``textDocument/didClose`` makes it forgotten."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lsprotocol import types
from pygls.uris import to_fs_path

from inference.text.context import ContextChunk
from lsp_server.completion.suggest import Completer
from lsp_server.context.attached import WithContext
from lsp_server.context.gather import OpenFile
from lsp_server.features.documents import folder_of
from lsp_server.files import repository
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import LINE_END, Snapshot


def register(server: CodeLlamaServer) -> None:
    """What is open is read when a completion asks for it."""
    server.feature(types.TEXT_DOCUMENT_DID_CLOSE)(did_close)


def did_close(server: CodeLlamaServer, params: types.DidCloseTextDocumentParams) -> None:
    """A closed document is shown to no model any more, unless another imports it; nor is it watched."""
    server.context.forget(params.text_document.uri)
    server.watch.closed(params.text_document.uri)


def with_context(server: CodeLlamaServer, snapshot: Snapshot, engine: Completer) -> Completer:
    """The engine, asked with pieces of other files where the settings say so."""
    if not server.settings.completion.context_chars:
        return engine
    return WithContext(engine, partial(_chunks, server, snapshot))


def _chunks(server: CodeLlamaServer, snapshot: Snapshot, window: str) -> tuple[ContextChunk, ...]:
    files = [
        OpenFile(uri, _path(uri), document.language_id or "", LINE_END.sub("\n", document.source))
        for uri, document in list(server.workspace.text_documents.items())
    ]
    limit = server.settings.completion.context_chars
    return server.context.chunks(snapshot, window, files, _project(server, snapshot.uri), limit)


def _project(server: CodeLlamaServer, uri: str) -> Path:
    """The window's folder that a document lies in, else the root of its repository."""
    folder = folder_of(server, uri) or Path()
    return next((root for root in server.folders if folder.is_relative_to(root)), repository(folder / "x"))


def _path(uri: str) -> Path | None:
    path = to_fs_path(uri) if uri.startswith("file:") else None
    return Path(path) if path else None
