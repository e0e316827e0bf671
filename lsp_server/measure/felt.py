"""The same trace as a person feels it: through the real language server over stdio, with all it does to ask less.

The engine behind it is its own, so that what the other sides are asked warms nothing here. Knows no rivals.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lsp_server.measure.sides.own import GRACE_SECONDS, runtime_of_its_own
from lsp_server.measure.sides.side import BenchError
from lsp_server.measure.trace import Request
from lsp_server.tryout.editor import NotReadyError, TinyEditor, tiny_editor


@dataclass(frozen=True, slots=True)
class Felt:
    """One answer of the language server.

    Attributes:
        total: seconds from the request to the suggestion, LSP included.
        tokens: what the model wrote for it, or None where the model was not asked.
        shown: characters suggested.
    """

    total: float
    tokens: int | None
    shown: int


class Window:
    """An editor's window in which the trace is typed."""

    def __init__(self, editor: TinyEditor) -> None:
        self._editor = editor
        self._open: set[str] = set()

    async def ask(self, request: Request) -> Felt:
        """Bring the document to the request's state and ask as an editor does by hand: without a debounce."""
        path, text = Path("/") / request.document, request.prefix + request.suffix
        show = self._editor.change if request.document in self._open else self._editor.open
        self._open.add(request.document)
        show(path, text)
        line, column = request.prefix.count("\n"), len(request.prefix) - (request.prefix.rfind("\n") + 1)
        started = time.perf_counter()
        shown = await self._editor.complete(path, text, line, column)
        total = time.perf_counter() - started
        outcome = (await self._editor.last_record())["outcome"]
        return Felt(total, outcome and outcome["completion_tokens"], len(shown))


@asynccontextmanager
async def window(model: str, form: str, tokens: int) -> AsyncIterator[Window]:
    """Start a language server, and through it an engine. Raises ``BenchError``."""
    engine = {"model": model, "format": form, "adapter": "", "graceSeconds": GRACE_SECONDS}
    asked_once = {"prefetch": False, "alternatives": 1}  # else the engine is at work while other sides are measured
    completion = {"maxTokens": tokens, "debounceMs": 0, "deadlineMs": 120_000, **asked_once}
    settings = {"engine": engine, "completion": completion}
    with runtime_of_its_own():
        try:
            async with tiny_editor(settings) as editor:
                await editor.ready()
                yield Window(editor)
        except NotReadyError as error:
            raise BenchError(str(error)) from error
