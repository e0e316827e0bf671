"""One completion request, shared by both completion methods: gate, superseding, pipeline, trace.

The enabled adapter is read from disk at each request; the file has a few lines. So `codellama-ls adapters enable` takes
effect at the next keystroke, in every editor session.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from inference.api.engine_errors import ModelRefused
from inference.api.events import Finished, TextChunk
from inference.api.requests import CompletionRequest
from inference.models.adapter_store import AUTO, AdapterError, Stamp, enabled_for, location, stamp
from lsp_server.backend.backend import Backend
from lsp_server.completion.gate import GateInput, refusal_reason
from lsp_server.completion.pipeline import Completer, CompletionRun
from lsp_server.completion.trace import TraceRecord
from lsp_server.disk import is_read_only
from lsp_server.lsp.displayed_items import DisplayedItem, displayed_items
from lsp_server.lsp.documents import cross_file_snippets, folder_of, path_of
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Snapshot


async def request_completions(
    server: CodeLlamaServer, snapshot: Snapshot, *, invoked: bool, misplaced: bool = False, count: int = 1
) -> list[DisplayedItem]:
    """Return at most ``count`` items to insert at the snapshot's position; none if superseded.

    ``invoked``: the user triggered the request explicitly. ``misplaced``: the entry selected in the editor's completion
    list is not at the cursor.
    """
    record = server.trace.begin(snapshot.uri, snapshot.line, invoked)
    try:
        run = await _admit(server, snapshot, record, invoked, misplaced)
        texts = await _suggest(server, run, count) if run else []
    except asyncio.CancelledError:
        record.cancel()
        raise
    finally:
        server.request_log.add(record)
    return displayed_items(server, snapshot, record, texts)


async def _admit(
    server: CodeLlamaServer, snapshot: Snapshot, record: TraceRecord, invoked: bool, misplaced: bool
) -> CompletionRun | None:
    """Return the run of a request; None if the settings, the backend or the gate do not allow it."""
    backend = server.backend
    if not server.settings.completion.enabled:
        record.result, record.reason = "off", "completion is switched off in the settings"
        return None
    if backend is None:
        record.result, record.reason = "not ready", "the server has not been initialised or is shutting down"
        return None
    record.server = backend.server
    with record.timed("gate"):
        reason = await _refusal_reason(server, snapshot, backend, invoked, misplaced)
    record.limits = backend.status.limits
    if reason:
        record.result, record.reason = "refused", reason
        return None
    return await _completion_run(server, snapshot, backend, record, invoked)


async def _suggest(server: CodeLlamaServer, run: CompletionRun, count: int) -> list[str]:
    """Run the pipeline, unless a newer request supersedes this one; then prefetch what follows the first text."""
    pipeline, uri = server.pipeline, run.snapshot.uri
    texts = await server.running_requests.run(uri, run.invoked, lambda: pipeline.suggest(run, count))
    if texts is None:
        run.record.result, run.record.reason = "superseded", "a newer request came for the same document"
    elif texts and run.settings.prefetch:
        # building the request parses the document, so send this response first
        asyncio.get_running_loop().call_later(0, pipeline.prefetch, run, texts[0])
    return texts or []


async def _refusal_reason(
    server: CodeLlamaServer, snapshot: Snapshot, backend: Backend, invoked: bool, misplaced: bool
) -> str:
    """Check the document's file on disk, then ask the gate."""
    settings, path = server.settings.completion, path_of(snapshot.uri)
    given = GateInput(invoked, not backend.status.limits, misplaced=misplaced)
    if path is not None:
        private = await server.why_private(path)
        given = replace(given, private=private, read_only=is_read_only(path))
    return refusal_reason(snapshot, settings, given)


async def _completion_run(
    server: CodeLlamaServer, snapshot: Snapshot, backend: Backend, record: TraceRecord, invoked: bool
) -> CompletionRun:
    """Add the adapter, its version and the cross-file snippets."""
    record.adapter = adapter = _adapter(server, snapshot.uri)
    engine: Completer = backend
    if adapter:
        engine = AdapterWithFallback(backend, adapter, partial(_warn_without_adapter, server))
    return CompletionRun(
        snapshot,
        server.settings.completion,
        engine,
        record,
        invoked,
        adapter,
        model=backend.status.model,
        adapter_version=adapter_version(adapter),
        snippets=await cross_file_snippets(server, snapshot),
    )


@dataclass(frozen=True, slots=True)
class AdapterWithFallback:
    """Complete with an adapter, or without it if the engine refuses it. ``on_refused`` is called with the reason."""

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
        except ModelRefused as error:  # raised before the first event, so no text is repeated
            self.on_refused(str(error))
        async with aclosing(self.engine.complete(request)) as events:
            async for event in events:
                yield event


def adapter_version(adapter: str) -> Stamp:
    """Return the stamp of an adapter's files; empty for no adapter and for one that cannot be read."""
    if adapter:
        with suppress(AdapterError):
            return stamp(location(adapter))
    return ()


def chosen_adapter(setting: str, folder: Path | None) -> str:
    """Return the adapter to use, empty for none: the setting, or the one enabled for ``folder`` or its parents.

    Raises AdapterError if the enabled adapters cannot be read.
    """
    if setting != AUTO:
        return setting
    return enabled_for(folder) or "" if folder else ""


def _adapter(server: CodeLlamaServer, uri: str) -> str:
    try:
        return chosen_adapter(server.settings.engine.adapter, folder_of(server, uri))
    except AdapterError as error:
        _warn_without_adapter(server, str(error))
        return ""


def _warn_without_adapter(server: CodeLlamaServer, reason: str) -> None:
    """Tell the user, once per reason and session, that completion continues without the adapter."""
    server.warn_once(f"{reason} Completion goes on without it.")
