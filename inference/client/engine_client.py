"""Async client of the engine: completions and chats as streams, and the lease that keeps the engine alive.

Torch-free. Closing a stream early cancels the request on the engine.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import httpx

from inference.api.engine_errors import BadRequest, EngineError, EngineSilent, EngineUnavailable, ModelRefused
from inference.api.events import Finished, TextChunk, TokenProbability
from inference.api.requests import LONGEST_SECONDS, ChatRequest, CompletionRequest
from inference.api.status import Status
from inference.client.openai_stream import (
    DONE,
    DeadlinePassed,
    PlainReader,
    event_data,
    parse_event,
    post_for_events,
    read_body,
)

CONNECT_SECONDS = 5.0

ANSWER_SECONDS = 10.0
"""Time limit of requests that the engine answers at once, even while it loads."""

SILENT_SECONDS = 10.0
"""Time limit between two bytes of a lease. The engine sends some every ``server.app.HEARTBEAT_SECONDS``."""

LATE_SECONDS = 2.0
"""Seconds past its deadline that a generation may end: a step of the model is not interrupted."""

LONGEST_REFUSAL = 65_536
"""Bytes of an error's body that are read."""

STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


class EngineClient:
    """Client of one engine, over its Unix socket.

    Every request has a time limit and raises ``EngineSilent`` after it. A lease does so after ``silence`` seconds
    without a byte from the engine.
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
        """Return the engine's status. Raises ``EngineUnavailable``."""
        with _transport_errors():
            return _status((await self._http.get("/health")).json())

    async def models(self) -> list[dict[str, Any]]:
        """Return OpenAI's list of models. Raises ``EngineUnavailable``."""
        with _transport_errors():
            return (await self._http.get("/v1/models")).json()["data"]

    async def retire(self, *, stop: bool = False, now: bool = False) -> None:
        """Ask the engine to shut down once its current requests have ended (see ``ShutdownRequest``).

        Raises ``EngineError``, also for engines of versions without this request.
        """
        with _transport_errors():
            response = await self._http.post("/retire", json={"stop": stop, "now": now})
            if response.status_code != 200:
                raise _refusal(response.status_code, response.content)

    async def stats(self) -> dict[str, Any]:
        """Return the engine's counters (see ``server.stats``). Raises ``EngineUnavailable``."""
        with _transport_errors():
            return (await self._http.get("/stats")).json()

    async def lease(self) -> AsyncGenerator[Status, None]:
        """Yield the engine's status and each change until it ends. An open lease keeps the engine alive."""
        with _transport_errors():
            async with self._http.stream("GET", "/lease", timeout=self._silence) as response:
                async for data in event_data(response):
                    yield _status(json.loads(data))

    def complete(self, request: CompletionRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        """Stream a completion. Raises ``EngineError``."""
        return self._generate("/v1/completions", request)

    def chat(self, request: ChatRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        """Stream a chat response. Raises ``EngineError``."""
        return self._generate("/v1/chat/completions", request)

    async def score(self, body: Mapping[str, Any]) -> list[dict[str, str]]:
        """Send a request of Code Llama's model card (``/score``). Raises ``BadRequest``, ``EngineError``."""
        with _transport_errors():
            response = await self._http.post("/score", json=body, timeout=_time_limit(None) * _inputs(body))
            if response.status_code != 200:
                raise _refusal(response.status_code, response.content)
            return response.json()

    async def _generate(
        self, path: str, request: CompletionRequest | ChatRequest
    ) -> AsyncGenerator[TextChunk | Finished, None]:
        """Stream until the deadline and ``LATE_SECONDS`` more. The engine keeps the deadline itself unless it hangs."""
        deadline = asyncio.get_running_loop().time() + _time_limit(request.deadline_ms)
        body, reader = {**request.to_json(), **STREAMED}, PlainReader()
        with _transport_errors():
            async with post_for_events(self._http, path, body, deadline, timeout=None) as response:
                if response.status_code != 200:
                    raise _refusal(response.status_code, await read_body(response, LONGEST_REFUSAL, deadline))
                async for data in event_data(response, deadline):
                    if data == DONE:
                        continue
                    event = parse_event(data)
                    if event.error:
                        raise _failure(event.error, EngineError)
                    if text := reader.feed(event):
                        yield TextChunk(text, _token_probabilities(event.logprobs))
        if reader.reason:
            yield Finished(reader.outcome(), request.model if request.model == reader.model else "")


def _token_probabilities(logprobs: Any) -> tuple[TokenProbability, ...]:
    """Parse a completion's ``logprobs``. A token that ends within a character has lost that character."""
    fields = logprobs or {}
    pairs = zip(fields.get("tokens", ()), fields.get("token_logprobs", ()), strict=False)
    return tuple(TokenProbability(token.encode(), logprob) for token, logprob in pairs)


def _time_limit(deadline_ms: int | None) -> float:
    """Return the seconds after which the client gives a request up."""
    return (LONGEST_SECONDS if deadline_ms is None else deadline_ms / 1000) + LATE_SECONDS


def _inputs(body: Mapping[str, Any]) -> int:
    """Return the number of texts in a ``/score`` request, valid or not. They are continued one after the other."""
    try:
        return max(len(body["input_data"]["input_string"]), 1)
    except (KeyError, TypeError):
        return 1


def _status(fields: Mapping[str, Any]) -> Status:
    known = {name: fields[name] for name in Status.__dataclass_fields__ if name in fields}
    return Status(**known)


def _refusal(code: int, body: bytes) -> EngineError:
    """Return the error for an HTTP status other than 200."""
    kind = {503: EngineUnavailable, 429: EngineUnavailable, 422: BadRequest}.get(code, EngineError)
    try:
        return _failure(json.loads(body)["error"], kind)
    except (ValueError, KeyError, TypeError):
        return kind(f"The engine returned HTTP status {code}.")


def _failure(error: Mapping[str, Any], kind: type[EngineError]) -> EngineError:
    """Return the error for OpenAI's ``error`` object, whose ``param`` is ``model`` if the model is to blame."""
    return (ModelRefused if error.get("param") == "model" else kind)(error["message"])


class _transport_errors:  # noqa: N801  used like a function
    """Raise ``EngineSilent`` for time-outs and ``EngineUnavailable`` for other transport errors.

    Callers treat a dead engine like a missing one.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, httpx.TimeoutException | DeadlinePassed):
            raise EngineSilent from error
        if isinstance(error, httpx.HTTPError | OSError | ValueError):
            raise EngineUnavailable("The engine is not running or has just ended.") from error
