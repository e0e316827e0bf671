"""Build responses in OpenAI's format: one JSON object, or a stream of server-sent events.

Source: OpenAI API reference, "Completions" (legacy) and "Chat"; WHATWG HTML, section 9.2.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from inference.api.events import (
    Event,
    Failed,
    Finished,
    Outcome,
    TextChunk,
    TokenProbability,
    finish_reason,
    timings,
    usage,
)
from inference.api.requests import error_body

HTTP_STATUS = {"invalid_request_error": 400, "unavailable": 503, "server_error": 500}

RETRY_SECONDS = "1"
"""``Retry-After`` of a response with status 503."""

Choices = AsyncIterator[tuple[int, Event]]
"""The events of all choices of one request as they arrive, each with the index of its choice."""

T = TypeVar("T")

_END = object()


class CompletionResponseBuilder:
    """Builds the JSON of ``/v1/completions``.

    Args:
        model: the name to report.
        choices: how many were requested.
        include_usage: end a stream with an event that holds the usage.
    """

    kind = "text_completion"
    chunk_kind = "text_completion"
    prefix = "cmpl"

    def __init__(self, model: str, choices: int = 1, include_usage: bool = False) -> None:
        self._head = {"id": f"{self.prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}
        self._lengths = [0] * choices
        self.include_usage = include_usage

    def first_events(self) -> list[dict[str, Any]]:
        """Return the events that open a stream."""
        return []

    def chunk(self, index: int, text: str, tokens: Sequence[TokenProbability], reason: str | None) -> dict[str, Any]:
        """Return one event of a stream."""
        choice = {"index": index, **self._delta(text), "finish_reason": reason}
        return self._event([{**choice, "logprobs": self._logprobs(index, text, tokens)}])

    def usage_event(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """Return the last event of a stream with ``include_usage``."""
        return {**self._event([]), "usage": usage(outcomes)}

    def choice(self, index: int, text: str, tokens: Sequence[TokenProbability], reason: str) -> dict[str, Any]:
        """Return one complete choice."""
        choice = {"index": index, **self._message(text), "finish_reason": reason}
        return {**choice, "logprobs": self._logprobs(index, text, tokens)}

    def response(self, choices: Sequence[dict[str, Any]], outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """Return the body of a response without streaming. ``timings``, of the first choice, is our extension."""
        extra = {"usage": usage(outcomes), "timings": timings(outcomes[0])}
        return {**self._head, "object": self.kind, "choices": list(choices), **extra}

    def _event(self, choices: Sequence[dict[str, Any]]) -> dict[str, Any]:
        no_usage = {"usage": None} if self.include_usage else {}
        return {**self._head, "object": self.chunk_kind, "choices": choices, **no_usage}

    def _delta(self, text: str) -> dict[str, Any]:
        return {"text": text}

    def _message(self, text: str) -> dict[str, Any]:
        return {"text": text}

    def _logprobs(self, index: int, text: str, tokens: Sequence[TokenProbability]) -> dict[str, Any] | None:
        """Return token log-probabilities with offsets in characters.

        A token that begins within a character has the offset of that character.
        """
        start = self._lengths[index]
        self._lengths[index] += len(text)
        if not tokens:
            return None
        offsets, seen = [], b""
        for token in tokens:
            offsets.append(start + len(seen.decode("utf-8", "ignore")))
            seen += token.piece
        return {
            "tokens": [_decoded(token.piece) for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [{_decoded(piece): logprob for piece, logprob in token.top} for token in tokens],
            "text_offset": offsets,
        }


class ChatResponseBuilder(CompletionResponseBuilder):
    """Builds the JSON of ``/v1/chat/completions``."""

    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"
    prefix = "chatcmpl"

    def first_events(self) -> list[dict[str, Any]]:
        delta = {"delta": {"role": "assistant", "content": ""}, "finish_reason": None, "logprobs": None}
        return [self._event([{"index": index, **delta}]) for index in range(len(self._lengths))]

    def _delta(self, text: str) -> dict[str, Any]:
        return {"delta": {"content": text} if text else {}}

    def _message(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}}

    def _logprobs(self, index: int, text: str, tokens: Sequence[TokenProbability]) -> dict[str, Any] | None:
        if not tokens:
            return None
        content = [
            {**_logprob(token.piece, token.logprob), "top_logprobs": [_logprob(*other) for other in token.top]}
            for token in tokens
        ]
        return {"content": content, "refusal": None}


class RefusedRequestError(Exception):
    """A request refused before generation, with the ``status``, ``body`` and ``headers`` of the HTTP response."""

    def __init__(self, status: int, body: dict[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers or {}


class GenerationFailedError(Exception):
    """A generation ended with ``Failed``. ``kind`` and ``param`` are those of OpenAI's error object."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.kind, self.param = failed.kind, failed.param


