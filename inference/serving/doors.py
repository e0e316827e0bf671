"""The ways into the engine: a Unix socket for this user's processes and, on request, loopback TCP with a token.

Knows HTTP's connections, not its requests' meaning. Source: uvicorn's ``H11Protocol``; RFC 6750 for the token.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
from collections.abc import Collection

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from inference.serving.private import NotPrivate, is_own_peer
from inference.serving.wire import error_body

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"

PUBLIC = ("/v1/", "/health", "/stats", "/score")
"""What is served over TCP; whether the engine stays or leaves is the affair of its user's own windows."""

HEADER_SECONDS = 10.0
"""How long a client may take from connecting to the end of a request's headers."""

MOST_CONNECTIONS = 512
"""Open at a time; more are refused, so that files are left to open for models and logs."""


class PrivateProtocol(H11Protocol):
    """HTTP for this user's own processes only: the folder keeps others out, and this in case it does not.

    Over TCP nobody can tell whose process it is: there ``TokenRequired`` decides.
    """

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        peer = transport.get_extra_info("socket")
        if peer.family == socket.AF_UNIX and not is_own_peer(peer):
            log.warning("refused a connection of another user")
            transport.abort()
        elif len(self.connections) >= MOST_CONNECTIONS:
            log.warning("refused a connection: %d are open", len(self.connections))
            transport.abort()
        else:
            super().connection_made(transport)
            self._patience = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        if self.transport is not None:  # it was not refused
            super().connection_lost(exc)

    def _give_up(self) -> None:
        self.transport.write(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        self.transport.close()

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


class TokenRequired:
    """An app that over TCP answers only who shows the token, and only on ``paths`` (and below them)."""

    def __init__(self, app: ASGIApp, token: str, paths: Collection[str]) -> None:
        self._app, self._token, self._paths = app, token.encode(), tuple(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _over_unix_socket(scope):
            return await self._app(scope, receive, send)
        if not self._shown(scope):
            text = "This engine wants the token from its token file: 'Authorization: Bearer TOKEN'."
            body = error_body(text, "authentication_error", code="invalid_api_key")
            return await JSONResponse(body, 401, {"WWW-Authenticate": "Bearer"})(scope, receive, send)
        if not scope["path"].startswith(self._paths):
            body = error_body(f"There is no {scope['path']} here.", "invalid_request_error", code="not_found")
            return await JSONResponse(body, 404)(scope, receive, send)
        return await self._app(scope, receive, send)

    def _shown(self, scope: Scope) -> bool:
        header = dict(scope["headers"]).get(b"authorization", b"")
        kind, _, token = header.partition(b" ")
        return kind.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)


def listen(port: int) -> socket.socket:
    """A listening TCP socket that only this machine reaches; port 0 takes any. Raises ``NotPrivate`` where it can't."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise NotPrivate(f"Port {port} of {LOOPBACK} can't be listened on ({error}): choose another one.") from error
    listener.setblocking(False)
    return listener


def _over_unix_socket(scope: Scope) -> bool:
    """A Unix socket's address has no port (``uvicorn.protocols.utils.get_local_addr``)."""
    server = scope.get("server")
    return server is not None and server[1] is None
