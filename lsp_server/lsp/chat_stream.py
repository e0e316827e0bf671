"""An answer of the chat model as it comes, and what may be wrong with it in a sentence for the person."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

from inference.api.errors import EngineError, EngineUnavailable
from inference.api.events import Outcome, TextChunk
from inference.api.requests import ChatRequest
from lsp_server.backend.backend import Backend
from lsp_server.lsp.params import failed
from lsp_server.session import CodeLlamaServer


@dataclass
class ChatAnswer:
    """What was said so far; ``outcome`` is known once all has been."""

    text: str = ""
    outcome: Outcome | None = None


def engine_of(server: CodeLlamaServer) -> Backend:
    """The way to the engine. Raises JsonRpcException where there is none."""
    if server.link is None:
        raise failed("The server has not been initialised, or is shutting down.")
    return server.link


async def answer(link: Backend, request: ChatRequest, said: ChatAnswer, tell: Callable[[str], None]) -> None:
    """Have ``request`` answered into ``said``, and tell each piece of text as it comes.

    Cancelling closes the stream, and with it the engine's work. Raises JsonRpcException.
    """
    try:
        async with aclosing(link.chat(request)) as events:
            async for event in events:
                if isinstance(event, TextChunk):
                    said.text += event.text
                    tell(event.text)
                else:
                    said.outcome = event.outcome
    except EngineUnavailable as error:
        loading = link.status.phase == "loading"
        raise failed(f"The model is not ready yet: {error}." if loading else str(error)) from error
    except EngineError as error:
        raise failed(str(error)) from error
    if said.outcome is None:
        raise failed("The engine ended in the middle of the answer; ask again.")


def finish_reason(outcome: Outcome | None) -> str:
    """In OpenAI's words, and ``cancelled`` where the answer was broken off."""
    if outcome is None:
        return "cancelled"
    return "length" if outcome.cause in ("length", "deadline") else "stop"
