"""The engine as an ASGI app: OpenAI-compatible HTTP, streamed as server-sent events.

Knows no torch and no editor. It answers from the first moment; until the model is loaded with 503 and how far it is.
A client that closes its stream cancels its request.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from inference.generation.answer import Event, Failed, Finished, Steps
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
from inference.serving.retirement import parse_retirement
from inference.serving.router import Answerer, Chosen, RefusedError, choose, listed
from inference.serving.scheduler import Scheduler
from inference.serving.score import ScoreRequest, parse_score
from inference.serving.state import StatusBoard
from inference.serving.stats import Stats
from inference.serving.weights import Weights
from inference.serving.wire import ChatRequest, CompletionRequest, WireError, error_body
from inference.text.stopping import StopRule

LARGEST_BODY = 8 * 1024 * 1024

LONGEST_SECONDS = 600.0
"""What a request may wait for weights to be loaded, where it sets no deadline itself."""


@dataclass
class Service:
    """What the routes share.

    Attributes:
        leases: of windows and requests: who needs the engine.
        requests: those alone: who needs the weights.
        leaving: set once the engine is to leave.
    """

    board: StatusBoard
    scheduler: Scheduler
    weights: Weights
    leases: Leases
    requests: Leases
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    stats: Stats = field(default_factory=Stats)

    def app(self) -> Starlette:
        """The routing table."""
        return Starlette(
            routes=[
                Route("/v1/completions", self.completions, methods=["POST"]),
                Route("/v1/chat/completions", self.chat_completions, methods=["POST"]),
                Route("/score", self.score, methods=["POST"]),
                Route("/v1/models", self.models),
                Route("/health", self.health),
                Route("/stats", self.statistics),
                Route("/lease", self.lease),
                Route("/retire", self.retire, methods=["POST"]),
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
            await self._wake(None)
            chosen = self._choose(request.model, "completion")
            texts = [await unless_gone(http, self._scored(chosen, request, n)) for n in range(len(request.inputs))]
        except WireError as error:
            return JSONResponse(error_body(str(error), "invalid_request_error", error.param), 422)
        except RefusedError as refusal:
            return _refused(refusal)
        except FailedError as error:
            status = 422 if error.kind == "invalid_request_error" else HTTP_STATUS[error.kind]
            return JSONResponse(error_body(str(error), error.kind, error.param), status)
        return JSONResponse([{"0": text} for text in texts])

    async def models(self, http: Request) -> Response:
        """``GET /v1/models``: what this engine serves, adapters included; while it loads, only the models' ids."""
        del http
        data = listed(self.board.status, self.weights.answerers)
        return JSONResponse({"object": "list", "data": data})

    async def health(self, http: Request) -> Response:
        """``GET /health``: 200 when requests are answered, 503 otherwise, the status in the body either way."""
        del http
        status = self.board.status
        return JSONResponse(status.to_json(), 200 if status.phase in ("ready", "idle") else 503)

    async def statistics(self, http: Request) -> Response:
        """``GET /stats``: what the engine is doing and has done, in numbers."""
        del http
        now = {
            "engine": self.board.status.to_json(),
            "models": {name: dict(one.contexts) for name, one in self.weights.answerers.items()},
            "windows": self.leases.held - self.requests.held,
            "requests": {"open": self.requests.held, "waiting": self.scheduler.waiting},
            "loads": self.weights.loads,
        }
        return JSONResponse({**now, **self.stats.to_json()})

    async def lease(self, http: Request) -> Response:
        """``GET /lease``: a stream of statuses that stays open; while one is open the engine stays.

        Who takes one after loading has failed has it tried again.
        """
        del http
        self.weights.retry()
        return StreamingResponse(self._leased(), media_type="text/event-stream")

    async def retire(self, http: Request) -> Response:
        """``POST /retire``: take no more requests, answer those that have begun, and leave.

        ``{"stop": true}`` says that a person wants no engine; else another one is to take this one's place. With
        ``{"now": true}`` nothing is waited for.
        """
        try:
            wishes = parse_retirement(await _json_body(http))
        except WireError as error:
            return JSONResponse(error_body(str(error), "invalid_request_error", error.param), 400)
        self.board.set(phase="stopping" if wishes.stop else "retiring", message=wishes.message)
        if wishes.now:
            self.scheduler.close()
        self.leaving.set()
        return JSONResponse({"waiting_for": self.requests.held})

    async def unneeded(self) -> None:
        """Returns when the engine should leave: after the last lease, or when it was told to and has answered."""
        ends = [asyncio.ensure_future(wait()) for wait in (self.leases.all_ended, self.leaving.wait)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        await self.requests.none()

    async def sleep_when_idle(self) -> None:
        """Have the weights unloaded whenever nobody has asked for long."""
        while True:
            await self.requests.all_ended()
            self.weights.unload()

    async def _leased(self) -> AsyncIterator[str]:
        with self.leases.hold():
            async for status in self.board.watch():
                yield sse(status.to_json())

    async def _generate(
        self, http: Request, parse: Callable[[Any], Any], role: Role, shape: type[TextShape | ChatShape]
    ) -> Response:
        try:
            request = parse(await _json_body(http))
            deadline = _deadline(request.deadline_ms)
            await self._wake(deadline)
            chosen = self._choose(request.model, role)
        except WireError as error:
            return JSONResponse(error_body(str(error), "invalid_request_error", error.param), 400)
        except RefusedError as refusal:
            return _refused(refusal)
        events = self._events(lambda: BEGIN[role](chosen.answerer(), request, deadline), request.priority)
        answer = shape(chosen.name)
        if request.stream:
            return StreamingResponse(stream(events, answer), media_type="text/event-stream")
        return await unless_gone(http, whole(events, answer))

    async def _scored(self, chosen: Chosen, request: ScoreRequest, n: int) -> str:
        """One input with its continuation. It waits for what a person at an editor wants at once."""
        text = request.inputs[n]
        events = self._events(
            lambda: chosen.answerer().complete(text, None, request.sampling, StopRule(), None), "chat"
        )
        return text + (await collect(events))[0]

    async def _wake(self, deadline: float | None) -> None:
        """Have unloaded weights loaded before a request is routed, whose time goes on meanwhile."""
        with self._needed():
            await self.weights.awake(LONGEST_SECONDS if deadline is None else max(deadline - time.perf_counter(), 0))

    @contextmanager
    def _needed(self) -> Iterator[None]:
        with self.leases.hold(), self.requests.hold():
            yield

    def _choose(self, model: str, role: Role) -> Chosen:
        return choose(model, role, self.board.status, self.weights.answerers)

    async def _events(self, begin: Callable[[], Steps], priority: wire.Priority) -> AsyncIterator[Event]:
        """Events of one job as they come from the model thread; leaving early cancels it."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Event] = asyncio.Queue()
        job = self.scheduler.submit(begin, priority, partial(loop.call_soon_threadsafe, queue.put_nowait))
        last: Event | None = None
        with self._needed():
            try:
                while not isinstance(last, Finished | Failed):
                    last = await queue.get()
                    yield last
            finally:
                self.scheduler.cancel(job)
                self.stats.ended(job.priority, last)


def _begin_completion(answerer: Answerer, request: CompletionRequest, deadline: float | None) -> Steps:
    return answerer.complete(request.prompt, request.suffix, request.sampling, request.stop_rule, deadline)


def _begin_chat(answerer: Answerer, request: ChatRequest, deadline: float | None) -> Steps:
    return answerer.chat(request.messages, request.sampling, deadline)


BEGIN: Mapping[Role, Callable[[Answerer, Any, float | None], Steps]] = {
    "completion": _begin_completion,
    "chat": _begin_chat,
}


def _deadline(milliseconds: int | None) -> float | None:
    """As a ``time.perf_counter()`` value."""
    return None if milliseconds is None else time.perf_counter() + milliseconds / 1000


def _refused(error: RefusedError) -> Response:
    return JSONResponse(error.body, error.status, error.headers)


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
