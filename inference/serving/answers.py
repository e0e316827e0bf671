"""Answers in OpenAI's shapes: whole, or streamed as server-sent events. Knows no routes and no models.

Source: OpenAI API reference, "Completions" (legacy) and "Chat"; WHATWG HTML, section 9.2.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from inference.generation.answer import Event, Failed, Finished, TextChunk
from inference.serving import wire
from inference.serving.wire import error_body

HTTP_STATUS = {"invalid_request_error": 400, "unavailable": 503, "server_error": 500}

T = TypeVar("T")


class TextShape:
    """Answers of ``/v1/completions``."""

    kind = "text_completion"
    chunk_kind = "text_completion"
    prefix = "cmpl"

    def __init__(self, model: str) -> None:
        self._head = {"id": f"{self.prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}

    def chunk(self, text: str, reason: str | None = None, **extra: Any) -> dict[str, Any]:
        """One server-sent event."""
        choice = {"index": 0, **self._delta(text), "finish_reason": reason, "logprobs": None}
        return {**self._head, "object": self.chunk_kind, "choices": [choice], **extra}

    def whole(self, text: str, reason: str, **extra: Any) -> dict[str, Any]:
        """The answer to a request that does not stream."""
        choice = {"index": 0, **self._message(text), "finish_reason": reason, "logprobs": None}
        return {**self._head, "object": self.kind, "choices": [choice], **extra}

    def _delta(self, text: str) -> dict[str, Any]:
        return {"text": text}

    def _message(self, text: str) -> dict[str, Any]:
        return {"text": text}


class ChatShape(TextShape):
    """Answers of ``/v1/chat/completions``."""

    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"
    prefix = "chatcmpl"

    def _delta(self, text: str) -> dict[str, Any]:
        return {"delta": {"role": "assistant", "content": text} if text else {}}

    def _message(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}}


def sse(data: Any) -> str:
    """One server-sent event (WHATWG HTML, section 9.2)."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


async def stream(events: AsyncIterator[Event], shape: TextShape) -> AsyncIterator[str]:
    """Every event as it comes."""
    async for event in events:
        if isinstance(event, TextChunk):
            yield sse(shape.chunk(event.text))
        elif isinstance(event, Finished):
            extra = {"usage": wire.usage(event.outcome), "timings": wire.timings(event.outcome)}
            yield sse(shape.chunk("", wire.finish_reason(event.outcome), **extra))
        else:
            yield sse(error_body(event.message, event.kind, event.param))
    yield "data: [DONE]\n\n"


async def whole(events: AsyncIterator[Event], shape: TextShape) -> Response:
    """All events in one."""
    try:
        text, finished = await collect(events)
    except FailedError as error:
        return JSONResponse(error_body(str(error), error.kind, error.param), HTTP_STATUS[error.kind])
    extra = {"usage": wire.usage(finished.outcome), "timings": wire.timings(finished.outcome)}
    return JSONResponse(shape.whole(text, wire.finish_reason(finished.outcome), **extra))


class FailedError(Exception):
    """A generation did not go well; the message is for who asked, ``kind`` and ``param`` are OpenAI's."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.kind, self.param = failed.kind, failed.param


async def collect(events: AsyncIterator[Event]) -> tuple[str, Finished]:
    """The text of one answer and how it went. Raises FailedError."""
    text: list[str] = []
    async for event in events:
        if isinstance(event, TextChunk):
            text.append(event.text)
        elif isinstance(event, Failed):
            raise FailedError(event)
        else:
            return "".join(text), event
    raise AssertionError("a job's last event is Finished or Failed")


async def unless_gone(http: Request, answering: Awaitable[T]) -> T:
    """Race an answer with the client's going away: nobody is left to generate for then."""
    working = asyncio.ensure_future(answering)
    leaving = asyncio.ensure_future(_gone(http))
    await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
    leaving.cancel()
    if working.done():
        return working.result()
    working.cancel()
    raise ClientDisconnect


async def _gone(http: Request) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass
