"""The engine's two listeners: a Unix socket for this user's processes and, on request, loopback TCP with a token.

Each listener has its own limits, so that a client without the token cannot use up the connections of the Unix socket.

Source: uvicorn's ``H11Protocol``; RFC 6750 for the token.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import socket
import time
from collections.abc import Collection
from typing import Any, cast

import h11
import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from inference.api.requests import error_body
from inference.system.runtime_folder import NotPrivateError, is_own_peer

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"

TCP_PATHS = ("/v1/", "/health", "/stats", "/score")
"""Path prefixes served over TCP. Leases and shutdown are served on the Unix socket only."""

HEADER_SECONDS = 10.0
"""Time limit for a request's headers, counted from connecting or from the end of the previous response."""

BODY_SECONDS = 30.0
"""Time limit for a body after its headers. On the same machine, the largest takes milliseconds."""

LINGER_SECONDS = 2.0
"""Time to go on reading from a client that is still sending when its connection is closed."""

PARSE_BYTES = 4096
"""Bytes parsed at once. h11 checks its limit on headers (16 KiB) in between, and we check the token."""

MAX_UNIX_CONNECTIONS = 512
"""Open Unix connections. More are refused, to keep file descriptors for models and logs."""

MAX_TCP_CONNECTIONS = 128
"""Open TCP connections, authenticated ones included."""

MAX_UNAUTHENTICATED = 64
"""Open TCP connections that have not sent the token yet. Another one displaces the oldest."""

TCP_BACKLOG = 64
"""TCP connections accepted at once. asyncio accepts a whole backlog before we can count its connections."""

LOG_SECONDS = 60.0


class _OncePerMinute(logging.Filter):
    """Pass each warning at most once per ``LOG_SECONDS``, so that clients cannot fill the log."""

    def __init__(self) -> None:
        super().__init__()
        self._passed: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if record.levelno != logging.WARNING or now - self._passed.get(record.msg, -LOG_SECONDS) < LOG_SECONDS:
            return record.levelno != logging.WARNING
        self._passed[record.msg] = now
        return True


class _LingeringTransport:
    """A transport that closes its sending side first while the client is still sending, and drops the received bytes.

    Closing with unread bytes resets the connection, and the client may lose the response (RFC 9112, section 9.6).
    """

    def __init__(self, transport: asyncio.Transport, protocol: H11Protocol) -> None:
        self._transport, self._protocol, self._lingers = transport, protocol, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._lingers or self._transport.is_closing()

    def close(self) -> None:
        if self._protocol.conn.their_state not in (h11.SEND_BODY, h11.ERROR) or self._transport.is_closing():
            self._transport.close()
        elif not self._lingers:
            self._lingers = True
            self._transport.write_eof()
            self._transport.resume_reading()
            self._protocol.loop.call_later(LINGER_SECONDS, self._transport.abort)


