"""An engine whose completions are asked with chunks of other files. Knows no LSP, and not where chunks come from."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from inference.generation.answer import Finished, TextChunk
from inference.serving.wire import CompletionRequest
from inference.text.context import ContextChunk
from lsp_server.completion.suggest import Completer


@dataclass(frozen=True, slots=True)
class WithContext:
    """``gather`` is called with the text the model sees anyway, and only when it is really asked."""

    engine: Completer
    gather: Callable[[str], tuple[ContextChunk, ...]]

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        """Stream a completion. Raises ``EngineError``."""
        chunks = self.gather(f"{request.prompt}{request.suffix or ''}")
        async with aclosing(self.engine.complete(replace(request, context=chunks))) as events:
            async for event in events:
                yield event
