"""The way to one server: its address, the token for it, and an HTTP client that goes there and nowhere else.

Certificates are checked against the system's authorities (``SSL_CERT_FILE`` names others). Redirects are not followed:
who may be asked is the user's decision, not a server's. Proxies that the environment names are used for other machines
and never for this one. Knows no requests, and not who named the address (``lsp_server.remote.allowed``).
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from dataclasses import dataclass, field

import httpx

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


def open_door(address: Address) -> httpx.AsyncClient:
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
