"""A backend generates text for the language server: the local engine or a remote server, behind one interface."""

from __future__ import annotations

import asyncio
import logging
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

from inference.api.engine_errors import EngineError
from inference.api.events import Finished, TextChunk
from inference.api.requests import ChatRequest, CompletionRequest
from inference.api.status import Status
from lsp_server.concurrency import BackOff

log = logging.getLogger(__name__)

RETRY_AFTER = 5.0
"""Seconds after a failure that only the user can fix (say, no model is installed) before a request may retry."""

Events = AsyncGenerator[TextChunk | Finished, None]


class Backend(Protocol):
    """Interface of a backend.

    Attributes:
        status: the last known status.
        server: URL of a remote server; empty for the local engine.
    """

    status: Status
    server: str

    def start(self) -> None:
        """Connect in the background."""
        ...

    async def stop(self) -> None:
        """Disconnect."""
        ...

    def complete(self, request: CompletionRequest) -> Events:
        """Stream a completion. Raises ``EngineUnavailable`` at once while not connected."""
        ...

    def chat(self, request: ChatRequest) -> Events:
        """Stream a chat response. Raises ``EngineError``, as ``complete`` does."""
        ...

    async def chat_context(self) -> int | None:
        """Return the tokens that a conversation and its response may have together; None if unknown.

        Raises ``EngineError``.
        """
        ...


class Client(Protocol):
    """Client of an engine or a server."""

    def complete(self, request: CompletionRequest) -> Events: ...

    def chat(self, request: ChatRequest) -> Events: ...


C = TypeVar("C", bound=Client)


class BackgroundConnection(ABC, Generic[C]):
    """Base of both backends: a task that connects, reports each status and reconnects after failures.

    A request never waits for the connection: without one it raises ``EngineUnavailable`` and wakes the task if that
    waits for a request.
    """

    server = ""

    def __init__(
        self,
        on_status: Callable[[Status], None],
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float],
        status: Status,
    ) -> None:
        """``on_status`` is called with each status; ``sleep`` and ``clock`` work in seconds."""
        self.status = status
        self._on_status, self._sleep = on_status, sleep
        self._backoff = BackOff(clock)
        self._client: C | None = None
        self._task: asyncio.Task[None] | None = None
        self._requested = asyncio.Event()
        self._user = uuid.uuid4().hex  # OpenAI's `user`: the engine schedules editor sessions fairly

    def start(self) -> None:
        """Connect in the background."""
        self._task = asyncio.ensure_future(self._keep_connected())

    async def stop(self) -> None:
        """Disconnect."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def complete(self, request: CompletionRequest) -> Events:
        """Stream a completion. Raises ``EngineUnavailable`` at once while not connected."""
        return self._generate(request)

    def chat(self, request: ChatRequest) -> Events:
        """Stream a chat response. Raises ``EngineError``, as ``complete`` does."""
        return self._generate(request)

    async def _generate(self, request: CompletionRequest | ChatRequest) -> Events:
        client = self._connected(request)
        own = replace(request, user=self._user)
        try:
            stream = client.chat(own) if isinstance(own, ChatRequest) else client.complete(own)
            async with aclosing(stream) as events:
                async for event in events:
                    self._succeeded(request)
                    yield event
        except EngineError as error:
            self._failed(client, request, error)
            raise

    @abstractmethod
    def _connected(self, request: CompletionRequest | ChatRequest | None = None) -> C:
        """Return the client to use now. Raises ``EngineUnavailable``."""

    @abstractmethod
    async def _keep_connected(self) -> None:
        """Connect, and reconnect whenever the connection is lost, until cancelled."""

    def _succeeded(self, request: CompletionRequest | ChatRequest) -> None:
        """Note that the request got an event."""

    def _failed(self, client: C, request: CompletionRequest | ChatRequest, error: EngineError) -> None:
        """Note that the request failed."""

    async def _wait_for_request(self) -> None:
        """Wait until a request comes, but at least ``RETRY_AFTER``."""
        await self._sleep(RETRY_AFTER)
        self._requested.clear()
        await self._requested.wait()

    def _report(self, status: Status) -> None:
        self.status = status
        try:
            self._on_status(status)
        except Exception:
            log.exception("the status could not be shown")