class TimedProtocol(H11Protocol):
    """HTTP/1.1 with time limits for the headers and the body of every request, also on a kept-alive connection."""

    _timer: asyncio.TimerHandle | None = None
    _awaited: tuple[Any, Any] = (None, None)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast("asyncio.Transport", _LingeringTransport(transport, self)))
        self._watch()

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), PARSE_BYTES):
            if self.transport.is_closing() or not self._may_continue():
                break
            super().data_received(data[start : start + PARSE_BYTES])
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self.transport is not None:  # None: the connection was refused
            super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Respond to a malformed request in OpenAI's format instead of uvicorn's plain text."""
        self._fail(400, b"Bad Request", msg)

    def _may_continue(self) -> bool:
        """Return whether the next bytes may be parsed."""
        return True

    def _watch(self) -> None:
        """Time the headers or the body that the client must send next. The timer restarts when that changes."""
        awaited = self.conn.their_state, self.cycle
        if awaited == self._awaited:
            return
        self._awaited = awaited
        self._stop_timer()
        seconds = {h11.IDLE: HEADER_SECONDS, h11.SEND_BODY: BODY_SECONDS}.get(awaited[0])
        if seconds is not None and not self.transport.is_closing():
            self._timer = self.loop.call_later(seconds, self._time_out)

    def _time_out(self) -> None:
        late = "headers" if self.conn.their_state is h11.IDLE else "body"
        self._fail(408, b"Request Timeout", f"The request's {late} did not arrive in time.")

    def _fail(self, status: int, phrase: bytes, text: str) -> None:
        """Send an error unless a response has begun, and close the connection."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps(error_body(text, "invalid_request_error")).encode()
            head = b"HTTP/1.1 %d %s\r\nconnection: close\r\ncontent-type: application/json\r\n" % (status, phrase)
            self.transport.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
            if self.cycle is not None and not self.cycle.response_complete:
                self.cycle.disconnected = True  # drops the app's own response
                self.cycle.message_event.set()
            self.transport.close()
        else:
            self.transport.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class PrivateProtocol(TimedProtocol):
    """HTTP over the Unix socket. Checks the peer's user, in addition to the permissions of the folder."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if not is_own_peer(transport.get_extra_info("socket")):
            log.warning("refused a connection of another user")
            transport.abort()
        elif sum(isinstance(one, PrivateProtocol) for one in self.connections) >= MAX_UNIX_CONNECTIONS:
            log.warning("refused a connection: %d are open", MAX_UNIX_CONNECTIONS)
            transport.abort()
        else:
            super().connection_made(transport)


class TokenProtocol(TimedProtocol):
    """HTTP over TCP. Without the token only the headers of a request are parsed."""

    def __init__(self, token: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._required = TokenRequired(self.app, token, TCP_PATHS)
        self.app, self.authenticated, self.opened = self._required, False, self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if self._make_room():
            super().connection_made(transport)
        else:
            log.warning("refused a TCP connection: %d are open", MAX_TCP_CONNECTIONS)
            transport.abort()

    def _make_room(self) -> bool:
        """Return whether one more connection fits; close the oldest without token if that makes it fit."""
        others = [one for one in self.connections if isinstance(one, TokenProtocol)]
        unauthenticated = [one for one in others if not one.authenticated]
        if len(unauthenticated) >= MAX_UNAUTHENTICATED or (unauthenticated and len(others) >= MAX_TCP_CONNECTIONS):
            oldest = min(unauthenticated, key=lambda one: one.opened)
            self.connections.discard(oldest)  # now: others may connect before its callback runs
            oldest.transport.abort()
            log.warning("closed the oldest TCP connection without token: too many are open")
            return True
        return len(others) < MAX_TCP_CONNECTIONS

    def _may_continue(self) -> bool:
        if self.cycle is None:
            return True
        if not self._required.has_token(self.cycle.scope):
            return False  # the app responds 401 and closes
        self.authenticated = True
        return True


class TokenRequired:
    """ASGI middleware: token required, and only paths that begin with one of ``paths`` are served."""

    def __init__(self, app: ASGIApp, token: str, paths: Collection[str]) -> None:
        self._app, self._token, self._paths = app, token.encode(), tuple(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if not self.has_token(scope):
            text = "Token required. Send the token of the engine's token file: 'Authorization: Bearer TOKEN'."
            body = error_body(text, "authentication_error", code="invalid_api_key")
            headers = {"WWW-Authenticate": "Bearer", "Connection": "close"}
            return await JSONResponse(body, 401, headers)(scope, receive, send)
        if not scope["path"].startswith(self._paths):
            body = error_body(f"{scope['path']} is not served over TCP.", "invalid_request_error", code="not_found")
            return await JSONResponse(body, 404)(scope, receive, send)
        return await self._app(scope, receive, send)

    def has_token(self, scope: Any) -> bool:
        """Return whether a request has the token (compared in constant time)."""
        header = dict(scope["headers"]).get(b"authorization", b"")
        kind, _, token = header.partition(b" ")
        return kind.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)


class ListenerServer(uvicorn.Server):
    """uvicorn on Unix sockets (``PrivateProtocol``) and optionally on a TCP socket with a token."""

    def __init__(self, config: uvicorn.Config, tcp: socket.socket | None = None, token: str = "") -> None:
        super().__init__(config)
        self._tcp, self._token = tcp, token
        for logger in (log, logging.getLogger("uvicorn.error")):
            logger.addFilter(_QUIET)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on all sockets. TCP has its own protocol and backlog."""
        tcp = None
        if self._tcp is not None:
            tcp = await asyncio.get_running_loop().create_server(
                self._tcp_protocol, sock=self._tcp, backlog=TCP_BACKLOG
            )
        await super().startup(sockets)
        self.servers += [tcp] if tcp is not None else []

    def _tcp_protocol(self) -> TokenProtocol:
        return TokenProtocol(self._token, self.config, self.server_state, self.lifespan.state)


def listen(port: int) -> socket.socket:
    """Return a TCP socket bound to the loopback address; port 0 takes any. Raises NotPrivateError if binding fails."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise NotPrivateError(
            f"The engine can't listen on {LOOPBACK}:{port} ({error}). Choose another port."
        ) from error
    listener.setblocking(False)
    return listener


_QUIET = _OncePerMinute()
