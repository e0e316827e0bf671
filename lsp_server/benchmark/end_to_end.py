"""The editing trace replayed through the real language server over stdio: end-to-end latency.

The server has an engine of its own, so that requests of other sides don't warm its cache.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from lsp_server.benchmark.editing_trace import TraceRequest
from lsp_server.benchmark.sides.own_engine import GRACE_SECONDS, isolated_runtime
from lsp_server.benchmark.sides.side import BenchError
from lsp_server.demo.tiny_editor import NotReadyError, TinyEditor, tiny_editor

PAUSE = 0.1
"""Least seconds from a response to the next key, for prefetching."""
MOST_CHECKS = 60


@dataclass(frozen=True, slots=True)
class EndToEndCompletion:
    """One completion of the language server.

    Attributes:
        total: seconds from request to response, LSP included.
        tokens: tokens that the model generated; None without a model call.
        shown: characters of the completion.
        known: answered from the cache, possibly with no completion.
    """

    total: float
    tokens: int | None
    shown: int
    known: bool


class ReplaySession:
    """Replay a trace in one editor. There is no debounce: every rival would have the same."""

    def __init__(self, editor: TinyEditor) -> None:
        self._editor = editor
        self._open: set[str] = set()

    async def ask(self, request: TraceRequest) -> EndToEndCompletion:
        """Update the document and send an automatic completion request."""
        path, text = Path("/") / request.document, request.prefix + request.suffix
        show = self._editor.change if request.document in self._open else self._editor.open
        self._open.add(request.document)
        show(path, text)
        line, column = request.prefix.count("\n"), len(request.prefix) - (request.prefix.rfind("\n") + 1)
        started = time.perf_counter()
        shown = await self._editor.complete(path, text, line, column, invoked=False)
        total = time.perf_counter() - started
        record = await self._editor.last_record()
        tokens = record["outcome"] and record["outcome"]["completion_tokens"]
        return EndToEndCompletion(total, tokens, len(shown), tokens is None and bool(shown or record.get("source")))

    async def pause(self) -> None:
        """Wait until the engine is idle, so that prefetching does not disturb the next side."""
        await asyncio.sleep(PAUSE)
        if self._editor.engine_pid:
            await until_idle(partial(_computed, self._editor.engine_pid))


async def until_idle(computed: Callable[[], float], looks: int = MOST_CHECKS, every: float = 0.05) -> bool:
    """Wait until CPU time does not grow for ``every`` seconds; False if it still grows after ``looks`` checks."""
    before = computed()
    for _ in range(looks):
        await asyncio.sleep(every)
        now = computed()
        if now == before:
            return True
        before = now
    return False


def _computed(pid: int) -> float:
    """Return CPU seconds of a process; 0 if it has ended."""
    with suppress(psutil.Error):
        times = psutil.Process(pid).cpu_times()
        return times.user + times.system
    return 0.0


@asynccontextmanager
async def replay_session(model: str, form: str, tokens: int) -> AsyncIterator[ReplaySession]:
    """Start a language server and its engine. Raises ``BenchError``."""
    completion = {"maxTokens": tokens, "debounceMs": 0, "deadlineMs": 120_000, "alternatives": 1}
    async with isolated_editor(model, form, completion) as editor:
        yield ReplaySession(editor)


@asynccontextmanager
async def isolated_editor(model: str, form: str, completion: Mapping[str, Any]) -> AsyncIterator[TinyEditor]:
    """Start an editor with a server and engine of its own and these completion settings. Raises ``BenchError``."""
    engine = {"model": model, "format": form, "adapter": "", "graceSeconds": GRACE_SECONDS}
    with isolated_runtime():
        try:
            async with tiny_editor({"engine": engine, "completion": completion}) as editor:
                await editor.ready()
                yield editor
        except NotReadyError as error:
            raise BenchError(str(error)) from error
