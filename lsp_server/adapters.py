"""Which of the user's adapters a completion asks for, and going on without one that the engine refuses. Knows no LSP.

What is enabled is read anew at every request, a file of a few lines: so `codellama-ls adapters enable` takes effect at
the next key, in every window.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from inference.generation.answer import Finished, TextChunk
from inference.models.adapters import AUTO, AdapterError, Stamp, enabled_for, location, stamp
from inference.serving.client import ModelRefused
from inference.serving.wire import CompletionRequest
from lsp_server.completion.suggest import Completer


def chosen(setting: str, folder: Path | None) -> str:
    """The adapter to ask for, or an empty string: as set, or what is enabled for ``folder`` or one around it.

    Raises AdapterError where that can't be read.
    """
    if setting != AUTO:
        return setting
    return enabled_for(folder) or "" if folder else ""


def edition(adapter: str) -> Stamp:
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
