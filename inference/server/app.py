"""The engine as an ASGI app: OpenAI-compatible HTTP, streamed as server-sent events.

Knows no torch and no editor. It answers from the first moment; until the model is loaded with 503 and how far it is.
A client that closes its stream cancels its request.

What one request, and all of them together, may take; beyond it they are refused in words, and soon.

Knows HTTP bodies and queues, no models. A refusal says when to come again wherever that makes sense.
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

from inference.api import requests as wire
from inference.api.events import Event, Failed, Finished, Steps
from inference.api.fields import parse_json
from inference.api.requests import LONGEST_SECONDS, ScoreRequest, WireError, error_body, parse_score, parse_shutdown
from inference.api.status import ANSWERING, StatusBoard
from inference.models.catalog import Role
from inference.server.leases import Leases
from inference.server.model_manager import ModelManager
from inference.server.openai import (
    HTTP_STATUS,
    ChatShape,
    FailedError,
    TextShape,
    after,
    beating,
    collect,
    failure,
    sse,
    stream,
    unless_gone,
    whole,
)
from inference.server.router import ModelRoute, RefusedError, choose, listed
from inference.server.scheduler import Scheduler
from inference.server.stats import Stats
from inference.text.stopping import StopRule

BEAT_SECONDS = 2.0
BEAT = ":\n\n"
"""A comment (WHATWG HTML, section 9.2) on a lease whenever there is no news: whoever holds it sees that the engine
lives. ``client.SILENT_SECONDS`` allows for five of them.
"""


@dataclass
class EngineApp:
    """What the routes share.

    Attributes:
        leases: of windows and requests: who needs the engine.
        requests: those alone: who needs the weights.
        leaving: set once the engine is to leave.
    """

    board: StatusBoard
    scheduler: Scheduler
    weights: ModelManager
    leases: Leases
    requests: Leases
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    stats: Stats = field(default_factory=Stats)

    def app(self) -> Starlette:
        """The routing table."""
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
            exception_handlers={HTTPException: _not_there, ClientDisconnect: _gone, Exception: _broken},
        )
        app.router.redirect_slashes = False  # a path is served or not; a redirect would name the client's Host
        return app

    async def completions(self, http: Request) -> Response:
        """``POST /v1/completions``."""
        return await self._generate(http, wire.parse_completion, "completion", TextShape)

    async def chat_completions(self, http: Request) -> Response:
        """``POST /v1/chat/completions``."""
        return await self._generate(http, wire.parse_chat, "chat", ChatShape)

    async def score(self, http: Request) -> Response:
        """``POST /score``: a model card's sample request. It waits for what a person at an editor wants at once."""
        try:
            request = parse_score(await json_body(http))
            await self._wake(None)
            chosen = self._choose(request.model, "completion")
            texts = [await unless_gone(http, self._scored(chosen, request, n)) for n in range(len(request.inputs))]
        except WireError as error:
            return JSONResponse(error_body(str(error), "invalid_request_error", error.param), 422)
        except RefusedError as refusal:
            return self._refused(refusal)
        except FailedError as error:
            status = 422 if error.kind == "invalid_request_error" else HTTP_STATUS[error.kind]
            return JSONResponse(error_body(str(error), error.kind, error.param), status)
        return JSONResponse([{"0": text} for text in texts])

    async def models(self, http: Request) -> Response:
        """``GET /v1/models``: what this engine serves, adapters included; while it loads, only the models' ids."""
        del http
        data = listed(self.board.status, self.weights.answerers)
        return JSONResponse({"object": "list", "data": data})

    async def model(self, http: Request) -> Response:
        """``GET /v1/models/ID``: one of them."""
        name = http.path_params["name"]
        for one in listed(self.board.status, self.weights.answerers):
            if one["id"] == name:
                return JSONResponse(one)
        body = error_body(f"The engine has no model '{name}'.", "invalid_request_error", "model", "model_not_found")
        return JSONResponse(body, 404)

    async def health(self, http: Request) -> Response:
        """``GET /health``: 200 when requests are answered, 503 otherwise, the status in the body either way."""
        del http
        status = self.board.status
        return JSONResponse(status.to_json(), 200 if status.phase in ANSWERING else 503)

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

        Who takes one after loading has failed has it tried again. HEAD asks for headers alone and takes none.
        """
        if http.method == "HEAD":
            return Response(media_type="text/event-stream")
        self.weights.retry()
        return StreamingResponse(self._leased(), media_type="text/event-stream")

    async def retire(self, http: Request) -> Response:
        """``POST /retire``: take no more requests, answer those that have begun, and leave.

        ``{"stop": true}`` says that a person wants no engine; else another one is to take this one's place. With
        ``{"now": true}`` nothing is waited for.
        """
        try:
            wishes = parse_shutdown(await json_body(http))
        except WireError as error:
            return JSONResponse(error_body(str(error), "invalid_request_error", error.param), 400)
        except RefusedError as refusal:
            return self._refused(refusal)
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
            async for status in beating(self.board.watch(), BEAT_SECONDS):
                yield BEAT if status is None else sse(status.to_json())

    async def _generate(
        self, http: Request, parse: Callable[[Any], Any], role: Role, shape: type[TextShape | ChatShape]
    ) -> Response:
        try:
            request = parse(await json_body(http))
            deadline = time.perf_counter() + (request.deadline_ms or LONGEST_SECONDS * 1000) / 1000
            check_room(self.scheduler, request.user, request.n)
            await unless_gone(http, self._wake(deadline))
            chosen = self._choose(request.model, role)
        except WireError as error:
            return JSONResponse(error_body(str(error), "invalid_request_error", error.param), 400)
        except RefusedError as refusal:
            return self._refused(refusal)
        begins = [partial(_begin, role, chosen, one, deadline) for one in _each(request)]
        answers = self._answers(begins, request.priority, request.user, deadline)
        answer = shape(chosen.name, request.n, request.include_usage)
        if not request.stream:
            return await unless_gone(http, whole(answers, answer, request.n))
        first = await unless_gone(http, anext(answers))  # what fails at once still gets its status
        if isinstance(first[1], Failed):
            await answers.aclose()
            return failure(first[1])
        return StreamingResponse(stream(after(first, answers), answer), media_type="text/event-stream")

    async def _scored(self, chosen: ModelRoute, request: ScoreRequest, n: int) -> str:
        """One input with its continuation."""
        text, deadline = request.inputs[n], time.perf_counter() + LONGEST_SECONDS

        def begin() -> Steps:
            return chosen.base.complete(text, None, request.sampling, StopRule(), chosen.options(deadline))

        check_room(self.scheduler, "", 1)
        return text + await collect(self._answers([begin], "chat", "", deadline))

    async def _wake(self, deadline: float | None) -> None:
        """Have unloaded weights loaded before a request is routed, whose time goes on meanwhile."""
        with self._needed():
            left = LONGEST_SECONDS if deadline is None else deadline - time.perf_counter()
            await self.weights.awake(max(left, 0))

    def _refused(self, refusal: RefusedError) -> Response:
        self.stats.refused += refusal.status in (429, 503)
        return JSONResponse(refusal.body, refusal.status, refusal.headers)

    @contextmanager
    def _needed(self) -> Iterator[None]:
        with self.leases.hold(), self.requests.hold():
            yield

    def _choose(self, model: str, role: Role) -> ModelRoute:
        return choose(model, role, self.board.status, self.weights.answerers)

    async def _answers(
        self, begins: Sequence[Callable[[], Steps]], priority: wire.Priority, window: str, deadline: float
    ) -> AsyncGenerator[tuple[int, Event], None]:
        """Events of all answers to one request as they come from the model thread; leaving early cancels them."""
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[tuple[int, Event]]()

        def tell(index: int, event: Event) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, (index, event))

        jobs = {
            n: self.scheduler.submit(begin, priority, partial(tell, n), window, deadline)
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


def _begin(role: Role, chosen: ModelRoute, request: Any, deadline: float) -> Steps:
    """On the model thread."""
    model, r, options = chosen.base, request, chosen.options(deadline, request.user)
    if role == "chat":
        return model.chat(r.messages, r.sampling, options)
    return model.complete(r.prompt, r.suffix, r.sampling, r.stop_rule, options, r.context)


def _each(request: Any) -> list[Any]:
    """The request for each of its answers: with a seed each has one of its own, and they are the same every time."""
    seed = request.sampling.seed
    if seed is None:
        return [request] * request.n
    return [replace(request, sampling=replace(request.sampling, seed=seed + k)) for k in range(request.n)]


async def _not_there(http: Request, error: Exception) -> Response:
    """A path or a method that is not served, in OpenAI's shape."""
    assert isinstance(error, HTTPException)
    text = f"{http.method} {http.scope['path']}: {error.detail}."
    return JSONResponse(error_body(text, "invalid_request_error"), error.status_code, error.headers)


