"""A remote server as a backend: probe it, send it requests, probe it again after a failure.

Failures that may pass by themselves (no connection, a broken stream) are retried with back-off, and a busy server after
its ``Retry-After``. Failures that only the user can fix are retried on the next request, some seconds later.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import httpx

from inference.api.engine_errors import BadRequest, EngineError, EngineUnavailable, ModelRefused
from inference.api.requests import ChatRequest, CompletionRequest
from inference.api.status import Status
from inference.remote.http_client import Address, open_http_client
from inference.remote.remote_client import RemoteClient
from inference.remote.server_errors import ServerBusy
from inference.remote.server_profile import ProbeRequest, probe
from lsp_server.backend.allowed_servers import NotAllowedError
from lsp_server.backend.backend import BackgroundConnection

log = logging.getLogger(__name__)

MOST_REFUSED = 3
"""Refused completions in a row. One may be due to its prompt; this many mean that the server has changed."""


class RemoteServer(BackgroundConnection[RemoteClient]):
    """Backend for a server that the user has named."""

    def __init__(
        self,
        find: Callable[[], Address],
        wanted: ProbeRequest,
        on_status: Callable[[Status], None],
        warn: Callable[[str], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``find`` returns the server's address at each attempt, or raises ``NotAllowedError``.

        Tests pass ``sleep`` and ``clock``.
        """
        super().__init__(on_status, sleep, clock, Status(message="connecting"))
        self._find, self._wanted, self._warn, self._clock = find, wanted, warn, clock
        self._address: Address | None = None
        self._http: httpx.AsyncClient | None = None
        self._lost = asyncio.Event()
        self._error: EngineError | None = None
        self._busy_until, self._busy = 0.0, ""
        self._refused = 0
        self._reported = Status()
        self.server = "a remote server"

    async def stop(self) -> None:
        """Close all connections."""
        await super().stop()
        await self._close()

    async def chat_context(self) -> int | None:
        """Return the tokens that a conversation and its response may have together; None if the server reports none.

        Raises ``EngineError``.
        """
        return self._connected().served.chat_context or None

    def _connected(self, request: CompletionRequest | ChatRequest | None = None) -> RemoteClient:
        self._requested.set()
        if self._client is None:
            raise EngineUnavailable(self.status.message)
        if self._clock() < self._busy_until:
            raise EngineUnavailable(self._busy)
        return self._client

    def _succeeded(self, request: CompletionRequest | ChatRequest) -> None:
        if isinstance(request, CompletionRequest):
            self._refused = 0

    def _failed(self, client: RemoteClient, request: CompletionRequest | ChatRequest, error: EngineError) -> None:
        """Probe the server again unless the error is due to the request alone."""
        if isinstance(error, ServerBusy):
            self._busy_until, self._busy = self._clock() + error.retry_seconds, str(error)
        elif self._is_servers_fault(request, error) and client is self._client:
            self._client, self._error, self.status = None, error, _failure(error)
            self._lost.set()

    def _is_servers_fault(self, request: CompletionRequest | ChatRequest, error: EngineError) -> bool:
        if isinstance(request, ChatRequest):
            return isinstance(error, EngineUnavailable)
        if isinstance(error, BadRequest):
            self._refused += 1
            return self._refused >= MOST_REFUSED
        return not (isinstance(error, ModelRefused) and request.model)  # else only an adapter is missing

    async def _keep_connected(self) -> None:
        while True:
            try:
                await self._connect()
                await self._lost.wait()
                raise self._error or EngineUnavailable("The connection to the server was lost.")
            except ServerBusy as busy:
                self._report(_waiting(busy))
                await self._sleep(busy.retry_seconds)
            except EngineUnavailable as error:
                self._report(_failure(error))
                await self._sleep(self._backoff.pause())
            except (EngineError, NotAllowedError) as error:
                self._report(_failure(error))
                await self._wait_for_request()
            except Exception:  # a defect of ours must not end all retries
                log.exception("the server could not be probed")
                text = f"{self.server} cannot be used. See the language server's log."
                self._report(_failure(EngineUnavailable(text)))
                await self._wait_for_request()

    async def _connect(self) -> None:
        """Find and probe the server. Raises ``EngineError``, ``NotAllowedError``."""
        address = await asyncio.to_thread(self._find)
        if self._http is None or address != self._address:
            await self._close()
            self._address, self.server = address, address.url
            self._http = await asyncio.to_thread(open_http_client, address)
        if address.in_the_clear:
            self._warn(f"Your code is sent to {address.url} unencrypted. Use an https:// address.")
        served = await probe(self._http, address.url, self._wanted)
        self._lost.clear()
        self._client = RemoteClient(self._http, address.url, served)
        self._busy_until, self._refused = 0.0, 0
        self._backoff.ready()
        log.info("%s: %s with %s", address.url, served.language.model, served.language.dialect)
        self._report(
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

    async def _close(self) -> None:
        self._client = None
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    def _report(self, status: Status) -> None:
        """Report a status unless it is the one reported last."""
        if status != self._reported:
            self._reported = status
            super()._report(status)


def _waiting(busy: ServerBusy) -> Status:
    """Return the status of a busy server; an engine of ours reports its own progress."""
    if busy.status and busy.status.phase == "loading":
        return replace(busy.status, crash="")
    return replace(busy.status or Status(), message=str(busy), crash="")


def _failure(error: Exception) -> Status:
    return Status(phase="failed", message=str(error))
