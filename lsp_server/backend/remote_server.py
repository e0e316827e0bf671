"""This window's link to a server elsewhere: find out what it can do, ask it, and find out anew after a failure.

Knows no LSP: whoever owns the link is told each status. Never blocks: while the server can't be asked, asking raises.
What may pass by itself (nobody answers, an answer broke off) is tried again with back-off, as is what the server says
will pass (``Retry-After``); what needs a person is tried again when a request comes, some seconds later.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import replace

import httpx

from inference.api.errors import BadRequest, EngineError, EngineUnavailable, ModelRefused
from inference.api.events import Finished, TextChunk
from inference.api.requests import ChatRequest, CompletionRequest
from inference.api.status import Status
from inference.remote.errors import Busy
from inference.remote.http_client import Address, open_http_client
from inference.remote.remote_client import RemoteClient
from inference.remote.server_profile import ProbeRequest, probe
from lsp_server.backend.allowed_servers import NotAllowedError
from lsp_server.concurrency import BackOff

log = logging.getLogger(__name__)

Answer = AsyncGenerator[TextChunk | Finished, None]

RETRY_AFTER = 5.0
"""Seconds after what only a person can change before a request may try anew."""

MOST_REFUSED = 3
"""Completions refused one after the other. One says something of its prompt; so many, that the server has changed."""


class RemoteServer:
    """The way from the language server to a server elsewhere. ``find``, ``sleep`` and ``clock`` are given by tests."""

    def __init__(
        self,
        find: Callable[[], Address],
        wanted: ProbeRequest,
        on_status: Callable[[Status], None],
        warn: Callable[[str], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``find`` names the server, anew at each attempt; it raises ``NotAllowed``."""
        self._find, self._wanted = find, wanted
        self._on_status, self._warn = on_status, warn
        self._sleep, self._clock = sleep, clock
        self._backoff = BackOff(clock)
        self._address: Address | None = None
        self._http: httpx.AsyncClient | None = None
        self._client: RemoteClient | None = None
        self._task: asyncio.Task[None] | None = None
        self._asked, self._lost = asyncio.Event(), asyncio.Event()
        self._trouble: EngineError | None = None
        self._rest_until, self._rest = 0.0, ""
        self._refused = 0
        self._window = uuid.uuid4().hex
        self.server = "a server elsewhere"
        self.status, self._told = Status(message="connecting"), Status()

    def start(self) -> None:
        """Begin to find out what the server can do, in the background."""
        self._task = asyncio.ensure_future(self._keep())

    async def stop(self) -> None:
        """Close all connections."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._close()

    async def complete(self, request: CompletionRequest) -> Answer:
        """Stream a completion; raises ``EngineUnavailable`` at once while the server is not to be asked."""
        client, own = self._ready(), replace(request, user=self._window)

        def lost(error: EngineError) -> bool:
            if isinstance(error, BadRequest):
                self._refused += 1
                return self._refused >= MOST_REFUSED
            return not (isinstance(error, ModelRefused) and request.model)  # else it is an adapter that is not there

        async with aclosing(self._heard(client, client.complete(own), lost)) as events:
            async for event in events:
                self._refused = 0
                yield event

    async def chat(self, request: ChatRequest) -> Answer:
        """Stream a chat answer. Raises ``EngineError``; what is refused of a chat says nothing of the server."""
        client, own = self._ready(), replace(request, user=self._window)

        def lost(error: EngineError) -> bool:
            return isinstance(error, EngineUnavailable)

        async with aclosing(self._heard(client, client.chat(own), lost)) as events:
            async for event in events:
                yield event

    async def chat_context(self) -> int | None:
        """Tokens that a conversation and its answer may have together; None where the server has not said so.

        Raises ``EngineError``.
        """
        return self._ready().served.chat_context or None

    async def _heard(self, client: RemoteClient, answer: Answer, lost: Callable[[EngineError], bool]) -> Answer:
        """``answer`` as it comes; what goes wrong with it says when the server may be asked again."""
        try:
            async with aclosing(answer) as events:
                async for event in events:
                    yield event
        except Busy as busy:
            self._rest_until, self._rest = self._clock() + busy.rest, str(busy)
            raise
        except EngineError as error:
            if lost(error):
                self._lose(client, error)
            raise

    def _ready(self) -> RemoteClient:
        self._asked.set()
        if self._client is None:
            raise EngineUnavailable(self.status.message)
        if self._clock() < self._rest_until:
            raise EngineUnavailable(self._rest)
        return self._client

    def _lose(self, client: RemoteClient, error: EngineError) -> None:
        """The server is not as it was found to be; told by whichever request sees it first."""
        if client is self._client:
            self._client, self._trouble, self.status = None, error, _failed(error)
            self._lost.set()

    async def _keep(self) -> None:
        while True:
            try:
                await self._connect()
                await self._lost.wait()
                raise self._trouble or EngineUnavailable("The server has gone.")
            except Busy as busy:
                self._tell(_waiting(busy))
                await self._sleep(busy.rest)
            except EngineUnavailable as error:
                self._tell(_failed(error))
                await self._sleep(self._backoff.pause())
            except (EngineError, NotAllowedError) as error:
                self._tell(_failed(error))
                await self._until_asked()
            except Exception:  # a mistake of ours is no reason never to try again
                log.exception("what the server can do was not found out")
                self._tell(_failed(EngineUnavailable(f"{self.server} can't be used: the server's log says why.")))
                await self._until_asked()

    async def _connect(self) -> None:
        """Find the server and what it can do. Raises ``EngineError``, ``NotAllowed``."""
        address = await asyncio.to_thread(self._find)
        if self._http is None or address != self._address:
            await self._close()
            self._address, self.server = address, address.url
            self._http = await asyncio.to_thread(open_http_client, address)
        if address.in_the_clear:
            self._warn(f"What you type goes to {address.url} unencrypted, for others on the way to read: use https://.")
        served = await probe(self._http, address.url, self._wanted)
        self._lost.clear()
        self._client = RemoteClient(self._http, address.url, served)
        self._rest_until, self._refused = 0.0, 0
        self._backoff.ready()
        log.info("%s: %s, asked with %s", address.url, served.language.model, served.language.dialect)
        self._tell(
            Status(
                phase="ready",
                message=f"{served.language.model} at {address.url}",
                progress=100,
                model=served.language.model,
                chat_model=served.chat.model,
                limits=served.limits,
                version=served.engine.version if served.engine else "",
            )
        )

    async def _until_asked(self) -> None:
        await self._sleep(RETRY_AFTER)
        self._asked.clear()
        await self._asked.wait()

    async def _close(self) -> None:
        self._client = None
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    def _tell(self, status: Status) -> None:
        if status != self._told:
            self.status = self._told = status
            self._on_status(status)


def _waiting(busy: Busy) -> Status:
    """An engine of ours that loads says itself how far it is."""
    if busy.status and busy.status.phase == "loading":
        return replace(busy.status, crash="")
    return replace(busy.status or Status(), message=str(busy), crash="")


def _failed(error: Exception) -> Status:
    return Status(phase="failed", message=str(error))
