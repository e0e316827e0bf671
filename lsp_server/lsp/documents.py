"""From LSP's document and position to a snapshot. The only feature code that touches pygls's workspace.

What the editor has open, given to the model as context; ``textDocument/didClose`` makes it forgotten.

What lies before a person who asks something: the documents, the selection and the diagnostics of a request.
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
from lsp_server.chat.chat_context import ChatContext, Selected
from lsp_server.completion.windows import prefix_window, suffix_window
from lsp_server.context.cross_file import OpenFile
from lsp_server.disk import in_order, repository
from lsp_server.lsp.params import document_uri, failed, member, span
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Document, Encoding, Position, Snapshot, take, with_lf

ENCODINGS: dict[str, Encoding] = {"utf-8": "utf-8", "utf-16": "utf-16", "utf-32": "utf-32"}


def opened(server: CodeLlamaServer, uri: str) -> TextDocument | None:
    """What the client has open under ``uri``: pygls keeps it by the name that this stands for, without its quoting."""
    return server.workspace.text_documents.get(unquote(uri))


def freeze(
    server: CodeLlamaServer, identifier: types.TextDocumentIdentifier, position: types.Position
) -> Snapshot | None:
    """The document as it is now; None if the client never opened it. Must be called before any await."""
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


def whole(server: CodeLlamaServer, uri: str) -> Document | None:
    """A document as it is now, with its own line ends; None if the client never opened it."""
    document = opened(server, uri)
    if document is None:
        return None
    encoding = ENCODINGS[server.workspace.position_encoding or "utf-16"]
    return Document(uri, document.language_id or "", document.version, document.source, encoding)


def folder_of(server: CodeLlamaServer, uri: str) -> Path | None:
    """The folder a document lies in; of one that is no file, the first folder of the window, or None without any."""
    if path := to_fs_path(uri):
        return Path(path).parent
    return next(iter(server.folders), None)


def path_of(uri: str) -> Path | None:
    """The file a document lies in, or a notebook's cell; None of one that is in no file yet."""
    if path := to_fs_path(uri):
        return Path(path)
    path = unquote(urlsplit(uri).path)
    return Path(path) if path.startswith("/") else None


def register(server: CodeLlamaServer) -> None:
    """What is open is read when a completion asks for it."""
    server.feature(types.TEXT_DOCUMENT_DID_CLOSE)(did_close)


def did_close(server: CodeLlamaServer, params: types.DidCloseTextDocumentParams) -> None:
    """A closed document is shown to no model any more, unless another imports it; nor is it watched or edited."""
    server.context.forget(params.text_document.uri)
    server.edits.closed(params.text_document.uri)
    server.watch.closed(params.text_document.uri)


async def context_of(server: CodeLlamaServer, snapshot: Snapshot) -> tuple[Snippet, ...]:
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


MOST_DIAGNOSTICS = 50
LONGEST_MESSAGE = 1_000

_SEVERITIES = {1: "error", 2: "warning", 3: "information", 4: "hint"}


def chat_context_of(server: CodeLlamaServer, params: Any) -> ChatContext:
    """As things are now, so that nothing typed later counts; to be called before any await.

    ``params`` may have ``textDocument``, ``range`` and ``diagnostics`` (what the editor shows of other servers).
    Raises JsonRpcException.
    """
    uri = document_uri(params)
    documents = [replace(file, path=path_of(file.uri)) for file in open_files(server)]  # a notebook cell has a file too
    current = next((file for file in documents if file.uri == uri), None)
    if uri and current is None:
        raise failed("The editor has not opened this document, so nothing of it can be shown to the model.")
    chosen, found = span(params), member(params, "diagnostics", list, [])
    return ChatContext(
        folders=server.folders,
        excluded=server.settings.completion.excluded_files,
        documents=documents,
        current=current,
        selected=_selected(server, uri, chosen) if current and chosen else None,
        diagnostics=[_described(one, current) for one in found[:MOST_DIAGNOSTICS]] if current else (),
        report=partial(asyncio.get_running_loop().call_soon_threadsafe, server.warn_once),
    )


def _selected(server: CodeLlamaServer, uri: str, chosen: tuple[Position, Position]) -> Selected:
    document = whole(server, uri)
    assert document is not None, "it is the current one"
    start, stop = (take(document.text, position, document.encoding) for position in chosen)
    return Selected(stop.before[len(start.before) :], start.line + 1)


def _described(diagnostic: Any, file: OpenFile) -> str:
    """One line: where, how bad, what; and the line of code that it is about."""
    place = span(diagnostic)
    line = place[0].line if place else 0
    rows = file.text.split("\n")
    given = getattr(diagnostic, "severity", None)
    severity = _SEVERITIES.get(given, "error") if type(given) is int else "error"
    message = " ".join(member(diagnostic, "message", str, "").split())[:LONGEST_MESSAGE]
    names = [getattr(diagnostic, name, None) for name in ("source", "code")]
    named = " ".join(str(name) for name in names if isinstance(name, str | int))
    code = f"\n    {rows[line].strip()}" if line < len(rows) else ""
    return f"line {line + 1}: {severity}: {message}{f' ({named})' if named else ''}{code}"
