"""Answers in OpenAI's shapes: whole, or streamed as server-sent events. Knows no routes and no models.

Source: OpenAI API reference, "Completions" (legacy) and "Chat"; WHATWG HTML, section 9.2.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Sequence
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
"""When a request that came at a bad moment may come again, as ``Retry-After`` has it."""

Answers = AsyncIterator[tuple[int, Event]]
"""The events of all answers to one request as they come, each with the number of its answer."""

T = TypeVar("T")

_END = object()


class TextShape:
    """Answers of ``/v1/completions``."""

    kind = "text_completion"
    chunk_kind = "text_completion"
    prefix = "cmpl"

    def __init__(self, model: str, answers: int = 1, include_usage: bool = False) -> None:
        """To a request for so many ``answers``; a stream tells its usage only where that was asked for."""
        self._head = {"id": f"{self.prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}
        self._lengths = [0] * answers
        self.include_usage = include_usage

    def begin(self) -> list[dict[str, Any]]:
        """The first events of a stream."""
        return []

    def chunk(self, index: int, text: str, tokens: Sequence[TokenProbability], reason: str | None) -> dict[str, Any]:
        """One server-sent event."""
        choice = {"index": index, **self._delta(text), "finish_reason": reason}
        return self._event([{**choice, "logprobs": self._logprobs(index, text, tokens)}])

    def bill(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """The last event of a stream that is to tell its usage."""
        return {**self._event([]), "usage": usage(outcomes)}

    def choice(self, index: int, text: str, tokens: Sequence[TokenProbability], reason: str) -> dict[str, Any]:
        """One answer of several, whole."""
        choice = {"index": index, **self._message(text), "finish_reason": reason}
        return {**choice, "logprobs": self._logprobs(index, text, tokens)}

    def whole(self, choices: Sequence[dict[str, Any]], outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """The answer to a request that does not stream. Timings are our own addition, of the first."""
        told = {"usage": usage(outcomes), "timings": timings(outcomes[0])}
        return {**self._head, "object": self.kind, "choices": list(choices), **told}

    def _event(self, choices: Sequence[dict[str, Any]]) -> dict[str, Any]:
        unbilled = {"usage": None} if self.include_usage else {}
        return {**self._head, "object": self.chunk_kind, "choices": choices, **unbilled}

    def _delta(self, text: str) -> dict[str, Any]:
        return {"text": text}

    def _message(self, text: str) -> dict[str, Any]:
        return {"text": text}

    def _logprobs(self, index: int, text: str, tokens: Sequence[TokenProbability]) -> dict[str, Any] | None:
        """Offsets are those of characters in the answer; a token that begins within a character has that one's."""
        start = self._lengths[index]
        self._lengths[index] += len(text)
        if not tokens:
            return None
        offsets, seen = [], b""
        for token in tokens:
            offsets.append(start + len(seen.decode("utf-8", "ignore")))
            seen += token.piece
        return {
            "tokens": [_shown(token.piece) for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [{_shown(piece): chance for piece, chance in token.top} for token in tokens],
            "text_offset": offsets,
        }


class ChatShape(TextShape):
    """Answers of ``/v1/chat/completions``."""

    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"
    prefix = "chatcmpl"

    def begin(self) -> list[dict[str, Any]]:
        delta = {"delta": {"role": "assistant", "content": ""}, "finish_reason": None, "logprobs": None}
        return [self._event([{"index": index, **delta}]) for index in range(len(self._lengths))]

    def _delta(self, text: str) -> dict[str, Any]:
        return {"delta": {"content": text} if text else {}}

    def _message(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}}

    def _logprobs(self, index: int, text: str, tokens: Sequence[TokenProbability]) -> dict[str, Any] | None:
        if not tokens:
            return None
        told = [
            {**_chance(token.piece, token.logprob), "top_logprobs": [_chance(*other) for other in token.top]}
            for token in tokens
        ]
        return {"content": told, "refusal": None}


def sse(data: Any) -> str:
    """One server-sent event (WHATWG HTML, section 9.2)."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


async def stream(answers: Answers, shape: TextShape) -> AsyncIterator[str]:
    """Every event as it comes; of a failure nothing comes after."""
    for event in shape.begin():
        yield sse(event)
    outcomes: list[Outcome] = []
    async for index, event in answers:
        if isinstance(event, TextChunk):
            yield sse(shape.chunk(index, event.text, event.tokens, None))
        elif isinstance(event, Finished):
            outcomes.append(event.outcome)
            last = shape.chunk(index, "", (), finish_reason(event.outcome))
            yield sse({**last, "timings": timings(event.outcome)})
        else:
            yield sse(error_body(event.message, event.kind, event.param))
            break
    else:
        if shape.include_usage:
            yield sse(shape.bill(outcomes))
    yield "data: [DONE]\n\n"


async def whole(answers: Answers, shape: TextShape, count: int) -> Response:
    """All events in one."""
    texts: list[list[TextChunk]] = [[] for _ in range(count)]
    ends: dict[int, Outcome] = {}
    async for index, event in answers:
        if isinstance(event, TextChunk):
            texts[index].append(event)
        elif isinstance(event, Finished):
            ends[index] = event.outcome
        else:
            return failure(event)
    choices = [
        shape.choice(n, "".join(c.text for c in said), [t for c in said for t in c.tokens], finish_reason(ends[n]))
        for n, said in enumerate(texts)
    ]
    return JSONResponse(shape.whole(choices, [ends[n] for n in range(count)]))


def failure(failed: Failed) -> Response:
    """A failure that is known before anything was answered."""
    status = HTTP_STATUS[failed.kind]
    headers = {"Retry-After": RETRY_SECONDS} if status == 503 else None
    return JSONResponse(error_body(failed.message, failed.kind, failed.param), status, headers)


class FailedError(Exception):
    """A generation did not go well; the message is for who asked, ``kind`` and ``param`` are OpenAI's."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.kind, self.param = failed.kind, failed.param


async def collect(answers: Answers) -> str:
    """The text of one answer. Raises FailedError."""
    text: list[str] = []
    async for _, event in answers:
        if isinstance(event, TextChunk):
            text.append(event.text)
        elif isinstance(event, Failed):
            raise FailedError(event)
    return "".join(text)


async def after(first: tuple[int, Event], rest: Answers) -> Answers:
    """``rest``, whose first event was taken already."""
    yield first
    async for one in rest:
        yield one


async def beating(events: AsyncIterator[T], seconds: float) -> AsyncIterator[T | None]:
    """``events``, and None whenever none has come for so long."""
    iterator = aiter(events)
    coming = asyncio.ensure_future(anext(iterator, _END))
    try:
        while True:
            await asyncio.wait((coming,), timeout=seconds)
            if not coming.done():
                yield None
            elif (event := coming.result()) is _END:
                return
            else:
                yield event  # type: ignore[misc]  it is no _END
                coming = asyncio.ensure_future(anext(iterator, _END))
    finally:
        coming.cancel()


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


def _shown(piece: bytes) -> str:
    return piece.decode("utf-8", "replace")


def _chance(piece: bytes, logprob: float) -> dict[str, Any]:
    return {"token": _shown(piece), "logprob": logprob, "bytes": list(piece)}
