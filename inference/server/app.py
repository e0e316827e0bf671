"""The engine's HTTP API as an ASGI app: OpenAI-compatible, streamed as server-sent events.

The engine listens before the model is loaded. Until then requests get 503 with the loading progress. A client that
disconnects cancels its request. Requests beyond the per-session and global limits are rejected immediately.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from inference.api.events import Event, Failed, Finished, Steps
from inference.api.fields import parse_json
from inference.api.requests import (
    LONGEST_SECONDS,
    ChatRequest,
    CompletionRequest,
    Priority,
    ScoreRequest,
    WireError,
    error_body,
    parse_chat,
    parse_completion,
    parse_score,
    parse_shutdown,
)
from inference.api.status import ANSWERING, StatusBoard
from inference.models.catalog import Role
from inference.server.leases import Leases
from inference.server.model_manager import ModelManager
from inference.server.openai import (
    HTTP_STATUS,
    ChatResponseBuilder,
    CompletionResponseBuilder,
    GenerationFailedError,
    RefusedRequestError,
    cancel_on_disconnect,
    collect_text,
    error_response,
    event_stream,
    json_response,
    prepend,
    sse,
    with_heartbeat,
)
from inference.server.router import ModelRoute, choose_route, model_list
from inference.server.scheduler import Scheduler
from inference.server.stats import Stats
from inference.text.stopping import StopRule

HEARTBEAT_SECONDS = 2.0
HEARTBEAT = ":\n\n"
"""A comment (WHATWG HTML, section 9.2), sent on a lease when there is no news. It shows the client that the engine
lives. ``SILENT_SECONDS`` of the client allows for five missing ones.
"""

MAX_BODY_BYTES = 8 * 1024 * 1024

MAX_QUEUED = 128
"""Generations queued or running. Users would give up on further ones before they are reached."""

MAX_QUEUED_PER_SESSION = 32
"""Generations of one editor session, so that it cannot fill the queue alone."""

QUEUE_RETRY_SECONDS = "2"
"""``Retry-After`` of a response with status 429."""


@dataclass
class EngineApp:
    """The state shared by all routes.

    Attributes:
        weights: loads and unloads the models.
        leases: held by editor sessions and requests; they keep the engine process alive.
        requests: held by requests alone; they keep the weights loaded.
        leaving: set when the engine was asked to shut down.
    """

    board: StatusBoard
    scheduler: Scheduler
    weights: ModelManager
    leases: Leases
    requests: Leases
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    stats: Stats = field(default_factory=Stats)

    def app(self) -> Starlette:
        """Return the ASGI app."""
        app = Starlette(
            routes=[
                Route("/v1/completions", self.completions, methods=["POST"]),
                Route("/v1/chat/completions", self.chat_completions, methods=["POST"]),
                Route("/score", self.score, methods=["POST"]),
                Route("/v1/models", self.models),
                Route("/v1/models/{name:path}", self.model),
                Route("/health", self.health),
                Route("/stats", self.statistics),
                Route("/lease", self.lease),
                Route("/retire", self.retire, methods=["POST"]),
            ],
            exception_handlers={
                HTTPException: _not_served,
                ClientDisconnect: _disconnected,
                WireError: _invalid_request,
                RefusedRequestError: self._refused,
                Exception: _unhandled,
            },
        )
        app.router.redirect_slashes = False  # a redirect would contain the client's Host header
        return app

    async def completions(self, http: Request) -> Response:
        """``POST /v1/completions``."""
        request = parse_completion(await json_body(http))
        return await self._generate(http, request, "completion", CompletionResponseBuilder)

    async def chat_completions(self, http: Request) -> Response:
        """``POST /v1/chat/completions``."""
        return await self._generate(http, parse_chat(await json_body(http)), "chat", ChatResponseBuilder)

    async def score(self, http: Request) -> Response:
        """``POST /score``: the sample request of Code Llama's model card, with the priority of a chat."""
        try:
            request = parse_score(await json_body(http))
            await self._wake(None)
            route = self._route(request.model, "completion")
            texts = [
                await cancel_on_disconnect(http, self._scored(route, request, n)) for n in range(len(request.inputs))
            ]
        except WireError as error:
            return JSONResponse(error_body(str(error), "invalid_request_error", error.param), 422)
        except GenerationFailedError as error:
            status = 422 if error.kind == "invalid_request_error" else HTTP_STATUS[error.kind]
            return JSONResponse(error_body(str(error), error.kind, error.param), status)
        return JSONResponse([{"0": text} for text in texts])

    async def models(self, http: Request) -> Response:
        """``GET /v1/models``: the loaded models and their adapters; only the models' ids while they load."""
        del http
        return JSONResponse({"object": "list", "data": model_list(self.board.status, self.weights.loaded)})

    async def model(self, http: Request) -> Response:
        """``GET /v1/models/ID``: one entry of the list."""
        name = http.path_params["name"]
        for entry in model_list(self.board.status, self.weights.loaded):
            if entry["id"] == name:
                return JSONResponse(entry)
        body = error_body(f"The engine has no model '{name}'.", "invalid_request_error", "model", "model_not_found")
        return JSONResponse(body, 404)

    async def health(self, http: Request) -> Response:
        """``GET /health``: the status, with 200 if the engine answers requests and 503 otherwise."""
        del http
        status = self.board.status
        return JSONResponse(status.to_json(), 200 if status.phase in ANSWERING else 503)

    async def statistics(self, http: Request) -> Response:
        """``GET /stats``: the current state and all counters."""
        del http
        current = {
            "engine": self.board.status.to_json(),
            "models": {name: dict(model.contexts) for name, model in self.weights.loaded.items()},
            "windows": self.leases.held - self.requests.held,
            "requests": {"open": self.requests.held, "waiting": self.scheduler.waiting},
            "loads": self.weights.loads,
        }
        return JSONResponse({**current, **self.stats.to_json()})

    async def lease(self, http: Request) -> Response:
        """``GET /lease``: an endless stream of statuses. The engine stays while one is open.

        If loading has failed, a new lease retries it. HEAD returns the headers and takes no lease.
        """
        if http.method == "HEAD":
            return Response(media_type="text/event-stream")
        self.weights.retry()
        return StreamingResponse(self._leased(), media_type="text/event-stream")

    async def retire(self, http: Request) -> Response:
        """``POST /retire``: shut down gracefully: take no new requests, finish the running ones, end.

        ``{"stop": true}``: the user stopped the engine; otherwise another version replaces it. ``{"now": true}``:
        cancel the running requests.
        """
        request = parse_shutdown(await json_body(http))
        self.board.set(phase="stopping" if request.stop else "retiring", message=request.message)
        if request.now:
            self.scheduler.close()
        self.leaving.set()
        return JSONResponse({"waiting_for": self.requests.held})

    async def unneeded(self) -> None:
        """Return when the engine should end: no lease is left, or it was asked to shut down and has answered."""
        ends = [asyncio.ensure_future(wait()) for wait in (self.leases.all_ended, self.leaving.wait)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        await self.requests.none_held()

    async def sleep_when_idle(self) -> None:
        """Unload the weights whenever there was no request for the idle time. Runs until cancelled."""
        while True:
            await self.requests.all_ended()
            self.weights.unload()

    async def _leased(self) -> AsyncIterator[str]:
        with self.leases.hold():
            async for status in with_heartbeat(self.board.watch(), HEARTBEAT_SECONDS):
                yield HEARTBEAT if status is None else sse(status.to_json())

    async def _generate(
        self,
        http: Request,
        request: CompletionRequest | ChatRequest,
        role: Role,
        builder_class: type[CompletionResponseBuilder],
    ) -> Response:
        deadline = time.perf_counter() + (request.deadline_ms or LONGEST_SECONDS * 1000) / 1000
        check_capacity(self.scheduler, request.user, request.n)
        await cancel_on_disconnect(http, self._wake(deadline))
        route = self._route(request.model, role)
        begins = [partial(_begin, route, one, deadline) for one in _each_choice(request)]
        choices = self._run(begins, request.priority, request.user, deadline)
        builder = builder_class(route.name, request.n, request.include_usage)
        if not request.stream:
            return await cancel_on_disconnect(http, json_response(choices, builder, request.n))
        first = await cancel_on_disconnect(http, anext(choices))  # an early failure still gets its HTTP status
        if isinstance(first[1], Failed):
            await choices.aclose()
            return error_response(first[1])
        return StreamingResponse(event_stream(prepend(first, choices), builder), media_type="text/event-stream")

    async def _scored(self, route: ModelRoute, request: ScoreRequest, n: int) -> str:
        """Return one input with its continuation."""
        text, deadline = request.inputs[n], time.perf_counter() + LONGEST_SECONDS

        def begin() -> Steps:
            return route.base.complete(text, None, request.sampling, StopRule(), route.options(deadline))

        check_capacity(self.scheduler, "", 1)
        return text + await collect_text(self._run([begin], "chat", "", deadline))

    async def _wake(self, deadline: float | None) -> None:
        """Load unloaded weights before a request is routed. Loading counts towards the request's deadline."""
        with self._needed():
            left = LONGEST_SECONDS if deadline is None else deadline - time.perf_counter()
            await self.weights.wake(max(left, 0))

    async def _refused(self, http: Request, error: Exception) -> Response:
        del http
        assert isinstance(error, RefusedRequestError)
        self.stats.refused += error.status in (429, 503)
        return JSONResponse(error.body, error.status, error.headers)

    @contextmanager
    def _needed(self) -> Iterator[None]:
        with self.leases.hold(), self.requests.hold():
            yield

    def _route(self, model: str, role: Role) -> ModelRoute:
        return choose_route(model, role, self.board.status, self.weights.loaded)

    async def _run(
        self, begins: Sequence[Callable[[], Steps]], priority: Priority, session: str, deadline: float
    ) -> AsyncGenerator[tuple[int, Event], None]:
        """Yield the events of all choices of a request. Closing the generator cancels them."""
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[tuple[int, Event]]()

        def emit(index: int, event: Event) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, (index, event))

        jobs = {
            n: self.scheduler.submit(begin, priority, partial(emit, n), session, deadline)
            for n, begin in enumerate(begins)
        }
        with self._needed():
            try:
                while jobs:
                    index, event = await queue.get()
                    if isinstance(event, Finished | Failed):
                        del jobs[index]
                        self.stats.ended(priority, event)
                    yield index, event
            finally:
                for job in jobs.values():
                    self.scheduler.cancel(job)
                    self.stats.ended(priority, None)


