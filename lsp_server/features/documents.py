"""From LSP's document and position to a snapshot. The only feature code that touches pygls's workspace."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from lsprotocol import types
from pygls.uris import to_fs_path
from pygls.workspace import TextDocument

from lsp_server.edits.document import Document
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Encoding, Position, Snapshot, take

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
