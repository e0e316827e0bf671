"""From LSP's document and position to a snapshot. The only feature code that touches pygls's workspace."""

from __future__ import annotations

from lsprotocol import types

from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Encoding, Position, Snapshot, take

ENCODINGS: dict[str, Encoding] = {"utf-8": "utf-8", "utf-16": "utf-16", "utf-32": "utf-32"}


def freeze(
    server: CodeLlamaServer, identifier: types.TextDocumentIdentifier, position: types.Position
) -> Snapshot | None:
    """The document as it is now; None if the client never opened it. Must be called before any await."""
    document = server.workspace.text_documents.get(identifier.uri)
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
