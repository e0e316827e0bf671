"""The engine as an ASGI app: OpenAI-compatible HTTP, streamed as server-sent events.

Knows no torch and no editor. It answers from the first moment; until the model is loaded with 503 and how far it is.
A client that closes its stream cancels its request.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from inference.generation.answer import Event, Failed, Finished, Sampling, Steps
from inference.models.catalog import Model, asked_to_chat, canonical
from inference.planning.planner import Role
from inference.serving import wire
from inference.serving.answers import (
    HTTP_STATUS,
    ChatShape,
    FailedError,
    TextShape,
    collect,
    sse,
    stream,
    unless_gone,
    whole,
)
from inference.serving.leases import Leases
from inference.serving.scheduler import Scheduler
from inference.serving.score import ScoreRequest, parse_score
from inference.serving.state import StatusBoard
from inference.serving.wire import ChatRequest, CompletionRequest, WireError, error_body
from inference.text.prompts import Message
from inference.text.stopping import StopRule

LARGEST_BODY = 8 * 1024 * 1024


class Answerer(Protocol):
    """A loaded model, as the service sees it (``generation.engine.Engine``). Called on the model thread."""

    @property
    def row(self) -> Model:
        """What it was trained for."""
        ...

    @property
    def contexts(self) -> Mapping[Role, int]:
        """The roles it serves, and tokens of context for each."""
        ...

    def complete(
        self, prompt: str | list[int], suffix: str | None, sampling: Sampling, rule: StopRule, deadline: float | None
    ) -> Steps: ...

    def chat(self, messages: Sequence[Message], sampling: Sampling, deadline: float | None) -> Steps: ...


@dataclass
class Service:
    """What the routes share. ``answerers`` are the models by id; there are none until all are loaded."""

    board: StatusBoard
    scheduler: Scheduler
    leases: Leases
    answerers: Mapping[str, Answerer] = field(default_factory=dict)

    def app(self) -> Starlette:
        """The routing table."""
        return Starlette(
            routes=[
                Route("/v1/completions", self.completions, methods=["POST"]),
                Route("/v1/chat/completions", self.chat_completions, methods=["POST"]),
                Route("/score", self.score, methods=["POST"]),
                Route("/v1/models", self.models),
                Route("/health", self.health),
                Route("/lease", self.lease),
            ]
        )

    async def completions(self, http: Request) -> Response:
        """``POST /v1/completions``."""
        return await self._generate(http, wire.parse_completion, "completion", TextShape)

    async def chat_completions(self, http: Request) -> Response:
        """``POST /v1/chat/completions``."""
        return await self._generate(http, wire.parse_chat, "chat", ChatShape)

    async def score(self, http: Request) -> Response:
        """``POST /score``: a model card's sample request."""
        try:
            request = parse_score(await _json_body(http))
            answerer = self._choose(request.model, "completion")
            texts = [await unless_gone(http, self._scored(answerer, request, n)) for n in range(len(request.inputs))]
        except WireError as error:
            return JSONResponse(error_body(str(error), "invalid_request_error", error.param), 422)
        except _RefusedError as refusal:
            return refusal.response
        except FailedError as error:
            status = 422 if error.kind == "invalid_request_error" else HTTP_STATUS[error.kind]
            return JSONResponse(error_body(str(error), error.kind), status)
        return JSONResponse([{"0": text} for text in texts])

    async def models(self, http: Request) -> Response:
        """``GET /v1/models``: what this engine serves, with abilities and roles; while it loads, only the ids."""
        del http
        loaded = {name: _abilities(answerer) for name, answerer in self.answerers.items()}
        data = [
            {"id": name, "object": "model", "created": 0, "owned_by": "local", **loaded.get(name, {})}
            for name in loaded or sorted(self.board.status.models)
        ]
        return JSONResponse({"object": "list", "data": data})

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
        self, http: Request, parse: Callable[[Any], Any], role: Role, shape: type[TextShape | ChatShape]
    ) -> Response:
        try:
            request = parse(await _json_body(http))
            answerer = self._choose(request.model, role)
        except WireError as error:
            return JSONResponse(error_body(str(error), "invalid_request_error", error.param), 400)
        except _RefusedError as refusal:
            return refusal.response
        deadline = time.perf_counter() + request.deadline_ms / 1000 if request.deadline_ms else None
        events = self._events(lambda: BEGIN[role](answerer, request, deadline), request.priority)
        answer = shape(answerer.row.id)
        if request.stream:
            return StreamingResponse(stream(events, answer), media_type="text/event-stream")
        return await unless_gone(http, whole(events, answer))

    async def _scored(self, answerer: Answerer, request: ScoreRequest, n: int) -> str:
        """One input with its continuation. It waits for what a person at an editor wants at once."""
        text = request.inputs[n]
        events = self._events(lambda: answerer.complete(text, None, request.sampling, StopRule(), None), "chat")
        return text + (await collect(events))[0]

    def _choose(self, model: str, role: Role) -> Answerer:
        """Who answers: the model asked for by name, else the one that has the role. Raises _RefusedError."""
        status = self.board.status
        if status.phase != "ready":
            headers = {"Retry-After": "1"} if status.phase == "loading" else {}
            raise _RefusedError(503, error_body(status.message, "unavailable", code=status.phase), headers)
        name = canonical(model) if model else status.model if role == "completion" else status.chat_model
        if name not in self.answerers:
            running = " and ".join(f"'{name}'" for name in self.answerers)
            text = f"The engine runs {running}, not '{model}'; stop it, or ask for a model it runs."
            raise _RefusedError(404, error_body(text, "invalid_request_error", "model", "model_not_found"))
        answerer = self.answerers[name]
        if role == "chat" and (text := asked_to_chat(answerer.row)):
            raise _RefusedError(400, error_body(text, "invalid_request_error", "model"))
        return answerer

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


class _RefusedError(Exception):
    """No model can answer this request; ``response`` says why."""

    def __init__(self, status: int, body: dict[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.response = JSONResponse(body, status, headers)


def _begin_completion(answerer: Answerer, request: CompletionRequest, deadline: float | None) -> Steps:
    return answerer.complete(request.prompt, request.suffix, request.sampling, request.stop_rule, deadline)


def _begin_chat(answerer: Answerer, request: ChatRequest, deadline: float | None) -> Steps:
    return answerer.chat(request.messages, request.sampling, deadline)


BEGIN: Mapping[Role, Callable[[Answerer, Any, float | None], Steps]] = {
    "completion": _begin_completion,
    "chat": _begin_chat,
}


def _abilities(answerer: Answerer) -> dict[str, Any]:
    row = answerer.row
    return {
        "infill": row.infill,
        "chat": row.chat,
        "context": row.context,
        "roles": list(answerer.contexts),
        "max_model_len": max(answerer.contexts.values()),
    }


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