async def _gone(http: Request, error: Exception) -> Response:
    """The client left, which is no error; nobody reads this response."""
    del http, error
    return Response(status_code=408)


async def _broken(http: Request, error: Exception) -> Response:
    """Unhandled exception; Starlette raises it again, and uvicorn logs it."""
    del http
    text = f"The engine failed at this request ({type(error).__name__}); its log has the details."
    return JSONResponse(error_body(text, "server_error"), 500)


LARGEST_BODY = 8 * 1024 * 1024

MOST_WAITING = 128
"""Answers queued or under way; more would only wait longer than anybody does."""

MOST_OF_ONE = 32
"""Those of one window, so that none fills the queue for all."""

RETRY_SECONDS = "2"


async def json_body(http: Request) -> Any:
    """The parsed body. Raises ``WireError`` where it is no JSON, RefusedError where it is too large."""
    declared = http.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > LARGEST_BODY:
        raise _too_large()
    body = bytearray()
    async for part in http.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise _too_large()
    try:
        return parse_json(bytes(body))
    except ValueError as error:
        raise WireError(f"The request's body is not JSON: {error}.") from error


def check_room(scheduler: Scheduler, window: str, answers: int) -> None:
    """Raises RefusedError where so many more ``answers`` for a ``window`` are too many."""
    if scheduler.waiting_for(window) + answers > MOST_OF_ONE:
        text = f"{MOST_OF_ONE} answers for you are waiting already: take those first."
        code = "too_many_of_yours"
    elif scheduler.waiting + answers > MOST_WAITING:
        text, code = f"{MOST_WAITING} answers are waiting already: come again in a moment.", "queue_full"
    else:
        return
    raise RefusedError(429, error_body(text, "rate_limit_error", code=code), {"Retry-After": RETRY_SECONDS})


def _too_large() -> RefusedError:
    text = f"The request's body is larger than {LARGEST_BODY // 2**20} MiB."
    return RefusedError(413, error_body(text, "invalid_request_error", code="body_too_large"), {"Connection": "close"})