async def json_body(http: Request) -> Any:
    """Return the parsed body. Raises WireError if it is not JSON, RefusedRequestError if it is too large."""
    declared = http.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
        raise _too_large()
    body = bytearray()
    async for part in http.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
    try:
        return parse_json(bytes(body))
    except ValueError as error:
        raise WireError(f"The request's body is not JSON: {error}.") from error


def check_capacity(scheduler: Scheduler, session: str, count: int) -> None:
    """Raise RefusedRequestError if ``count`` more generations of ``session`` would exceed a limit."""
    if scheduler.waiting_for(session) + count > MAX_QUEUED_PER_SESSION:
        text = f"{MAX_QUEUED_PER_SESSION} requests of yours are queued already. Wait for their responses first."
        code = "too_many_of_yours"
    elif scheduler.waiting + count > MAX_QUEUED:
        text, code = f"{MAX_QUEUED} requests are queued already. Retry in a moment.", "queue_full"
    else:
        return
    body = error_body(text, "rate_limit_error", code=code)
    raise RefusedRequestError(429, body, {"Retry-After": QUEUE_RETRY_SECONDS})


def _too_large() -> RefusedRequestError:
    text = f"The request's body is larger than {MAX_BODY_BYTES // 2**20} MiB."
    body = error_body(text, "invalid_request_error", code="body_too_large")
    return RefusedRequestError(413, body, {"Connection": "close"})


