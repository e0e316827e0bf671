"""The engine's two listeners: a Unix socket for this user's processes and, on request, loopback TCP with a token.

Each has its own limits, so that a stranger on TCP can't use up the connections of the Unix socket. Knows HTTP's
connections, not its requests' meaning. Source: uvicorn's ``H11Protocol``; RFC 6750 for the token.
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

PUBLIC = ("/v1/", "/health", "/stats", "/score")
"""What is served over TCP; whether the engine stays or leaves is the affair of its user's own windows."""

HEADER_SECONDS = 10.0
"""Time for a request's headers, counted from connecting or from the end of the response before."""

BODY_SECONDS = 30.0
"""Time for a body after its headers: over a socket of this machine the largest takes milliseconds."""

LINGER_SECONDS = 2.0
"""After a response that closes, how long bytes are still taken from a client that has not finished its request."""

PIECE = 4096
"""Bytes parsed at once. h11 checks its limit on headers (16 KiB) between pieces, and so do we with the token."""

MOST_CONNECTIONS = 512
"""Open Unix connections; more are refused, so that files are left to open for models and logs."""

MOST_TCP = 128
"""Open TCP connections, those that have shown the token included."""

MOST_STRANGERS = 64
"""Open TCP connections that have not shown the token yet; one more displaces the oldest."""

TCP_BACKLOG = 64
"""TCP connections accepted at once: asyncio accepts all of a backlog before any is counted."""

LOG_SECONDS = 60.0


