"""Generate HTTP requests: correctly framed ones with odd content, and malformed ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from fuzz.http_bodies import VALID, body

READ = ["/v1/models", "/v1/models/tiny", "/health", "/stats", "/lease"]

ODD_PATHS = [
    "/",
    "/v1",
    "/v1/",
    "//v1/models",
    "/v1/models/",
    "/v1/models/%00",
    "/v1/models/%ff%fe",
    "/v1/models/" + "m" * 5000,
    "/v1/models/../../lease",
    "/v1/completions/",
    "/v1/completions?model=x&%00=%ff",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/retire%00",
    "/v1/%63ompletions",
    "/health;a=b",
    "/health?" + "q" * 3000,
    "http://engine/health",
    "http://[/health",
    "*",
    "/\\",
    "/tokenize",
]

METHODS = ["GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW", "get"]

ODD_HEADERS = [
    b"host: [",
    b"host: a b",
    b"host: \xff",
    b"content-type: text/xml",
    b"content-type: application/json; charset=utf-16",
    b"content-type: ",
    b"accept: " + b"a" * 4000,
    b"x: \xff\xfe",
    b"cookie: " + b"=;" * 1000,
    b"accept-encoding: gzip, br, \xe2",
    b"content-encoding: gzip",
    b"upgrade: websocket\r\nconnection: upgrade",
    b"upgrade: h2c\r\nconnection: upgrade, http2-settings",
    b"expect: 100-continue",
    b"expect: nothing",
    b"range: bytes=9-1",
    b"if-none-match: *",
    b"te: trailers",
    b"x-empty:",
    b"authorization: Basic \xff",
    b"authorization: Bearer ",
    b'forwarded: for="[::1"',
    b"x-forwarded-host: \x80",
    b"date: 99",
]

LINES = [
    b"content-length: -1",
    b"content-length: 99999999999999999999",
    b"content-length: 1e3",
    b"content-length: 5, 6",
    b"content-length: 50000000000",
    b"transfer-encoding: chunked",
    b"transfer-encoding: gzip, chunked",
    b"transfer-encoding: \x00",
    b" folded: value",
    b"no colon",
    b": no name",
    b"a b: c",
    b"x: \x00",
    b"x: \x7f\x01",
    b"host: a\r\nhost: b",
    b"\xff: \xff",
    b"x: " + b"a" * 20_000,
    b"\r\n\r\n",
    b"connection: close, keep-alive, \xff",
]
"""Header lines that HTTP does not allow."""

CHUNKS = [
    b"zz\r\nab\r\n",
    b"-1\r\n\r\n",
    b"ffffffffffffffff\r\na\r\n",
    b"5\r\nab\r\n0\r\n\r\n",
    b"2\r\nab0\r\n\r\n",
    b"0\r\n\r\n" * 5,
    b"1;" + b"e" * 20_000 + b"\r\na\r\n0\r\n\r\n",
    b"0\r\nx: y\r\n" * 50 + b"\r\n",
    b"1\r\n{\r\n" * 2_000,
    b"\r\n\r\n\r\n",
]
"""Malformed or unusual chunked bodies."""

GARBAGE = [
    b"\x00" * 50,
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET\r\n\r\n",
    b"\r\n" * 100,
    b"HTTP/1.1 200 OK\r\n\r\n",
]


@dataclass(frozen=True)
class Case:
    """The bytes sent on one connection.

    Attributes:
        sent: all bytes.
        methods: the method of each request that must get a response; empty if the bytes may not be a request.
        endless: the response may be an endless stream, of which only the first event is read.
    """

    sent: bytes
    methods: tuple[bytes, ...] = ()
    endless: bool = False


def cases(random: Random, count: int, authorization: bytes) -> Iterator[Case]:
    """Yield ``count`` cases, three in five correctly framed. ``authorization`` is the header with the token."""
    for _ in range(count):
        if random.random() < 0.6:
            yield framed(random, authorization)
        else:
            yield broken(random, authorization)


def framed(random: Random, authorization: bytes) -> Case:
    """Return a well-formed request with any content, sometimes two on one connection."""
    if random.random() < 0.1:
        first = request(random, b"GET", "/health", [authorization])
        second = request(random, b"GET", random.choice(READ[:-1]), [authorization, b"connection: close"])
        return Case(first + second, (b"GET", b"GET"))
    path, method, content = random.choice([*VALID, *READ]), b"GET", None
    if path in VALID:
        method, content = b"POST", body(random, path)
    if random.random() < 0.15:
        path = random.choice(ODD_PATHS)
    if random.random() < 0.1:
        method = random.choice(METHODS).encode()
    headers = [authorization, b"connection: close"]
    headers += random.sample(ODD_HEADERS, random.choice([0, 0, 0, 1, 2]))
    if random.random() < 0.02:
        content = b'{"prompt": "' + b"a" * (9 * 1024 * 1024) + b'"}'
    return Case(request(random, method, path, headers, content), (method,), endless=path == "/lease")


def request(random: Random, method: bytes, path: str, headers: list[bytes], content: bytes | None = None) -> bytes:
    """Serialize a request, with a Content-Length or in chunks."""
    lines = [b"%s %s HTTP/1.1" % (method, path.encode()), b"host: engine"]
    if any(header.startswith(b"host:") for header in headers):
        lines.pop()
    if content is not None and random.random() < 0.3:
        return b"\r\n".join([*lines, *headers, b"transfer-encoding: chunked", b"", chunked(random, content)])
    length = [] if content is None else [b"content-length: %d" % len(content)]
    return b"\r\n".join([*lines, *headers, *length, b"", content or b""])


def chunked(random: Random, content: bytes) -> bytes:
    """Return ``content`` in chunks, sometimes with an extension and a trailer."""
    parts, at = [], 0
    while at < len(content):
        size = random.choice([1, 7, 4096, 1_000_000])
        piece = content[at : at + size]
        parts.append(b"%x%s\r\n%s\r\n" % (len(piece), random.choice([b"", b";a=b"]), piece))
        at += len(piece)
        if len(parts) > 50:
            parts.append(b"%x\r\n%s\r\n" % (len(content) - at, content[at:]) if at < len(content) else b"")
            break
    return b"".join(parts) + b"0\r\n" + random.choice([b"", b"x-trailer: y\r\n"]) + b"\r\n"


def broken(random: Random, authorization: bytes) -> Case:
    """Return a damaged request: changed, truncated, with invalid header lines or chunks, or with garbage."""
    path = random.choice([path for path in [*VALID, *READ] if path != "/retire"])
    content = body(random, path) if path in VALID else None
    headers = [authorization, b"connection: close"]
    raw = request(random, b"POST" if content is not None else b"GET", path, headers, content)
    for _ in range(random.choice([1, 1, 2, 4])):
        raw = damaged(random, raw)
    return Case(raw)


def damaged(random: Random, raw: bytes) -> bytes:
    kind, at = random.randrange(9), random.randrange(min(len(raw), 400) + 1)
    head, _, rest = raw.partition(b"\r\n\r\n")
    if kind == 0:
        return raw[:at] + random.randbytes(random.choice([1, 2, 8])) + raw[at + 1 :]
    if kind == 1:
        return raw[:at] + raw[at + random.randrange(20) :]
    if kind == 2:
        return raw[:at]
    if kind == 3:
        return raw[:at] + raw[at : at + 30] * random.choice([2, 50]) + raw[at:]
    if kind == 4:
        return head + b"\r\n" + random.choice(LINES) + b"\r\n\r\n" + rest
    if kind == 5:
        return head + b"\r\ntransfer-encoding: chunked\r\n\r\n" + random.choice(CHUNKS)
    if kind == 6:
        return raw + random.choice(GARBAGE)
    if kind == 7:
        return random.choice(GARBAGE) + raw
    return raw.replace(b"HTTP/1.1", random.choice([b"HTTP/1.0", b"HTTP/9.9", b"HTTP/", b"http/1.1", b"HTTP/1.1 "]), 1)
