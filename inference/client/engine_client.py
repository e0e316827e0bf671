"""The async client of an engine: completions and chats as streams, and the lease that keeps the engine alive.

Torch-free; knows no editor. Leaving a stream early closes it, and that cancels the request at the engine.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx

from inference.api.errors import BadRequest, EngineError, EngineSilent, EngineUnavailable, ModelRefused
from inference.api.events import Finished, TextChunk, TokenProbability, parse_outcome
from inference.api.requests import LONGEST_SECONDS, ChatRequest, CompletionRequest
from inference.api.status import Status
from inference.client.sse import event_data

CONNECT_SECONDS = 5.0

ANSWER_SECONDS = 10.0
"""For what the engine answers at once, even while it loads."""

SILENT_SECONDS = 10.0
"""Of a lease, on which the engine sends something every ``BEAT_SECONDS`` (``service``), whatever it is doing."""

LATE_SECONDS = 2.0
"""Seconds past its deadline that an answer may end: a step of the model is not interrupted."""

STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


class EngineClient:
    """Talks to one engine over its Unix socket.

    Every request has a time limit and raises ``EngineSilent`` after it; a lease does once the engine has sent nothing
    for ``silence`` seconds.
    """

    def __init__(self, socket: Path, silence: float = SILENT_SECONDS) -> None:
        self._silence = silence
        transport = httpx.AsyncHTTPTransport(uds=str(socket))
        timeout = httpx.Timeout(min(ANSWER_SECONDS, silence), connect=CONNECT_SECONDS)
        # trust_env: a proxy set for the web must never see a prompt
        self._http = httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=timeout, trust_env=False)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def health(self) -> Status:
        """What the engine is doing; raises ``EngineUnavailable`` if there is none."""
        with _in_words():
            return _status((await self._http.get("/health")).json())

    async def models(self) -> list[dict[str, Any]]:
        """What the engine serves."""
        with _in_words():
            return (await self._http.get("/v1/models")).json()["data"]

    async def retire(self, *, stop: bool = False, now: bool = False) -> None:
        """Ask the engine to leave once it has answered what it has begun (see ``serving.retirement``).

        Raises ``EngineError``; an engine from before it could be asked raises it too.
        """
        with _in_words():
            answer = await self._http.post("/retire", json={"stop": stop, "now": now})
            if answer.status_code != 200:
                raise _refusal(answer.status_code, answer.content)

    async def stats(self) -> dict[str, Any]:
        """What the engine has done so far (``serving.stats``)."""
        with _in_words():
            return (await self._http.get("/stats")).json()

    async def lease(self) -> AsyncGenerator[Status, None]:
        """The engine's status and every change, for as long as it lives; holding this keeps it alive."""
        with _in_words():
            async with self._http.stream("GET", "/lease", timeout=self._silence) as answer:
                async for event in _events(answer):
                    yield _status(event)

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        """Stream a completion. Raises ``EngineError``."""
        async with aclosing(self._stream("/v1/completions", request)) as events:
            async for event in _progress(events, lambda choice: choice.get("text"), request.model):
                yield event

    async def chat(self, request: ChatRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        """Stream a chat answer. Raises ``EngineError``."""
        async with aclosing(self._stream("/v1/chat/completions", request)) as events:
            async for event in _progress(events, lambda choice: choice["delta"].get("content"), request.model):
                yield event

    async def score(self, body: Mapping[str, Any]) -> list[dict[str, str]]:
        """Answer a model card's request (see ``serving.score``). Raises ``BadRequest``, ``EngineError``."""
        with _in_words():
            answer = await self._http.post("/score", json=body, timeout=_limit(None) * _texts(body))
            if answer.status_code != 200:
                raise _refusal(answer.status_code, answer.content)
            return answer.json()

    async def _stream(
        self, path: str, request: CompletionRequest | ChatRequest
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Events of an answer until its deadline and a little more; the engine ends it before, if it can."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + _limit(request.deadline_ms)
        async with aclosing(self._endless(path, request.to_json())) as events:
            while True:
                try:
                    async with asyncio.timeout_at(ends):
                        event = await anext(events)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    raise EngineSilent from None
                yield event

    async def _endless(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        with _in_words():
            async with self._http.stream("POST", path, json={**body, **STREAMED}, timeout=None) as answer:
                if answer.status_code != 200:
                    raise _refusal(answer.status_code, await answer.aread())
                async for event in _events(answer):
                    if "error" in event:
                        raise _failure(event["error"], EngineError)
                    yield event


async def _events(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for data in event_data(answer):
        if data != "[DONE]":
            yield json.loads(data)


async def _progress(
    events: AsyncIterator[dict[str, Any]], text_of: Callable[[Mapping[str, Any]], str | None], asked: str
) -> AsyncIterator[TextChunk | Finished]:
    """Text as it comes, and the end once all is known of it: the usage comes in an event of its own, without choices.

    A server that sends none is taken at its finish reason. ``asked`` is the model or adapter that was asked for; the
    answer names the one that was used.
    """
    reason, used, timed, model = "", {}, {}, ""
    async for event in events:
        model = event.get("model") or model
        used = event.get("usage") or used
        timed = event.get("timings") or timed
        for choice in event["choices"]:
            if text := text_of(choice):
                yield TextChunk(text, _chances(choice))
            reason = choice.get("finish_reason") or reason
    if reason:
        yield Finished(parse_outcome(reason, used, timed), asked if asked == model else "")


def _chances(choice: Mapping[str, Any]) -> tuple[TokenProbability, ...]:
    """Of a completion's tokens, where they were asked for. A token that ends within a character has lost that one."""
    told = choice.get("logprobs") or {}
    pairs = zip(told.get("tokens", ()), told.get("token_logprobs", ()), strict=False)
    return tuple(TokenProbability(piece.encode(), chance) for piece, chance in pairs)


def _limit(deadline_ms: int | None) -> float:
    """Seconds after which a request is given up here; a hung engine keeps no deadline."""
    return (LONGEST_SECONDS if deadline_ms is None else deadline_ms / 1000) + LATE_SECONDS


def _texts(body: Mapping[str, Any]) -> int:
    """Return the number of texts in a model card's request, valid or not; they are continued one after the other."""
    try:
        return max(len(body["input_data"]["input_string"]), 1)
    except (KeyError, TypeError):
        return 1


def _status(fields: Mapping[str, Any]) -> Status:
    known = {name: fields[name] for name in Status.__dataclass_fields__ if name in fields}
    return Status(**known)


def _refusal(code: int, body: bytes) -> EngineError:
    kind = {503: EngineUnavailable, 429: EngineUnavailable, 422: BadRequest}.get(code, EngineError)
    try:
        return _failure(json.loads(body)["error"], kind)
    except (ValueError, KeyError, TypeError):
        return kind(f"The engine answered with HTTP status {code}.")


def _failure(error: Mapping[str, Any], kind: type[EngineError]) -> EngineError:
    """An ``error`` in OpenAI's shape, which names the model where that is to blame."""
    return (ModelRefused if error.get("param") == "model" else kind)(error["message"])


class _in_words:  # noqa: N801  used like a function
    """Transport errors as ``EngineUnavailable``: to a caller a dead engine and a missing one are the same.

    A time-out is ``EngineSilent``.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, httpx.TimeoutException):
            raise EngineSilent from error
        if isinstance(error, httpx.HTTPError | OSError | ValueError):
            raise EngineUnavailable("The engine is not there or has just gone.") from error