def sse(data: Any) -> str:
    """Return one server-sent event (WHATWG HTML, section 9.2)."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


async def event_stream(choices: Choices, builder: CompletionResponseBuilder) -> AsyncIterator[str]:
    """Yield server-sent events, ended by ``[DONE]``. A failure is the last event before it."""
    for event in builder.first_events():
        yield sse(event)
    outcomes: list[Outcome] = []
    async for index, event in choices:
        if isinstance(event, TextChunk):
            yield sse(builder.chunk(index, event.text, event.tokens, None))
        elif isinstance(event, Finished):
            outcomes.append(event.outcome)
            last = builder.chunk(index, "", (), finish_reason(event.outcome))
            yield sse({**last, "timings": timings(event.outcome)})
        else:
            yield sse(error_body(event.message, event.kind, event.param))
            break
    else:
        if builder.include_usage:
            yield sse(builder.usage_event(outcomes))
    yield "data: [DONE]\n\n"


async def json_response(choices: Choices, builder: CompletionResponseBuilder, count: int) -> Response:
    """Wait for all ``count`` choices and return them in one response, or the error of the first that fails."""
    chunks: list[list[TextChunk]] = [[] for _ in range(count)]
    ends: dict[int, Outcome] = {}
    async for index, event in choices:
        if isinstance(event, TextChunk):
            chunks[index].append(event)
        elif isinstance(event, Finished):
            ends[index] = event.outcome
        else:
            return error_response(event)
    complete = [
        builder.choice(n, "".join(c.text for c in text), [t for c in text for t in c.tokens], finish_reason(ends[n]))
        for n, text in enumerate(chunks)
    ]
    return JSONResponse(builder.response(complete, [ends[n] for n in range(count)]))


def error_response(failed: Failed) -> Response:
    """Return the response for a generation that failed before anything was sent."""
    status = HTTP_STATUS[failed.kind]
    headers = {"Retry-After": RETRY_SECONDS} if status == 503 else None
    return JSONResponse(error_body(failed.message, failed.kind, failed.param), status, headers)


async def collect_text(choices: Choices) -> str:
    """Return the text of a request with one choice. Raises GenerationFailedError."""
    text: list[str] = []
    async for _, event in choices:
        if isinstance(event, TextChunk):
            text.append(event.text)
        elif isinstance(event, Failed):
            raise GenerationFailedError(event)
    return "".join(text)


async def prepend(first: tuple[int, Event], rest: Choices) -> Choices:
    """Yield ``first``, then ``rest``."""
    yield first
    async for event in rest:
        yield event


async def with_heartbeat(events: AsyncIterator[T], seconds: float) -> AsyncIterator[T | None]:
    """Yield ``events``, and None whenever there was none for ``seconds``."""
    iterator = aiter(events)
    pending = asyncio.ensure_future(anext(iterator, _END))
    try:
        while True:
            await asyncio.wait((pending,), timeout=seconds)
            if not pending.done():
                yield None
            elif (event := pending.result()) is _END:
                return
            else:
                yield event  # type: ignore[misc]  it is not _END
                pending = asyncio.ensure_future(anext(iterator, _END))
    finally:
        pending.cancel()


async def cancel_on_disconnect(http: Request, work: Awaitable[T]) -> T:
    """Await ``work``. Cancel it and raise ClientDisconnect if the client disconnects first."""
    working = asyncio.ensure_future(work)
    disconnecting = asyncio.ensure_future(_disconnected(http))
    await asyncio.wait((working, disconnecting), return_when=asyncio.FIRST_COMPLETED)
    disconnecting.cancel()
    if working.done():
        return working.result()
    working.cancel()
    raise ClientDisconnect


async def _disconnected(http: Request) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass


def _decoded(piece: bytes) -> str:
    return piece.decode("utf-8", "replace")


def _logprob(piece: bytes, logprob: float) -> dict[str, Any]:
    return {"token": _decoded(piece), "logprob": logprob, "bytes": list(piece)}