def _begin(route: ModelRoute, request: CompletionRequest | ChatRequest, deadline: float) -> Steps:
    """Start a generation, on the model thread."""
    r, options = request, route.options(deadline, request.user)
    if isinstance(r, ChatRequest):
        return route.base.chat(r.messages, r.sampling, options)
    return route.base.complete(r.prompt, r.suffix, r.sampling, r.stop_rule, options, r.context)


def _each_choice(request: CompletionRequest | ChatRequest) -> list[CompletionRequest | ChatRequest]:
    """Return the request once per choice. With a seed, each has its own, so that results can be reproduced."""
    seed = request.sampling.seed
    if seed is None:
        return [request] * request.n
    return [replace(request, sampling=replace(request.sampling, seed=seed + k)) for k in range(request.n)]


async def _not_served(http: Request, error: Exception) -> Response:
    """Unknown path or method, in OpenAI's format."""
    assert isinstance(error, HTTPException)
    text = f"{http.method} {http.scope['path']}: {error.detail}."
    return JSONResponse(error_body(text, "invalid_request_error"), error.status_code, error.headers)


async def _disconnected(http: Request, error: Exception) -> Response:
    """The client has disconnected. That is no error, and nobody reads this response."""
    del http, error
    return Response(status_code=408)


async def _invalid_request(http: Request, error: Exception) -> Response:
    del http
    assert isinstance(error, WireError)
    return JSONResponse(error_body(str(error), "invalid_request_error", error.param), 400)


async def _unhandled(http: Request, error: Exception) -> Response:
    """Unhandled exception. Starlette raises it again, and uvicorn logs it."""
    del http
    text = f"The engine failed at this request ({type(error).__name__}); its log has the details."
    return JSONResponse(error_body(text, "server_error"), 500)
