"""The same trace as a person feels it: through the real language server over stdio, with all it does to ask less.

The engine behind it is its own, so that what the other sides are asked warms nothing here. Knows no rivals.
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
from lsp_server.benchmark.sides.own_engine import GRACE_SECONDS, runtime_of_its_own
from lsp_server.benchmark.sides.side import BenchError
from lsp_server.demo.tiny_editor import NotReadyError, TinyEditor, tiny_editor

PAUSE = 0.1
"""Seconds from an answer to the next key, at least: time to get ready what may be asked for next."""
LOOKS = 60


@dataclass(frozen=True, slots=True)
class EndToEndAnswer:
    """One answer of the language server.

    Attributes:
        total: seconds from the request to the suggestion, LSP included.
        tokens: what the model wrote for it, or None where the model was not asked.
        shown: characters suggested.
        known: the answer was known without asking the model, be it that there is nothing to suggest.
    """

    total: float
    tokens: int | None
    shown: int
    known: bool


class EditorSession:
    """An editor's window in which the trace is typed. No debounce is counted: it would be one for every rival, too."""

    def __init__(self, editor: TinyEditor) -> None:
        self._editor = editor
        self._open: set[str] = set()

    async def ask(self, request: TraceRequest) -> EndToEndAnswer:
        """Bring the document to the request's state and ask as an editor does while its user types."""
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
        return EndToEndAnswer(total, tokens, len(shown), tokens is None and bool(shown or record.get("source")))

    async def pause(self) -> None:
        """Until the engine has done what it does unasked: it is to disturb nobody who is measured next."""
        await asyncio.sleep(PAUSE)
        if self._editor.engine_pid:
            await until_idle(partial(_computed, self._editor.engine_pid))


async def until_idle(computed: Callable[[], float], looks: int = LOOKS, every: float = 0.05) -> bool:
    """Returns when a process has ``computed`` as much as ``every`` seconds before; false if never, in so many looks."""
    before = computed()
    for _ in range(looks):
        await asyncio.sleep(every)
        now = computed()
        if now == before:
            return True
        before = now
    return False


def _computed(pid: int) -> float:
    """Seconds, of all threads of a process, as finely as the system counts; none of one that has gone."""
    with suppress(psutil.Error):
        times = psutil.Process(pid).cpu_times()
        return times.user + times.system
    return 0.0


@asynccontextmanager
async def window(model: str, form: str, tokens: int) -> AsyncIterator[EditorSession]:
    """Start a language server, and through it an engine. Raises ``BenchError``."""
    completion = {"maxTokens": tokens, "debounceMs": 0, "deadlineMs": 120_000, "alternatives": 1}
    async with editor_of_its_own(model, form, completion) as editor:
        yield EditorSession(editor)


@asynccontextmanager
async def editor_of_its_own(model: str, form: str, completion: Mapping[str, Any]) -> AsyncIterator[TinyEditor]:
    """An editor whose server and engine nobody else uses, with these settings of completions. Raises ``BenchError``."""
    engine = {"model": model, "format": form, "adapter": "", "graceSeconds": GRACE_SECONDS}
    with runtime_of_its_own():
        try:
            async with tiny_editor({"engine": engine, "completion": completion}) as editor:
                await editor.ready()
                yield editor
        except NotReadyError as error:
            raise BenchError(str(error)) from error
