"""Which of the user's adapters a completion asks for, and going on without one that the engine refuses. Knows no LSP.

What is enabled is read anew at every request, a file of a few lines: so `codellama-ls adapters enable` takes effect at
the next key, in every window.

What both completion methods do between their parameters and their items: gate, turn, suggestion, trace.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from inference.api.errors import ModelRefused
from inference.api.events import Finished, TextChunk
from inference.api.requests import CompletionRequest
from inference.models.adapter_store import AUTO, AdapterError, Stamp, enabled_for, location, stamp
from lsp_server.backend.backend import Backend
from lsp_server.completion.gate import GateInput, refusal
from lsp_server.completion.pipeline import Completer, CompletionRun
from lsp_server.completion.trace import Record
from lsp_server.disk import is_read_only
from lsp_server.features.usage_statistics import DisplayedItem, offers
from lsp_server.lsp.documents import context_of, folder_of, path_of
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Snapshot


def chosen_adapter(setting: str, folder: Path | None) -> str:
    """The adapter to ask for, or an empty string: as set, or what is enabled for ``folder`` or one around it.

    Raises AdapterError where that can't be read.
    """
    if setting != AUTO:
        return setting
    return enabled_for(folder) or "" if folder else ""


def adapter_version(adapter: str) -> Stamp:
    """Which training of an adapter lies there now; nothing for none, and for one that can't be read."""
    if adapter:
        with suppress(AdapterError):
            return stamp(location(adapter))
    return ()


@dataclass(frozen=True, slots=True)
class UnderAdapter:
    """An engine that is asked for an adapter and, where it refuses that, without one; ``on_refused`` is told why."""

    engine: Completer
    adapter: str
    on_refused: Callable[[str], None]

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        """Stream a completion. Raises ``EngineError``."""
        try:
            async with aclosing(self.engine.complete(replace(request, model=self.adapter))) as events:
                async for event in events:
                    yield event
            return
        except ModelRefused as refusal:  # before the first event: nothing has been shown
            self.on_refused(str(refusal))
        async with aclosing(self.engine.complete(request)) as events:
            async for event in events:
                yield event


async def ask(
    server: CodeLlamaServer, snapshot: Snapshot, *, invoked: bool, misplaced: bool = False, most: int = 1
) -> list[DisplayedItem]:
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


async def _refusal(server: CodeLlamaServer, snapshot: Snapshot, link: Backend, invoked: bool, misplaced: bool) -> str:
    """Return why the gate refuses the request, once the disk has been asked."""
    settings, path = server.settings.completion, path_of(snapshot.uri)
    given = GateInput(invoked, not link.status.limits, misplaced=misplaced)
    if path is not None:
        private = await server.why_private(path)
        given = replace(given, private=private, read_only=is_read_only(path))
    return refusal(snapshot, settings, given)


async def _asked(
    server: CodeLlamaServer, snapshot: Snapshot, link: Backend, record: Record, invoked: bool
) -> CompletionRun:
    """The request, under the adapter that the settings or the document's folder choose, if any."""
    record.adapter = adapter = _adapter(server, snapshot.uri)
    engine: Completer = link
    if adapter:
        engine = UnderAdapter(link, adapter, partial(_warn_without_adapter, server))
    known = (link.status.model, adapter_version(adapter), await context_of(server, snapshot))
    return CompletionRun(snapshot, server.settings.completion, engine, record, invoked, adapter, *known)


def _adapter(server: CodeLlamaServer, uri: str) -> str:
    try:
        return chosen_adapter(server.settings.engine.adapter, folder_of(server, uri))
    except AdapterError as error:
        _warn_without_adapter(server, str(error))
        return ""


def _warn_without_adapter(server: CodeLlamaServer, why: str) -> None:
    """Tell the user, once per reason and window, that the model answers without the adapter."""
    server.warn_once(f"{why} Completion goes on without it.")
