"""Decode server-sent events: lines across blocks, the size cap, the deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from inference.client import openai_stream
from inference.client.openai_stream import DeadlinePassed, event_data, read_body


class Blocks(httpx.AsyncByteStream):
    """A body of these blocks; it stays open after them if ``stalls``."""

    def __init__(self, *blocks: bytes, stalls: bool = False) -> None:
        self.blocks, self.stalls = blocks, stalls

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for block in self.blocks:
            yield block
        if self.stalls:
            await asyncio.Event().wait()


def response(*blocks: bytes, stalls: bool = False) -> httpx.Response:
    return httpx.Response(200, stream=Blocks(*blocks, stalls=stalls))


@pytest.mark.parametrize(
    ("blocks", "data"),
    [
        ([b"data: a\n\ndata: b\n\n"], ["a", "b"]),
        ([b"da", b"ta: a\r\n", b"\r\n"], ["a"]),
        ([b": comment\n\nevent: x\ndata:a\n\n"], ["a"]),
        (["data: a\u2028b\x85c\n\n".encode()], ["a\u2028b\x85c"]),
        (["data: é\n\n".encode()[:7], "data: é\n\n".encode()[7:]], ["é"]),
        ([b"data: a\xff\n\n"], ["a\ufffd"]),
        ([b"data: a\n\ndata: cut"], ["a"]),
    ],
)
async def test_data_of_each_event_is_decoded(blocks, data):
    assert [one async for one in event_data(response(*blocks))] == data


async def test_line_beyond_the_size_cap_is_an_error(monkeypatch):
    monkeypatch.setattr(openai_stream, "LONGEST_LINE", 10)
    with pytest.raises(httpx.DecodingError, match="line without end"):
        _ = [one async for one in event_data(response(b"data: 12", b"345"))]


async def test_stalled_stream_ends_at_its_deadline():
    deadline = asyncio.get_running_loop().time() + 0.05
    events = event_data(response(b"data: a\n\n", stalls=True), deadline)
    assert await anext(events) == "a"
    with pytest.raises(DeadlinePassed):
        await anext(events)


async def test_body_is_read_up_to_the_limit_only():
    assert await read_body(response(b"abc", b"def", stalls=True), 3) == b"abcdef"
