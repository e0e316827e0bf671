"""A fake ``llama-server`` with fixed responses that records every request."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from support.waiting import until


@dataclass
class FakeLlamaServer:
    """A server whose completions have ``says`` tokens, or as many as requested, and two prefilled prompt tokens.

    Attributes:
        native: it has llama-server's API; else only OpenAI's.
        ids: OpenAI's API takes token ids.
        at_once: tokens of each part, as with speculative decoding.
        counts: OpenAI's API reports the number of tokens with each part.
        bodies: path and body of every request.
    """

    native: bool = True
    says: int | None = None
    ids: bool = True
    at_once: int = 1
    counts: bool = False
    bodies: list[tuple[str, Any]] = field(default_factory=list)

    def app(self) -> Starlette:
        routes = [
            Route("/v1/models", self.models),
            Route("/v1/completions", self.completions, methods=["POST"]),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
        ]
        native = [Route("/props", self.props), Route("/completion", self.completion, methods=["POST"])]
        return Starlette(routes=[*routes, *native] if self.native else routes)

    async def props(self, http: Request) -> Response:
        return JSONResponse({"default_generation_settings": {}, "total_slots": 1})

    async def models(self, http: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": "other-model"}]})

    async def completion(self, http: Request) -> Response:
        body = await self._kept(http)
        count = body["n_predict"] if self.says is None else self.says
        begun = {"content": "", "tokens": [], "stop": False, "tokens_predicted": 0}
        parts = [begun] + [{**begun, "content": "x", "tokens": [7], "tokens_predicted": n} for n in self._parts(count)]
        last = {"content": "", "tokens": [], "stop": True, "tokens_predicted": count, "timings": {"prompt_n": 2}}
        return _streamed([*parts, last])

    async def completions(self, http: Request) -> Response:
        body = await self._kept(http)
        if not self.ids:
            return JSONResponse({"error": {"message": "prompt must be a string"}}, 400)
        used = {"prompt_tokens": len(body["prompt"]), "completion_tokens": body["max_tokens"]}
        parts = [
            {"choices": [{"text": "x"}]} | ({"usage": {**used, "completion_tokens": n}} if self.counts else {})
            for n in self._parts(body["max_tokens"])
        ]
        return _streamed([*parts, {"choices": [], "usage": used}])

    async def chat(self, http: Request) -> Response:
        await self._kept(http)
        return _streamed([{"choices": [{"delta": {"content": "x"}}]}] * 3)

    def _parts(self, count: int) -> list[int]:
        """Return the total tokens after each part."""
        return [*range(self.at_once, count, self.at_once), count]

    async def _kept(self, http: Request) -> Any:
        self.bodies.append((http.url.path, await http.json()))
        return self.bodies[-1][1]


@asynccontextmanager
async def listening(app: Starlette) -> AsyncIterator[str]:
    """Serve ``app`` on a free loopback port in this event loop, and yield its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=0))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    running = asyncio.ensure_future(server._serve([listener]))
    await until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running


def _streamed(events: list[dict[str, Any]]) -> Response:
    return StreamingResponse((f"data: {json.dumps(event)}\n\n" for event in events), media_type="text/event-stream")
