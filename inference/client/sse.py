"""The data of server-sent events as they come over HTTP. Knows no API. Source: WHATWG HTML, section 9.2."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx

LONGEST_LINE = 4_000_000
"""Bytes; who sends more without a line end sends something else."""


async def event_data(answer: httpx.Response) -> AsyncIterator[str]:
    """What stands behind each ``data:``. Raises ``httpx.DecodingError`` for a line without end.

    Each such line is taken for an event of its own, and LF ends it, with a CR before it or not: the standard also has
    data of several lines, and lines that a CR alone ends, which no server of these APIs sends. httpx's own
    ``aiter_lines`` splits at whatever Unicode breaks lines at, such as U+2028, which stand inside the text of an event.
    """
    rest = b""
    async for block in answer.aiter_bytes():
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > LONGEST_LINE:
            raise httpx.DecodingError("a line without end")
        for line in lines:
            if line.startswith(b"data:"):
                yield line.removeprefix(b"data:").strip().decode("utf-8", "replace")
