"""Request and decode server-sent events. Source: WHATWG HTML, section 9.2.

Deadlines are times of the event loop's clock, in seconds; None for no deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx

T = TypeVar("T")

LONGEST_LINE = 4_000_000
"""Bytes; a longer line is no event of a completion or chat."""


class DeadlinePassed(Exception):
    """The response did not end before its deadline."""


@asynccontextmanager
async def post_for_events(
    http: httpx.AsyncClient, path: str, body: Mapping[str, Any], deadline: float | None = None, **options: Any
) -> AsyncIterator[httpx.Response]:
    """Post ``body`` as JSON and yield the response before its body was read.

    Leaving the context closes the connection, which cancels the request on the server. ``options`` are those of
    ``httpx.AsyncClient.build_request``. Raises ``DeadlinePassed`` and httpx's errors.
    """
    request = http.build_request("POST", path, json=body, **options)
    response = await before(deadline, http.send(request, stream=True))
    try:
        yield response
    finally:
        await response.aclose()


async def event_data(response: httpx.Response, deadline: float | None = None) -> AsyncGenerator[str, None]:
    """Yield the text after each ``data:``, one per event.

    LF or CRLF ends a line, and each ``data:`` line counts as an event. The standard also allows several such lines per
    event, and CR alone as a line end; no server of these APIs sends either. ``httpx.Response.aiter_lines`` is not used:
    it also splits at U+2028 and the like, which occur inside the JSON text of an event.

    Raises ``DeadlinePassed``, and ``httpx.DecodingError`` for a line of more than ``LONGEST_LINE`` bytes.
    """
    rest = b""
    blocks = response.aiter_bytes()
    while (block := await before(deadline, anext(blocks, None))) is not None:
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > LONGEST_LINE:
            raise httpx.DecodingError("a line without end")
        for line in lines:
            if line.startswith(b"data:"):
                yield line.removeprefix(b"data:").strip().decode("utf-8", "replace")


async def read_body(response: httpx.Response, most: int, deadline: float | None = None) -> bytes:
    """Return the body. Stop reading once more than ``most`` bytes have arrived. Raises ``DeadlinePassed``."""
    body = bytearray()
    blocks = response.aiter_bytes()
    while len(body) <= most and (block := await before(deadline, anext(blocks, None))) is not None:
        body += block
    return bytes(body)


async def before(deadline: float | None, awaitable: Awaitable[T]) -> T:
    """Await within ``deadline``. Raises ``DeadlinePassed``."""
    try:
        async with asyncio.timeout_at(deadline):
            return await awaitable
    except TimeoutError as error:
        raise DeadlinePassed from error
