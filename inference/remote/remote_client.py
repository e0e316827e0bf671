"""Async client of a remote server: completions and chats as streams, like ``EngineClient`` for the local engine.

A stop rule that our own engine applies while it generates is applied here to another server's stream, which is closed
as soon as the rule matches. Closing the connection cancels the request on all these servers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import httpx

from inference.api.engine_errors import BadRequest, ModelRefused
from inference.api.events import Finished, TextChunk
from inference.api.requests import ChatRequest, CompletionRequest
from inference.client.openai_stream import DeadlinePassed, PlainReader
from inference.remote.http_client import stream_events
from inference.remote.prompt_format import CompletionReader
from inference.remote.server_profile import ServerProfile
from inference.text.prompts import PromptError
from inference.text.stopping import Stopper

GRACE_SECONDS = 2.0
"""Seconds past its deadline that an engine of ours may take: it keeps deadlines itself."""

COMPLETIONS, CHATS = "/v1/completions", "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class _Post:
    """A request as it is sent, and the reader of its response."""

    path: str
    body: Mapping[str, Any]
    reader: PlainReader | CompletionReader

    @property
    def is_empty(self) -> bool:
        """True without any text before the cursor, which some servers refuse."""
        return isinstance(self.reader, CompletionReader) and not self.body["prompt"]


class RemoteClient:
    """Client of one server with a known profile. ``server`` is its name in error messages."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        server: str,
        served: ServerProfile,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.served = served
        self._http, self._server, self._clock = http, server, clock

    def complete(self, request: CompletionRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        """Stream a completion. Raises ``EngineError``; ``ModelRefused`` if the server lacks ``request.model``."""
        return self._generate(request)

    def chat(self, request: ChatRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        """Stream a chat response. Raises ``EngineError``; ``ModelRefused`` if the server lacks ``request.model``."""
        return self._generate(request)

    async def _generate(self, request: CompletionRequest | ChatRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        self._check_model(request.model)
        post = await self._chat(request) if isinstance(request, ChatRequest) else await self._completion(request)
        adapter = "" if isinstance(request, ChatRequest) else request.model
        if post.is_empty:
            yield Finished(post.reader.outcome(), adapter)
            return
        late = False
        try:
            deadline = self._deadline(request.deadline_ms)
            async with aclosing(stream_events(self._http, self._server, post.path, post.body, deadline)) as events:
                async for event in events:
                    if text := post.reader.feed(event):
                        yield TextChunk(text)
                    if post.reader.done:
                        break
        except DeadlinePassed:
            late = True
        if rest := post.reader.finish():
            yield TextChunk(rest)
        yield Finished(post.reader.outcome(late=late), adapter)

    def _check_model(self, model: str) -> None:
        if model and not self.served.engine and model not in self.served.names:
            raise ModelRefused(f"{self._server} has no model or adapter '{model}'.")

    async def _completion(self, request: CompletionRequest) -> _Post:
        """Build a completion off the event loop: tokenizing a long prefix takes some milliseconds."""
        if self.served.engine:
            return _Post(COMPLETIONS, self._with_usage(request.to_json()), PlainReader())
        try:
            sent = await asyncio.to_thread(self.served.language.completion, request)
        except PromptError as error:
            raise BadRequest(str(error)) from error
        stopper = Stopper(request.stop_rule, sent.following, sent.stops)
        return _Post(COMPLETIONS, sent.body, CompletionReader(sent, stopper, self._clock))

    async def _chat(self, request: ChatRequest) -> _Post:
        body = request.to_json() if self.served.engine else self.served.chat.chat(request)
        return _Post(CHATS, self._with_usage(body), PlainReader())

    def _with_usage(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask for the usage where the server supports that."""
        supported = self.served.engine is not None or self.served.chat.dialect.usage
        return {**({"stream_options": {"include_usage": True}} if supported else {}), **body}

    def _deadline(self, milliseconds: int | None) -> float | None:
        """Return the deadline on the event loop's clock."""
        if milliseconds is None:
            return None
        grace = GRACE_SECONDS if self.served.engine else 0.0
        return asyncio.get_running_loop().time() + milliseconds / 1000 + grace