class _OncePerMinute(logging.Filter):
    """Pass each warning's message once per ``LOG_SECONDS``: peers cause them, and must not be able to fill the log."""

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
    """A transport that does not close on a client that may still be sending: it ends our side and drops the rest.

    Closing with unread bytes resets the connection, which can destroy a response on its way (RFC 9112, section 9.6).
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
    """HTTP/1.1 with a time limit on every request's headers and on its body, also on a connection kept alive."""

    _timer: asyncio.TimerHandle | None = None
    _awaited: tuple[Any, Any] = (None, None)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast("asyncio.Transport", _LingeringTransport(transport, self)))
        self._watch()

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), PIECE):
            if self.transport.is_closing() or not self._may_continue():
                break
            super().data_received(data[start : start + PIECE])
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self.transport is not None:  # it was not refused
            super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer a malformed request in OpenAI's shape; uvicorn's own has plain text."""
        self._fail(400, b"Bad Request", msg)

    def _may_continue(self) -> bool:
        """Return whether what comes next may be parsed."""
        return True

    def _watch(self) -> None:
        """Time what the client owes: headers, or a body. The timer starts anew only when it owes something else."""
        awaited = self.conn.their_state, self.cycle
        if awaited == self._awaited:
            return
        self._awaited = awaited
        self._stop_timer()
        seconds = {h11.IDLE: HEADER_SECONDS, h11.SEND_BODY: BODY_SECONDS}.get(awaited[0])
        if seconds is not None and not self.transport.is_closing():
            self._timer = self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        late = "headers" if self.conn.their_state is h11.IDLE else "body"
        self._fail(408, b"Request Timeout", f"The request's {late} did not arrive in time.")

    def _fail(self, status: int, phrase: bytes, text: str) -> None:
        """Answer with an error unless an answer has begun, and close."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps(error_body(text, "invalid_request_error")).encode()
            head = b"HTTP/1.1 %d %s\r\nconnection: close\r\ncontent-type: application/json\r\n" % (status, phrase)
            self.transport.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
            if self.cycle is not None and not self.cycle.response_complete:
                self.cycle.disconnected = True  # the app's own response is not sent any more
                self.cycle.message_event.set()
            self.transport.close()
        else:
            self.transport.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class PrivateProtocol(TimedProtocol):
    """HTTP for this user's own processes only: the folder keeps others out, and this in case it does not."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if not is_own_peer(transport.get_extra_info("socket")):
            log.warning("refused a connection of another user")
            transport.abort()
        elif sum(isinstance(one, PrivateProtocol) for one in self.connections) >= MOST_CONNECTIONS:
            log.warning("refused a connection: %d are open", MOST_CONNECTIONS)
            transport.abort()
        else:
            super().connection_made(transport)


class TokenProtocol(TimedProtocol):
    """HTTP over TCP, where the peer may be anybody: without the token only a request's headers are parsed."""

    def __init__(self, token: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._required = TokenRequired(self.app, token, PUBLIC)
        self.app, self.trusted, self.opened = self._required, False, self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if self._make_room():
            super().connection_made(transport)
        else:
            log.warning("refused a TCP connection: %d are open", MOST_TCP)
            transport.abort()

    def _make_room(self) -> bool:
        """Return whether there is room for one more, which the oldest connection without token may have to give."""
        others = [one for one in self.connections if isinstance(one, TokenProtocol)]
        strangers = [one for one in others if not one.trusted]
        if len(strangers) >= MOST_STRANGERS or (strangers and len(others) >= MOST_TCP):
            oldest = min(strangers, key=lambda one: one.opened)
            self.connections.discard(oldest)  # at once: others may connect before it is told that it is closed
            oldest.transport.abort()
            log.warning("closed the oldest TCP connection without token: too many are open")
            return True
        return len(others) < MOST_TCP

    def _may_continue(self) -> bool:
        if self.cycle is None:
            return True
        if not self._required.shown(self.cycle.scope):
            return False  # the app answers 401 and closes
        self.trusted = True
        return True


class TokenRequired:
    """An app that answers only a client with the token, and only on ``paths`` (and below them)."""

    def __init__(self, app: ASGIApp, token: str, paths: Collection[str]) -> None:
        self._app, self._token, self._paths = app, token.encode(), tuple(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if not self.shown(scope):
            text = "This engine wants the token from its token file: 'Authorization: Bearer TOKEN'."
            body = error_body(text, "authentication_error", code="invalid_api_key")
            headers = {"WWW-Authenticate": "Bearer", "Connection": "close"}
            return await JSONResponse(body, 401, headers)(scope, receive, send)
        if not scope["path"].startswith(self._paths):
            body = error_body(f"There is no {scope['path']} here.", "invalid_request_error", code="not_found")
            return await JSONResponse(body, 404)(scope, receive, send)
        return await self._app(scope, receive, send)

    def shown(self, scope: Any) -> bool:
        """Return whether a request has the token."""
        header = dict(scope["headers"]).get(b"authorization", b"")
        kind, _, token = header.partition(b" ")
        return kind.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)


class ListenerServer(uvicorn.Server):
    """uvicorn on Unix sockets (``PrivateProtocol``) and, where one is given, on a TCP socket with a token."""

    def __init__(self, config: uvicorn.Config, tcp: socket.socket | None = None, token: str = "") -> None:
        super().__init__(config)
        self._tcp, self._token = tcp, token
        for logger in (log, logging.getLogger("uvicorn.error")):
            logger.addFilter(_QUIET)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on all of them; those of TCP have a protocol and a backlog of their own."""
        tcp = None
        if self._tcp is not None:
            tcp = await asyncio.get_running_loop().create_server(self._over_tcp, sock=self._tcp, backlog=TCP_BACKLOG)
        await super().startup(sockets)
        self.servers += [tcp] if tcp is not None else []

    def _over_tcp(self) -> TokenProtocol:
        return TokenProtocol(self._token, self.config, self.server_state, self.lifespan.state)


def listen(port: int) -> socket.socket:
    """A TCP socket that only this machine reaches; port 0 takes any. Raises ``NotPrivate`` where it can't be bound."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise NotPrivateError(
            f"Port {port} of {LOOPBACK} can't be listened on ({error}): choose another one."
        ) from error
    listener.setblocking(False)
    return listener


_QUIET = _OncePerMinute()
