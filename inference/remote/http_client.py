"""HTTP to one remote server: its address and token, a client that connects to nothing else, and its responses.

Certificates are checked against the system's authorities (``SSL_CERT_FILE`` adds others). Redirects are not followed:
the user chooses the server, not the server. Proxies named by the environment are used for other machines only, never
for a loopback address.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from inference.api.engine_errors import EngineUnavailable
from inference.api.fields import parse_json
from inference.client.openai_stream import DONE, StreamEvent, event_data, parse_event, post_for_events, read_body
from inference.errors import CodeLlamaError
from inference.remote.server_errors import (
    connection_errors,
    incomplete_response,
    oversized_response,
    refusal,
    unexpected_response,
)

CONNECT_SECONDS = 5.0

SILENCE_SECONDS = 120.0
"""Time limit between two bytes of a response without a deadline."""

LONGEST_SHOWN = 80
"""Characters of an invalid address that a message repeats."""

LONGEST_REFUSAL = 65_536
"""Bytes of an error's body that are read."""

LONGEST_BODY, LONGEST_ANSWER = 8 * 1024 * 1024, 16 * 1024 * 1024
"""Bytes of a whole body, and characters of all events of a stream. The longest response that a setting allows has about
8,000 events of a few hundred characters."""


class AddressError(CodeLlamaError, ValueError):
    """An address or token cannot be used."""


@dataclass(frozen=True, slots=True)
class Address:
    """Address of a server.

    Attributes:
        url: without a trailing slash and without ``/v1``; see ``parse_url``.
        token: bearer token for this server alone; empty for none. Left out of ``repr``, and so of logs.
    """

    url: str
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Raise ``AddressError`` for a token that is not valid in a header."""
        if not (self.token.isascii() and self.token.isprintable()) or " " in self.token:
            raise AddressError("The token must be one word of ASCII characters. Copy it again, without line breaks.")

    @property
    def is_loopback(self) -> bool:
        """True for this machine."""
        return _is_loopback(httpx.URL(self.url).host)

    @property
    def in_the_clear(self) -> bool:
        """True if the network between could read the requests: http to another machine."""
        return self.url.startswith("http://") and not self.is_loopback


def parse_url(text: str) -> str:
    """Return the normal form of an address, so that two can be compared. Raises ``AddressError``.

    Scheme and host in lower case, no default port, no slash at the end, no ``/v1``: that is part of every request.
    """
    text = text.strip()
    try:
        url = httpx.URL("" if " " in text else text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise AddressError(
            f"{_printable(text)} is not the address of a server. It should look like https://models.example.org."
        )
    if url.userinfo:
        raise AddressError("The address must not contain a name or password. Give the token by itself.")
    if url.query or url.fragment:
        raise AddressError(f"{_printable(text)} is not the address of a server. Remove what follows '?' or '#'.")
    path = url.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return str(url.copy_with(path=path or "/")).rstrip("/")


def open_http_client(address: Address) -> httpx.AsyncClient:
    """Return a client for this server. Reads certificates from the disk: do not call it on an event loop."""
    return httpx.AsyncClient(
        base_url=address.url,
        headers={"Authorization": f"Bearer {address.token}"} if address.token else {},
        timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
        verify=ssl.create_default_context(),
        trust_env=not address.is_loopback,
        follow_redirects=False,
    )


async def get_json(http: httpx.AsyncClient, server: str, path: str) -> tuple[int, httpx.Headers, bytes, Any]:
    """Return status, headers, body, and the body's JSON or None.

    Raises ``EngineUnavailable``, also for a body of more than ``LONGEST_BODY`` bytes.
    """
    with connection_errors(server):
        async with http.stream("GET", path) as response:
            body = await read_body(response, LONGEST_BODY)
    if len(body) > LONGEST_BODY:
        raise oversized_response(server)
    try:
        parsed = parse_json(body)
    except ValueError:
        parsed = None
    return response.status_code, response.headers, body, parsed


async def stream_events(
    http: httpx.AsyncClient,
    server: str,
    path: str,
    body: Mapping[str, Any],
    deadline: float | None = None,
    *,
    quote: bool = False,
) -> AsyncGenerator[StreamEvent, None]:
    """Post a completion or chat and yield the events of its response.

    Raises ``DeadlinePassed``, and ``EngineError``, also for a stream without a finish reason. ``quote`` puts the
    server's own words into the error.
    """
    ended, length = False, 0
    with connection_errors(server):
        async with post_for_events(http, path, {**body, "stream": True}, deadline) as response:
            if response.status_code != 200:
                words = _without_token(http, await read_body(response, LONGEST_REFUSAL, deadline))
                raise refusal(server, response.status_code, response.headers, words, quote=quote)
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                raise unexpected_response(server)
            async for data in event_data(response, deadline):
                if data == DONE:
                    return
                if (length := length + len(data)) > LONGEST_ANSWER:
                    raise oversized_response(server)
                event = _parsed(data, server)
                ended = ended or bool(event.reason)
                yield event
    if not ended:
        raise incomplete_response(server)


def _parsed(data: str, server: str) -> StreamEvent:
    try:
        event = parse_event(data)
    except ValueError as error:
        raise unexpected_response(server) from error
    if event.error:
        raise EngineUnavailable(f"{server} failed in the middle of a response.")
    return event


def _without_token(http: httpx.AsyncClient, body: bytes) -> bytes:
    """Remove the token from an error's body: some servers repeat a token that they reject."""
    token = http.headers.get("authorization", "").removeprefix("Bearer ").encode()
    return body.replace(token, b"[token]") if token else body


def _printable(text: str) -> str:
    """Return as much of an invalid address as cannot be a secret: a token put there by mistake would end in a log."""
    shown = re.split("[?#]", text)[0].rpartition("@")[2]
    if text and (" " in shown or len(shown) > LONGEST_SHOWN or not re.search("[.:/]", shown)):
        return "The given address"
    return repr(shown)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
