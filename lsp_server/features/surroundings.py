"""What the editor has open, given to the model as context; ``textDocument/didClose`` makes it forgotten."""

from __future__ import annotations

from pathlib import Path

from lsprotocol import types
from pygls.uris import to_fs_path

from inference.text.context import ContextChunk
from lsp_server.completion.window import prefix_window, suffix_window
from lsp_server.context.gather import OpenFile
from lsp_server.features.documents import folder_of
from lsp_server.files import repository
from lsp_server.off_loop import in_order
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Snapshot, with_lf


def register(server: CodeLlamaServer) -> None:
    """What is open is read when a completion asks for it."""
    server.feature(types.TEXT_DOCUMENT_DID_CLOSE)(did_close)


def did_close(server: CodeLlamaServer, params: types.DidCloseTextDocumentParams) -> None:
    """A closed document is shown to no model any more, unless another imports it; nor is it watched or edited."""
    server.context.forget(params.text_document.uri)
    server.edits.closed(params.text_document.uri)
    server.watch.closed(params.text_document.uri)


async def context_of(server: CodeLlamaServer, snapshot: Snapshot) -> tuple[ContextChunk, ...]:
    """Pieces of other files for one request, where the settings ask for any.

    They are gathered before anything is remembered or asked: what an answer depends on, it is known by. Files are read
    in a thread.
    """
    settings = server.settings.completion
    if not settings.context_chars:
        return ()
    window = prefix_window(snapshot.before, settings.prefix_chars) + suffix_window(
        snapshot.after, settings.suffix_chars
    )
    project = _project(server, snapshot.uri)
    files, limit = open_files(server), settings.context_chars
    try:
        return await in_order(lambda: server.context.chunks(snapshot, window, files, project, limit))
    except TimeoutError:
        return ()


def open_files(server: CodeLlamaServer) -> list[OpenFile]:
    """All documents as they are in the editor."""
    return [
        OpenFile(document.uri, _path(document.uri), document.language_id or "", with_lf(document.source))
        for document in list(server.workspace.text_documents.values())
    ]


def _project(server: CodeLlamaServer, uri: str) -> Path:
    """The window's folder that a document lies in, else the root of its repository."""
    folder = folder_of(server, uri) or Path()
    return next((root for root in server.folders if folder.is_relative_to(root)), repository(folder / "x"))


def _path(uri: str) -> Path | None:
    path = to_fs_path(uri) if uri.startswith("file:") else None
    return Path(path) if path else None
