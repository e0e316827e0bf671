"""A strict server with OpenAI's API: unknown fields are errors. It records every request.

``takes`` selects the features of vLLM, llama-server or a plain server. Faults among them: "appends" (the suffix comes
after the response), "prints" (a list of ids is read as its text), "uncounted" (usage is missing although requested).
Responses are scripted text chunks, one event each.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

VLLM = frozenset({"ids", "stop_token_ids", "stream_options"})
KNOWN = frozenset({"model", "prompt", "max_tokens", "temperature", "top_p", "seed", "stop", "stream"})
CHAT = frozenset({"model", "messages", "max_tokens", "temperature", "top_p", "seed", "stop", "stream"})


@dataclass
class FakeOpenAi:
    """A server with scripted responses.

    Attributes:
        count: function that counts the tokens of a text.
        extra: tokens counted in addition to the ids sent.
        says: text chunks of each response; probes request one token. "…" waits for ``go`` first, "break" closes the
            connection, "error" sends an error, "nonsense" sends an unknown event.
        ends: responses have an end; ``silent``: probes get no response.
        failures: error responses to the next requests, in order.
        asked: bodies of requests that are no probes; ``probes``: bodies of probes; ``paths``: of all requests.
    """

    count: Callable[[str], int] = len
    says: list[str] = field(default_factory=lambda: ["a", "b"])
    takes: frozenset[str] = VLLM
    models: list[dict[str, Any]] = field(default_factory=lambda: [{"id": "codellama/CodeLlama-7b-hf"}])
    extra: int = 0
    token: str = ""
    props: dict[str, Any] | None = None
    ends: bool = True
    silent: bool = False
    failures: list[Response] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)
    probes: list[Any] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    def app(self) -> Starlette:
        routes = {"/health": self.health, "/v1/models": self.listed, "/props": self.properties}
        posts = {"/v1/completions": self.completions, "/v1/chat/completions": self.chat}
        return Starlette(
            routes=[
                *(Route(path, self._guarded(route)) for path, route in routes.items()),
                *(Route(path, self._guarded(route), methods=["POST"]) for path, route in posts.items()),
            ]
        )

    def _guarded(self, route):
        async def answer(http: Request) -> Response:
            self.paths.append(http.url.path)
            if self.token and http.headers.get("authorization") != f"Bearer {self.token}":
                return refusal(401, "who are you?")
            if self.failures:
                return self.failures.pop(0)
            return await route(http)

        return answer

    async def health(self, http: Request) -> Response:
        return Response()

    async def listed(self, http: Request) -> Response:
        return JSONResponse({"object": "list", "data": self.models})

    async def properties(self, http: Request) -> Response:
        return refusal(404, "Not Found") if self.props is None else JSONResponse(self.props)

    async def completions(self, http: Request) -> Response:
        body = await http.json()
        prompt = body.get("prompt")
        ids = isinstance(prompt, list)
        if refused := self._refused(body, KNOWN | self.takes - {"ids"}):
            return refused
        if ids and "ids" not in self.takes:
            return refusal(400, "prompt must be a string")
        used = len(prompt) + self.extra if ids else self.count(prompt)
        printed = ids and "prints" in self.takes
        return self._answer(body, used, lambda text: {"text": "," if printed and text else text})

    async def chat(self, http: Request) -> Response:
        body = await http.json()
        if refused := self._refused(body, CHAT | self.takes & {"stream_options"}):
            return refused
        return self._answer(body, 7, lambda text: {"delta": {"content": text} if text else {"role": "assistant"}})

    def _refused(self, body: Any, known: frozenset[str]) -> Response | None:
        if unknown := sorted(set(body) - known):
            return refusal(400, f"Unrecognized request argument supplied: {unknown[0]}")
        if body.get("model") not in [model["id"] for model in self.models]:
            return refusal(404, f"The model `{body.get('model')}` does not exist.", param="model")
        return None if body.get("stream") is True else refusal(400, "only streams here")

    def _answer(self, body: Any, used: int, shape: Callable[[str], dict[str, Any]]) -> Response:
        probing = body["max_tokens"] == 1
        (self.probes if probing else self.asked).append(body)
        pieces = ["…" if self.silent else "x"] if probing else list(self.says)
        if suffix := body.get("suffix"):
            pieces += [suffix] if "appends" in self.takes else []
        told = body.get("stream_options") and "uncounted" not in self.takes
        usage = told and {"prompt_tokens": used, "completion_tokens": len(pieces)}
        return StreamingResponse(self._events(pieces, usage, shape), media_type="text/event-stream")

    async def _events(
        self, pieces: list[str], usage: Any, shape: Callable[[str], dict[str, Any]]
    ) -> AsyncIterator[str]:
        try:
            for piece in pieces:
                if piece == "…":
                    await self.go.wait()
                elif piece == "break":
                    raise RuntimeError("the server dies")
                elif piece in ("error", "nonsense"):
                    yield _sse({"error": "out of memory"} if piece == "error" else {"hello": "world"})
                    return
                else:
                    yield _sse({"choices": [{"index": 0, **shape(piece), "finish_reason": None}]})
            if self.ends:
                yield _sse({"choices": [{"index": 0, **shape(""), "finish_reason": "stop"}]})
                if usage:
                    yield _sse({"choices": [], "usage": usage})
                yield "data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.left.set()
            raise


def refusal(status: int, message: str, headers: dict[str, str] | None = None, param: str | None = None) -> Response:
    """An error in OpenAI's shape."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    return JSONResponse({"error": error}, status, headers)


def _sse(event: Any) -> str:
    return f"data: {json.dumps(event, ensure_ascii=False)}\n\n"
