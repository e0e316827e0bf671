"""The way to one server: its address, the token for it, and an HTTP client that goes there and nowhere else.

Certificates are checked against the system's authorities (``SSL_CERT_FILE`` names others). Redirects are not followed:
who may be asked is the user's decision, not a server's. Proxies that the environment names are used for other machines
and never for this one. Knows no requests, and not who named the address (``lsp_server.backend.allowed_servers``).

Asking a server and reading what it says, as a whole or event by event; strict about the shape of both.

Knows HTTP, not what is asked for. Leaving a stream early closes the connection, which is how every server here is told
to stop. Source: OpenAI API reference, "Streaming".
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from inference.api.errors import EngineUnavailable
from inference.api.fields import parse_json
from inference.client.sse import event_data
from inference.remote.errors import broken_off, endless, in_words, refused, strange

CONNECT_SECONDS = 5.0

SILENCE_SECONDS = 120.0
"""How long a server may say nothing in the middle of an answer that has no deadline."""

LONGEST_TOLD = 80
"""Characters of what is no address that a sentence repeats."""


class AddressError(ValueError):
    """What was given is no address, or no token, that can be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is.

    Attributes:
        url: without a trailing slash and without ``/v1``; see ``parse_url``.
        token: to be shown to it alone; empty for none. It is in no ``repr``, and so in no log.
    """

    url: str
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Raises ``AddressError`` for a token that can't stand in a header."""
        if not (self.token.isascii() and self.token.isprintable()) or " " in self.token:
            raise AddressError("The token must be one word of ASCII characters: copy it again, without line breaks.")

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine."""
        return _is_loopback(httpx.URL(self.url).host)

    @property
    def in_the_clear(self) -> bool:
        """Whether others on the way can read what is sent."""
        return self.url.startswith("http://") and not self.is_loopback


def parse_url(text: str) -> str:
    """The address in the one form in which two can be compared. Raises ``AddressError``.

    Scheme and host in lower case, no default port, no slash at the end, no ``/v1``: that is part of every request.
    """
    text = text.strip()
    try:
        url = httpx.URL("" if " " in text else text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise AddressError(f"{_told(text)} is no address of a server: it should look like https://models.example.org.")
    if url.userinfo:
        raise AddressError("The address must not hold a name or password: give the token by itself.")
    if url.query or url.fragment:
        raise AddressError(f"{_told(text)} is no address of a server: leave out what follows '?' or '#'.")
    path = url.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return str(url.copy_with(path=path or "/")).rstrip("/")


def open_http_client(address: Address) -> httpx.AsyncClient:
    """A client for this server. It reads certificates from the disk: not to be called on an event loop."""
    return httpx.AsyncClient(
        base_url=address.url,
        headers={"Authorization": f"Bearer {address.token}"} if address.token else {},
        timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
        verify=ssl.create_default_context(),
        trust_env=not address.is_loopback,
        follow_redirects=False,
    )


def _told(text: str) -> str:
    """What was given, as far as it can't be a secret: a token put there by mistake would end in the editor's log."""
    shown = re.split("[?#]", text)[0].rpartition("@")[2]
    if text and (" " in shown or len(shown) > LONGEST_TOLD or not re.search("[.:/]", shown)):
        return "What was given"
    return repr(shown)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


LONGEST_REFUSAL = 65_536
"""Bytes of an error's body that are read."""

LONGEST_BODY, LONGEST_ANSWER = 8 * 1024 * 1024, 16 * 1024 * 1024
"""Bytes of what is asked for as a whole, and characters of all events of a stream. The longest answer that a setting
allows has some 8,000 events of a few hundred characters."""


@dataclass(frozen=True, slots=True)
class Part:
    """One event of a streamed answer: text, and whatever else came with it."""

    text: str = ""
    reason: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, Any] = field(default_factory=dict)


async def get_json(http: httpx.AsyncClient, where: str, path: str) -> tuple[int, httpx.Headers, bytes, Any]:
    """Status, headers, body, and the body's JSON or None. Raises ``EngineUnavailable``, also for a body without end."""
    with in_words(where):
        async with http.stream("GET", path) as answer:
            body = await _read(answer, LONGEST_BODY)
    if len(body) > LONGEST_BODY:
        raise endless(where)
    try:
        parsed = parse_json(body)
    except ValueError:
        parsed = None
    return answer.status_code, answer.headers, body, parsed


async def parts(
    http: httpx.AsyncClient, where: str, path: str, body: Mapping[str, Any], *, telling: bool = False
) -> AsyncGenerator[Part, None]:
    """The parts of a streamed answer. Raises ``EngineError``, also where it ends without having come to an end.

    With ``telling`` the server's own words are in the error.
    """
    ended, length = False, 0
    with in_words(where):
        async with http.stream("POST", path, json={**body, "stream": True}) as answer:
            if answer.status_code != 200:
                said = _secretless(http, await _read(answer, LONGEST_REFUSAL))
                raise refused(where, answer.status_code, answer.headers, said, telling=telling)
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                raise strange(where)
            async for data in event_data(answer):
                if data == "[DONE]":
                    return
                if (length := length + len(data)) > LONGEST_ANSWER:
                    raise endless(where)
                part = _part(data, where)
                ended = ended or bool(part.reason)
                yield part
    if not ended:
        raise broken_off(where)


def _part(data: str, where: str) -> Part:
    try:
        event = parse_json(data.encode())
        if event.get("error"):
            raise EngineUnavailable(f"{where} failed in the middle of an answer.")
        choices = event["choices"]
        choice = choices[0] if choices else {}
        text = choice["delta"].get("content") if "delta" in choice else choice.get("text")
        told = text or "", choice.get("finish_reason") or "", event.get("usage") or {}, event.get("timings") or {}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise strange(where) from error
    if not all(isinstance(one, kind) for one, kind in zip(told, (str, str, Mapping, Mapping), strict=True)):
        raise strange(where)
    return Part(*told)


def _secretless(http: httpx.AsyncClient, refusal: bytes) -> bytes:
    """An error's body without the token: some servers repeat the one they do not know."""
    token = http.headers.get("authorization", "").removeprefix("Bearer ").encode()
    return refusal.replace(token, b"[token]") if token else refusal


async def _read(answer: httpx.Response, most: int) -> bytes:
    """The body; of one with more than ``most`` bytes its beginning, which has more."""
    body = bytearray()
    async for block in answer.aiter_bytes():
        body += block
        if len(body) > most:
            break
    return bytes(body)
