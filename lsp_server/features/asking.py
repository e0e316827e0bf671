"""What both completion methods do between their parameters and their items: gate, turn, suggestion, trace."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

from inference.models.adapters import AdapterError
from lsp_server import adapters
from lsp_server.completion.gate import Circumstances, refusal
from lsp_server.completion.suggest import Asked, Completer
from lsp_server.completion.trace import Record
from lsp_server.features.documents import folder_of, path_of
from lsp_server.features.statistics import Offer, offers
from lsp_server.features.surroundings import context_of
from lsp_server.files import is_read_only
from lsp_server.link import Link
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Snapshot


async def ask(
    server: CodeLlamaServer, snapshot: Snapshot, *, invoked: bool, misplaced: bool = False, most: int = 1
) -> list[Offer]:
    """At most ``most`` texts to insert at the snapshot's position. Superseded requests get none.

    ``misplaced``: the editor's list has an entry selected that does not stand at the cursor.
    """
    record = server.trace.begin(snapshot.uri, snapshot.line, invoked)
    try:
        texts = await _answer(server, snapshot, record, invoked, misplaced, most)
    except asyncio.CancelledError:
        record.cancel()
        raise
    finally:
        server.journal.add(record)
    return offers(server, snapshot, record, texts)


async def _answer(
    server: CodeLlamaServer, snapshot: Snapshot, record: Record, invoked: bool, misplaced: bool, most: int
) -> list[str]:
    link = server.link
    if not server.settings.completion.enabled:
        record.result, record.reason = "off", "completion is switched off in the settings"
        return []
    if link is None:
        record.result, record.reason = "not ready", "the server has not been initialised or is shutting down"
        return []
    record.server = link.server
    with record.timed("gate"):
        reason = await _refusal(server, snapshot, link, invoked, misplaced)
    record.limits = link.status.limits
    if reason:
        record.result, record.reason = "refused", reason
        return []
    asked = await _asked(server, snapshot, link, record, invoked)
    texts = await server.turns.take(snapshot.uri, invoked, lambda: server.suggestions.suggest(asked, most))
    if texts is None:
        record.result, record.reason = "superseded", "a newer request came for the same document"
    elif texts and asked.settings.prefetch:
        # it parses what comes next: not before this answer is on its way
        asyncio.get_running_loop().call_later(0, server.suggestions.look_ahead, asked, texts[0])
    return texts or []


async def _refusal(server: CodeLlamaServer, snapshot: Snapshot, link: Link, invoked: bool, misplaced: bool) -> str:
    """Return why the gate refuses the request, once the disk has been asked."""
    settings, path = server.settings.completion, path_of(snapshot.uri)
    given = Circumstances(invoked, not link.status.limits, misplaced=misplaced)
    if path is not None:
        private = await server.why_private(path)
        given = replace(given, private=private, read_only=is_read_only(path))
    return refusal(snapshot, settings, given)


async def _asked(server: CodeLlamaServer, snapshot: Snapshot, link: Link, record: Record, invoked: bool) -> Asked:
    """The request, under the adapter that the settings or the document's folder choose, if any."""
    record.adapter = adapter = _adapter(server, snapshot.uri)
    engine: Completer = link
    if adapter:
        engine = adapters.UnderAdapter(link, adapter, partial(_warn_without_adapter, server))
    known = (link.status.model, adapters.edition(adapter), await context_of(server, snapshot))
    return Asked(snapshot, server.settings.completion, engine, record, invoked, adapter, *known)


def _adapter(server: CodeLlamaServer, uri: str) -> str:
    try:
        return adapters.chosen(server.settings.engine.adapter, folder_of(server, uri))
    except AdapterError as error:
        _warn_without_adapter(server, str(error))
        return ""


def _warn_without_adapter(server: CodeLlamaServer, why: str) -> None:
    """Tell the user, once per reason and window, that the model answers without the adapter."""
    server.warn_once(f"{why} Completion goes on without it.")
