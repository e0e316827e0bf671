"""What both completion methods do between their parameters and their items: gate, turn, suggestion, trace."""

from __future__ import annotations

from lsp_server.completion.suggest import suggest
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Snapshot


async def ask(server: CodeLlamaServer, snapshot: Snapshot, *, invoked: bool) -> str:
    """The text to insert at the snapshot's position, or an empty one. Superseded requests get an empty one too."""
    record = server.trace.begin(snapshot.uri, snapshot.line, invoked)
    settings, link = server.settings.completion, server.link
    if not settings.enabled:
        record.result, record.reason = "off", "completion is switched off in the settings"
        return ""
    if link is None:
        record.result, record.reason = "not ready", "the server has not been initialised or is shutting down"
        return ""
    record.limits = link.status.limits
    text = await server.turns.take(snapshot.uri, invoked, lambda: suggest(snapshot, settings, link, record))
    if text is None:
        record.result, record.reason = "superseded", "a newer request came for the same document"
    return text or ""
