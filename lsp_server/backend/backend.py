"""What a window needs of whatever answers it, be it an engine of one's own or a server elsewhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from inference.api.events import Finished, TextChunk
from inference.api.requests import ChatRequest, CompletionRequest
from inference.api.status import Status


class Backend(Protocol):
    """The one way from the language server to a model.

    Attributes:
        status: as last known.
        server: the address of a server elsewhere; empty for an engine of one's own.
    """

    status: Status
    server: str

    def start(self) -> None:
        """Begin to look for it in the background."""
        ...

    async def stop(self) -> None:
        """Let go of it."""
        ...

    def complete(self, request: CompletionRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        """Stream a completion; raises ``EngineUnavailable`` at once while nobody can answer."""
        ...

    def chat(self, request: ChatRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        """Stream a chat answer; raises ``EngineError``, as ``complete`` does."""
        ...

    async def chat_context(self) -> int | None:
        """Tokens that a conversation and its answer may have together; None where that is not known.

        Raises ``EngineError``.
        """
        ...
