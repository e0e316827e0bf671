"""Split a byte stream into JSON-RPC bodies (LSP 3.17, base protocol).

Headers and bodies are bounded, so a client's mistake costs at most its own message. After bytes that are no header the
next ``Content-Length`` line is looked for.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable

log = logging.getLogger(__name__)

LARGEST_BODY = 128 * 2**20
"""Bytes. Editors send no document of more than some tens of megabytes."""

CHUNK = 2**16
"""Bytes to read at once: what a pipe holds."""

LONGEST_LINE = 8_192
"""Bytes of a header line; only the end of a longer one is kept."""

_LENGTH = re.compile(rb"content-length:[ \t]*(\d{1,18})[ \t]*\r?\n\Z", re.IGNORECASE)
_FIELD = re.compile(rb"[\w-]+:(?<!content-length:)", re.IGNORECASE)

Read = Callable[[int], Awaitable[bytes]]
"""Return at most so many bytes as soon as there are any; none at the end of the stream."""


class Bodies:
    """The message bodies of a stream, until it ends. A body that the stream ends in is dropped."""

    def __init__(self, read: Read, largest: int = LARGEST_BODY) -> None:
        self._read = read
        self._largest = largest
        self._buffer = bytearray()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (length := await self._header()) is not None:
            if length > self._largest:
                log.error("Skipped a message of %d bytes; the limit is %d.", length, self._largest)
                await self._skip(length)
            elif not await self._holds(length):
                return
            elif length:
                yield self._take(length)

    async def _header(self) -> int | None:
        """Return the length of the next body, or None at the end of the stream."""
        length = None
        while line := await self._line():
            if found := _LENGTH.search(line):
                length = int(found[1])
            elif not line.strip():
                if length is not None:
                    return length
            elif not _FIELD.match(line):
                log.warning("Skipped bytes that are not a valid message header.")
        return None

    async def _line(self) -> bytes:
        """Return the next line, or the end of it where it is too long; nothing at the end of the stream."""
        while (end := self._buffer.find(b"\n")) < 0:
            del self._buffer[:-LONGEST_LINE]
            if not await self._fill():
                return b""
        return self._take(end + 1)

    async def _holds(self, length: int) -> bool:
        """Read until the buffer has ``length`` bytes; False if the stream ends before."""
        while len(self._buffer) < length:
            if not await self._fill():
                return False
        return True

    async def _skip(self, length: int) -> None:
        """Discard bytes without holding them."""
        while length and (self._buffer or await self._fill()):
            length -= len(self._take(min(length, len(self._buffer))))

    async def _fill(self) -> bool:
        chunk = await self._read(CHUNK)
        self._buffer += chunk
        return bool(chunk)

    def _take(self, length: int) -> bytes:
        taken = bytes(self._buffer[:length])
        del self._buffer[:length]
        return taken
