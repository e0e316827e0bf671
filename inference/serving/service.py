"""The engine as an ASGI app: OpenAI-compatible HTTP, streamed as server-sent events.

Knows no torch and no editor. It answers from the first moment; until the model is loaded with 503 and how far it is.
A client that closes its stream cancels its request.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from inference.generation.answer import Event, Failed, Finished, Sampling, Steps, TextChunk
from inference.models.rows import find_row
from inference.serving import wire
from inference.serving.leases import Leases
from inference.serving.scheduler import Scheduler
from inference.serving.state import StatusBoard
from inference.serving.wire import ChatRequest, CompletionRequest, WireError, error_body
from inference.text.prompts import Message
from inference.text.stopping import StopRule

LARGEST_BODY = 8 * 1024 * 1024
HTTP_STATUS = {"invalid_request_error": 400, "unavailable": 503, "server_error": 500}


class Answerer(Protocol):
    """The loaded model, as the service sees it (``generation.engine.Engine``). Called on the model thread."""

    def complete(
        self, prompt: str | list[int], suffix: str, sampling: Sampling, rule: StopRule, deadline: float | None
    ) -> Steps: ...

    def chat(self, messages: Sequence[Message], sampling: Sampling, deadline: float | None) -> Steps: ...


@dataclass
class Service:
    """What the routes share. ``answerer`` is None until the model is loaded."""

    board: StatusBoard
    scheduler: Scheduler
    leases: Leases
    answerer: Answerer | None = None

    def app(self) -> Starlette:
        """The routing table."""
        return Starlette(
            routes=[
                Route("/v1/completions", self.completions, methods=["POST"]),
                Route("/v1/chat/completions", self.chat_completions, methods=["POST"]),
                Route("/v1/models", self.models),
                Route("/health", self.health),
                Route("/lease", self.lease),
            ]
        )

    async def completions(self, http: Request) -> Response:
        """``POST /v1/completions``."""
        return await self._generate(http, wire.parse_completion, _begin_completion, TextShape)

    async def chat_completions(self, http: Request) -> Response:
        """``POST /v1/chat/completions``."""
        return await self._generate(http, wire.parse_chat, _begin_chat, ChatShape)

    async def models(self, http: Request) -> Response:
        """``GET /v1/models``: what this engine serves, with its abilities."""
        del http
        row = find_row(self.board.status.model)
        abilities = {"infill": row.infill, "chat": row.chat, "context": row.context} if row else {}
        entry = {"id": self.board.status.model, "object": "model", "created": 0, "owned_by": "local", **abilities}
        return JSONResponse({"object": "list", "data": [entry]})

    async def health(self, http: Request) -> Response:
        """``GET /health``: 200 when ready, 503 otherwise, the status in the body either way."""
        del http
        status = self.board.status
        return JSONResponse(status.to_json(), 200 if status.phase == "ready" else 503)

    async def lease(self, http: Request) -> Response:
        """``GET /lease``: a stream of statuses that stays open; while one is open the engine stays."""
        del http
        return StreamingResponse(self._leased(), media_type="text/event-stream")

    async def _leased(self) -> AsyncIterator[str]:
        with self.leases.hold():
            async for status in self.board.watch():
                yield sse(status.to_json())

    async def _generate(
        self,
        http: Request,
        parse: Callable[[Any], Any],
        begin: Callable[[Answerer, Any, float | None], Steps],
        shape: type[TextShape | ChatShape],
    ) -> Response:
        try:
            request = parse(await _json_body(http))
        except WireError as error:
            return JSONResponse(error_body(str(error), "invalid_request_error", error.param), 400)
        if refusal := self._refusal(request.model):
            return refusal
        answerer = self.answerer
        assert answerer is not None, "a ready engine has one"
        deadline = time.perf_counter() + request.deadline_ms / 1000 if request.deadline_ms else None
        events = self._events(lambda: begin(answerer, request, deadline), request.priority)
        answer = shape(self.board.status.model)
        if request.stream:
            return StreamingResponse(_stream(events, answer), media_type="text/event-stream")
        return await _whole(http, events, answer)

    def _refusal(self, model: str) -> Response | None:
        status = self.board.status
        if status.phase != "ready":
            headers = {"Retry-After": "1"} if status.phase == "loading" else {}
            return JSONResponse(error_body(status.message, "unavailable", code=status.phase), 503, headers)
        if model and model != status.model:
            text = f"The engine runs '{status.model}', not '{model}'; stop it, or ask for the model it runs."
            return JSONResponse(error_body(text, "invalid_request_error", "model", "model_not_found"), 404)
        return None

    async def _events(self, begin: Callable[[], Steps], priority: wire.Priority) -> AsyncIterator[Event]:
        """Events of one job as they come from the model thread; leaving early cancels it."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Event] = asyncio.Queue()
        job = self.scheduler.submit(begin, priority, partial(loop.call_soon_threadsafe, queue.put_nowait))
        with self.leases.hold():
            try:
                while True:
                    event = await queue.get()
                    yield event
                    if isinstance(event, Finished | Failed):
                        return
            finally:
                self.scheduler.cancel(job)


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


def _begin_completion(answerer: Answerer, request: CompletionRequest, deadline: float | None) -> Steps:
    return answerer.complete(request.prompt, request.suffix, request.sampling, request.stop_rule, deadline)


def _begin_chat(answerer: Answerer, request: ChatRequest, deadline: float | None) -> Steps:
    return answerer.chat(request.messages, request.sampling, deadline)


def sse(data: Any) -> str:
    """One server-sent event (WHATWG HTML, section 9.2)."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


async def _json_body(http: Request) -> Any:
    """Raises ``WireError`` for a body that is too large or no JSON."""
    body = bytearray()
    async for part in http.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise WireError(f"The request's body is larger than {LARGEST_BODY // 2**20} MiB.")
    try:
        return json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise WireError(f"The request's body is not JSON: {error}.") from error


async def _stream(events: AsyncIterator[Event], shape: TextShape) -> AsyncIterator[str]:
    async for event in events:
        if isinstance(event, TextChunk):
            yield sse(shape.chunk(event.text))
        elif isinstance(event, Finished):
            extra = {"usage": wire.usage(event.outcome), "timings": wire.timings(event.outcome)}
            yield sse(shape.chunk("", wire.finish_reason(event.outcome), **extra))
        else:
            yield sse(error_body(event.message, event.kind))
    yield "data: [DONE]\n\n"


async def _whole(http: Request, events: AsyncIterator[Event], shape: TextShape) -> Response:
    """Collect an answer, racing the client's going away: nobody is left to generate for then."""
    collecting = asyncio.ensure_future(_collect(events, shape))
    leaving = asyncio.ensure_future(_gone(http))
    await asyncio.wait((collecting, leaving), return_when=asyncio.FIRST_COMPLETED)
    leaving.cancel()
    if collecting.done():
        return collecting.result()
    collecting.cancel()
    raise ClientDisconnect


async def _collect(events: AsyncIterator[Event], shape: TextShape) -> Response:
    text: list[str] = []
    async for event in events:
        if isinstance(event, TextChunk):
            text.append(event.text)
        elif isinstance(event, Failed):
            return JSONResponse(error_body(event.message, event.kind), HTTP_STATUS[event.kind])
        else:
            extra = {"usage": wire.usage(event.outcome), "timings": wire.timings(event.outcome)}
            return JSONResponse(shape.whole("".join(text), wire.finish_reason(event.outcome), **extra))
    raise AssertionError("a job's last event is Finished or Failed")


async def _gone(http: Request) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass
