"""The async client of a server elsewhere: completions and chats as streams, as our own engine's client has them.

Knows no editor, and not how a server was found. The stop rules that our own engine applies while it writes are applied
here to what another one sends, and its stream is left as soon as they hold. Leaving a stream early closes the
connection, which is how all these servers are told to stop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import httpx

from inference.api.errors import BadRequest, ModelRefused
from inference.api.events import Finished, TextChunk, parse_outcome
from inference.api.requests import ChatRequest, CompletionRequest
from inference.remote.http_client import Part, parts
from inference.remote.prompt_format import AnswerReader, ServerRequest
from inference.remote.server_profile import ServerProfile
from inference.text.prompts import PromptError
from inference.text.stopping import Stopper

GRACE_SECONDS = 2.0
"""How much longer than its deadline an engine of ours may take, which keeps deadlines itself."""

Events = AsyncGenerator[TextChunk | Finished, None]


class RemoteClient:
    """One server and what is known of it. ``where`` is how sentences name it."""

    def __init__(
        self, http: httpx.AsyncClient, where: str, served: ServerProfile, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.served = served
        self._http, self._where, self._clock = http, where, clock

    async def complete(self, request: CompletionRequest) -> Events:
        """Stream a completion. Raises ``EngineError``; ``ModelRefused`` where ``request.model`` is not there."""
        self._check(request.model)
        if self.served.engine:
            events = self._plain("/v1/completions", request.to_json(), request.deadline_ms)
        else:
            events = self._foreign(request)
        async with aclosing(events):
            async for event in events:
                yield replace(event, adapter=request.model) if isinstance(event, Finished) else event

    async def chat(self, request: ChatRequest) -> Events:
        """Stream a chat answer. Raises ``EngineError``; ``ModelRefused`` where ``request.model`` is not there."""
        self._check(request.model)
        body = request.to_json() if self.served.engine else self.served.chat.chat(request)
        async with aclosing(self._plain("/v1/chat/completions", body, request.deadline_ms)) as events:
            async for event in events:
                yield event

    def _check(self, model: str) -> None:
        if model and not self.served.engine and model not in self.served.names:
            raise ModelRefused(f"{self._where} has no model or adapter '{model}'.")

    async def _plain(self, path: str, body: Mapping[str, Any], deadline_ms: int | None) -> Events:
        """The answer as the server has it: it applies the rules itself, or there are none."""
        usage = {} if "stream_options" in body or not self._tells_usage else {"stream_options": {"include_usage": True}}
        reason, used, timed = "", {}, {}
        grace = GRACE_SECONDS if self.served.engine else 0.0
        async with aclosing(self._until(path, {**body, **usage}, deadline_ms, grace)) as stream:
            async for part in stream:
                if part is None:
                    reason, timed = reason or "length", timed or {"cause": "deadline"}
                    break
                if part.text:
                    yield TextChunk(part.text)
                reason, used, timed = part.reason or reason, part.usage or used, part.timings or timed
        yield Finished(parse_outcome(reason, used, timed))

    @property
    def _tells_usage(self) -> bool:
        return self.served.engine is not None or self.served.chat.dialect.usage

    async def _foreign(self, request: CompletionRequest) -> Events:
        asked = await self._asked(request)
        reading = AnswerReader(asked, Stopper(request.stop_rule, asked.following, asked.stops), self._clock)
        if not asked.body["prompt"]:  # nothing stands before the cursor, and some refuse that
            yield Finished(reading.outcome("end"))
            return
        late = False
        async with aclosing(self._until("/v1/completions", asked.body, request.deadline_ms, 0.0)) as stream:
            async for part in stream:
                late = part is None
                if part is None:
                    break
                reading.usage, reading.reason = part.usage or reading.usage, part.reason or reading.reason
                if shown := reading.feed(part.text):
                    yield TextChunk(shown)
                if reading.stopper.cause:
                    break
        if rest := reading.stopper.finish():
            yield TextChunk(rest)
        yield Finished(reading.outcome("deadline" if late else None))

    async def _asked(self, request: CompletionRequest) -> ServerRequest:
        """Built beside the event loop: a long prefix takes a vocabulary some milliseconds."""
        try:
            return await asyncio.to_thread(self.served.language.completion, request)
        except PromptError as error:
            raise BadRequest(str(error)) from error

    async def _until(
        self, path: str, body: Mapping[str, Any], deadline_ms: int | None, grace: float
    ) -> AsyncGenerator[Part | None, None]:
        """The parts that come before the deadline, and None where it has passed."""
        loop = asyncio.get_running_loop()
        end = None if deadline_ms is None else loop.time() + deadline_ms / 1000 + grace
        async with aclosing(parts(self._http, self._where, path, body)) as stream:
            while True:
                try:
                    async with asyncio.timeout_at(end):
                        part = await anext(stream)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    yield None
                    return
                yield part
