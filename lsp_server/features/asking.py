"""What both completion methods do between their parameters and their items: gate, turn, suggestion, trace."""

from __future__ import annotations

from functools import partial

from lsprotocol import types

from inference.models.adapters import AdapterError
from lsp_server import adapters
from lsp_server.completion.suggest import Completer, suggest
from lsp_server.completion.trace import Record
from lsp_server.features.documents import folder_of
from lsp_server.features.surroundings import with_context
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
    engine = with_context(server, snapshot, _under_adapter(server, link, snapshot.uri, record))
    text = await server.turns.take(snapshot.uri, invoked, lambda: suggest(snapshot, settings, engine, record))
    if text is None:
        record.result, record.reason = "superseded", "a newer request came for the same document"
    return text or ""


def _under_adapter(server: CodeLlamaServer, engine: Completer, uri: str, record: Record) -> Completer:
    """The engine, asked for the adapter that the settings or the document's folder choose, if any."""
    refused = partial(_without_adapter, server, record)
    try:
        record.adapter = adapters.chosen(server.settings.engine.adapter, folder_of(server, uri))
    except AdapterError as error:
        refused(str(error))
    return adapters.UnderAdapter(engine, record.adapter, refused) if record.adapter else engine


def _without_adapter(server: CodeLlamaServer, record: Record, why: str) -> None:
    """Note that the model answers without; the person is told each reason once in this window."""
    record.adapter = ""
    if why not in server.told:
        server.told.add(why)
        text = f"codellama-ls: {why} Completion goes on without it."
        server.window_show_message(types.ShowMessageParams(types.MessageType.Warning, text))
