"""Read the client's open documents: snapshots, cross-file context, and the context of a chat message.

This is the only feature code that uses pygls's workspace.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lsprotocol import types
from pygls.uris import to_fs_path
from pygls.workspace import TextDocument

from inference.text.prompts import Snippet
from lsp_server.chat.chat_context import ChatContext, SelectedLines
from lsp_server.completion.windows import prefix_window, suffix_window
from lsp_server.context.cross_file import OpenFile
from lsp_server.disk import repository, run_in_order
from lsp_server.lsp.params import document_uri, member, optional_range, request_failed
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Document, Encoding, Position, Snapshot, take, with_lf

ENCODINGS: dict[str, Encoding] = {"utf-8": "utf-8", "utf-16": "utf-16", "utf-32": "utf-32"}

MAX_DIAGNOSTICS = 50
MAX_DIAGNOSTIC_CHARS = 1_000

_SEVERITIES = {1: "error", 2: "warning", 3: "information", 4: "hint"}


def opened(server: CodeLlamaServer, uri: str) -> TextDocument | None:
    """Return the document that the client opened as ``uri``. pygls stores documents by their unquoted URIs."""
    return server.workspace.text_documents.get(unquote(uri))


def freeze(
    server: CodeLlamaServer, identifier: types.TextDocumentIdentifier, position: types.Position
) -> Snapshot | None:
    """Return a snapshot of the document now; None if it is not open. Must be called before any await."""
    document = opened(server, identifier.uri)
    if document is None:
        return None
    return take(
        document.source,
        Position(position.line, position.character),
        ENCODINGS[server.workspace.position_encoding or "utf-16"],
        uri=identifier.uri,
        language=document.language_id or "",
        version=document.version or 0,
    )


def current_document(server: CodeLlamaServer, uri: str) -> Document | None:
    """Return the document now, with its own line ends; None if it is not open."""
    document = opened(server, uri)
    if document is None:
        return None
    encoding = ENCODINGS[server.workspace.position_encoding or "utf-16"]
    return Document(uri, document.language_id or "", document.version, document.source, encoding)


def folder_of(server: CodeLlamaServer, uri: str) -> Path | None:
    """Return a document's folder. For a document without a file: the first workspace folder, or None."""
    if path := to_fs_path(uri):
        return Path(path).parent
    return next(iter(server.folders), None)


def path_of(uri: str) -> Path | None:
    """Return the file of a document or notebook cell; None for an unsaved document."""
    if path := to_fs_path(uri):
        return Path(path)
    path = unquote(urlsplit(uri).path)
    return Path(path) if path.startswith("/") else None


async def cross_file_snippets(server: CodeLlamaServer, snapshot: Snapshot) -> tuple[Snippet, ...]:
    """Return snippets of other files for one request, if the settings enable them.

    They are part of the cache key, so they are collected before the cache is used. Files are read in a thread.
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
        return await run_in_order(lambda: server.context.snippets(snapshot, window, files, project, limit))
    except TimeoutError:
        return ()


def open_files(server: CodeLlamaServer) -> list[OpenFile]:
    """Return all open documents with their unsaved changes."""
    return [
        OpenFile(document.uri, _path(document.uri), document.language_id or "", with_lf(document.source))
        for document in list(server.workspace.text_documents.values())
    ]


def _project(server: CodeLlamaServer, uri: str) -> Path:
    """Return the workspace folder of a document, else the root of its repository."""
    folder = folder_of(server, uri) or Path()
    return next((root for root in server.folders if folder.is_relative_to(root)), repository(folder / "x"))


def _path(uri: str) -> Path | None:
    path = to_fs_path(uri) if uri.startswith("file:") else None
    return Path(path) if path else None


def chat_context_of(server: CodeLlamaServer, params: Any) -> ChatContext:
    """Return the context of a chat message at this moment. Must be called before any await.

    ``params`` may have ``textDocument``, ``range`` and ``diagnostics`` (those of other language servers).
    Raises JsonRpcException.
    """
    uri = document_uri(params)
    documents = [replace(file, path=path_of(file.uri)) for file in open_files(server)]  # also for notebook cells
    current = next((file for file in documents if file.uri == uri), None)
    if uri and current is None:
        raise request_failed("This document is not open in the editor, so it cannot be sent to the model.")
    selection, diagnostics = optional_range(params), member(params, "diagnostics", list, [])
    return ChatContext(
        folders=server.folders,
        excluded=server.settings.completion.excluded_files,
        documents=documents,
        current=current,
        selected=_selected(server, uri, selection) if current and selection else None,
        diagnostics=[_diagnostic_text(one, current) for one in diagnostics[:MAX_DIAGNOSTICS]] if current else (),
        report=partial(asyncio.get_running_loop().call_soon_threadsafe, server.warn_once),
    )


def _selected(server: CodeLlamaServer, uri: str, selection: tuple[Position, Position]) -> SelectedLines:
    document = current_document(server, uri)
    assert document is not None, "it is the current document"
    start, stop = (take(document.text, position, document.encoding) for position in selection)
    return SelectedLines(stop.before[len(start.before) :], start.line + 1)


def _diagnostic_text(diagnostic: Any, file: OpenFile) -> str:
    """Format a diagnostic as one line, followed by its line of code."""
    found = optional_range(diagnostic)
    line = found[0].line if found else 0
    rows = file.text.split("\n")
    level = getattr(diagnostic, "severity", None)
    severity = _SEVERITIES.get(level, "error") if type(level) is int else "error"
    message = " ".join(member(diagnostic, "message", str, "").split())[:MAX_DIAGNOSTIC_CHARS]
    names = [getattr(diagnostic, name, None) for name in ("source", "code")]
    named = " ".join(str(name) for name in names if isinstance(name, str | int))
    code = f"\n    {rows[line].strip()}" if line < len(rows) else ""
    return f"line {line + 1}: {severity}: {message}{f' ({named})' if named else ''}{code}"
