"""Send one case to an engine and parse the responses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import h11
from fuzz.http_cases import Case

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

ANSWER_SECONDS = 120.0
"""A response that takes longer counts as a hang. It usually takes milliseconds, on a busy machine seconds."""

PATIENCE_SECONDS = 0.3
"""Seconds to wait after bytes that may be an incomplete request before the sending side is closed."""


async def exchange(connect: Connect, case: Case) -> list[int]:
    """Return the statuses of all responses. Raises TimeoutError or ValueError if one is missing or malformed."""
    reader, writer = await connect()
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            received = await _send_and_receive(reader, writer, case)
    finally:
        writer.transport.abort()
    if case.methods:
        return responses(received, case)
    return [int(received[9:12])] if received.startswith(b"HTTP/1.1 ") else []


async def _send_and_receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, case: Case) -> bytes:
    """Return everything received. The engine may close the connection before it has read everything."""
    sending = asyncio.ensure_future(_send(writer, case.sent))
    try:
        if case.methods:
            return await _read(reader, case.endless)
        reading = asyncio.ensure_future(_read(reader, case.endless))
        await asyncio.wait([reading], timeout=PATIENCE_SECONDS)
        if not reading.done() and not writer.is_closing():
            writer.write_eof()
        return await reading
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def _send(writer: asyncio.StreamWriter, sent: bytes) -> None:
    writer.write(sent)
    await writer.drain()


async def _read(reader: asyncio.StreamReader, endless: bool) -> bytes:
    received = bytearray()
    try:
        while part := await reader.read(65_536):
            received += part
            if endless and b"\r\n\r\n" in received and b"data: " in received:
                break
    except ConnectionError:
        pass
    return bytes(received)


def responses(received: bytes, case: Case) -> list[int]:
    """Return the status of each response. Raises ValueError if one is missing, truncated or not HTTP."""
    conn, statuses = h11.Connection(h11.CLIENT), []
    conn.receive_data(received)
    conn.receive_data(b"")
    for method in case.methods:
        if statuses:
            conn.start_next_cycle()
        conn.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"engine")]))
        conn.send(h11.EndOfMessage())
        try:
            statuses.append(_response(conn, case.endless))
        except h11.ProtocolError as error:
            raise ValueError(f"{error}: {received[:300]!r}") from error
    return statuses


def _response(conn: h11.Connection, endless: bool) -> int:
    status = 0
    while True:
        event = conn.next_event()
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.EndOfMessage) or (endless and status and isinstance(event, h11.Data)):
            return status
        elif not isinstance(event, h11.InformationalResponse | h11.Data):
            raise h11.RemoteProtocolError(f"incomplete response ({event!r})")
