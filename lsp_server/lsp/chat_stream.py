"""Stream a response of the chat model, with its errors as messages for the user."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from lsprotocol import types

from inference.api.engine_errors import EngineError, EngineUnavailable
from inference.api.events import Outcome, TextChunk
from inference.api.requests import ChatRequest
from lsp_server.backend.backend import Backend
from lsp_server.lsp.params import request_failed
from lsp_server.lsp.work_done_progress import Token
from lsp_server.session import CodeLlamaServer


@dataclass
class ChatResponse:
    """The text streamed so far; ``outcome`` is set at its end."""

    text: str = ""
    outcome: Outcome | None = None


def require_backend(server: CodeLlamaServer) -> Backend:
    """Return the backend. Raises JsonRpcException if there is none."""
    if server.backend is None:
        raise request_failed("The server has not been initialised, or is shutting down.")
    return server.backend


async def stream_chat(
    backend: Backend, request: ChatRequest, response: ChatResponse, on_text: Callable[[str], None]
) -> None:
    """Stream ``request`` into ``response``; call ``on_text`` with each chunk.

    Cancelling closes the stream, which frees the model. Raises JsonRpcException.
    """
    try:
        async with aclosing(backend.chat(request)) as events:
            async for event in events:
                if isinstance(event, TextChunk):
                    response.text += event.text
                    on_text(event.text)
                else:
                    response.outcome = event.outcome
    except EngineUnavailable as error:
        loading = backend.status.phase == "loading"
        raise request_failed(f"The model is not ready yet: {error}." if loading else str(error)) from error
    except EngineError as error:
        raise request_failed(str(error)) from error
    if response.outcome is None:
        raise request_failed("The engine stopped in the middle of the response. Send the message again.")


def send_partial(server: CodeLlamaServer, token: Token | None, value: dict[str, Any]) -> None:
    """Send a partial result as ``$/progress``, if the client sent a ``partialResultToken``."""
    if token is not None:
        server.progress(types.ProgressParams(token, value))


def finish_reason(outcome: Outcome | None) -> str:
    """Return OpenAI's finish reason, or ``cancelled`` if the response has no end."""
    if outcome is None:
        return "cancelled"
    return "length" if outcome.cause in ("length", "deadline") else "stop"
