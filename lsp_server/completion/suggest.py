"""One suggestion, from a snapshot to the text to insert: wait, window, ask, shape. Knows no LSP types.

A request that is superseded or cancelled is a cancelled task here; leaving the engine's stream cancels it there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from inference.generation.answer import Finished, Sampling, TextChunk
from inference.serving.client import EngineError, EngineUnavailable
from inference.serving.wire import CompletionRequest
from lsp_server.completion.amount import stop_rule
from lsp_server.completion.shape import shape
from lsp_server.completion.trace import Record
from lsp_server.completion.window import prefix_window, suffix_window
from lsp_server.settings import CompletionSettings
from lsp_server.snapshot import Snapshot

PATIENCE = 4
"""Who asks by hand waits this many times longer than who merely types."""


class Completer(Protocol):
    """An engine, as far as completions go (``engine_link.EngineLink``)."""

    def complete(self, request: CompletionRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        """Raises ``EngineError``."""
        ...


async def suggest(snapshot: Snapshot, settings: CompletionSettings, engine: Completer, record: Record) -> str:
    """The text to insert at the cursor, or an empty one; ``record`` is told why."""
    started = time.perf_counter()
    try:
        text = await _ask(snapshot, settings, engine, record)
    except asyncio.CancelledError:
        record.result = "cancelled"
        raise
    except EngineUnavailable as error:
        record.result, record.reason = "not ready", str(error)
        return ""
    except EngineError as error:
        record.result, record.reason = "failed", str(error)
        return ""
    finally:
        record.total_ms = (time.perf_counter() - started) * 1000
    shaped = shape(snapshot, text, cut=record.outcome is not None and record.outcome.cause in ("length", "deadline"))
    record.generated, record.shown, record.rules = len(text), len(shaped.text), shaped.rules
    record.result = "shown" if shaped.text else "empty"
    record.reason = record.reason or shaped.why_nothing
    return shaped.text


async def _ask(snapshot: Snapshot, settings: CompletionSettings, engine: Completer, record: Record) -> str:
    if not snapshot.before.strip() and not snapshot.after.strip():
        record.reason = "the document is empty"
        return ""
    record.waited_ms = 0.0 if record.invoked else settings.debounce_ms
    await asyncio.sleep(record.waited_ms / 1000)
    request = _request(snapshot, settings, settings.deadline_ms * (PATIENCE if record.invoked else 1))
    record.amount = request.stop_rule.kind
    parts: list[str] = []
    async with aclosing(engine.complete(request)) as events:
        async for event in events:
            if isinstance(event, TextChunk):
                parts.append(event.text)
            else:
                record.outcome = event.outcome
    return "".join(parts)


def _request(snapshot: Snapshot, settings: CompletionSettings, deadline_ms: int) -> CompletionRequest:
    return CompletionRequest(
        prompt=prefix_window(snapshot.before, settings.prefix_chars),
        suffix=suffix_window(snapshot.after, settings.suffix_chars),
        sampling=Sampling(max_tokens=settings.max_tokens),
        stop_rule=stop_rule(snapshot),
        deadline_ms=deadline_ms,
        session=snapshot.uri,
    )
