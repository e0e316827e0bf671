"""Streamed completions and chats: request server-sent events, decode them, and parse OpenAI's objects.

Sources: WHATWG HTML, section 9.2; OpenAI API reference, "Streaming". Deadlines are times of the event loop's clock, in
seconds; None for no deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from inference.api.events import Outcome, parse_outcome
from inference.api.fields import parse_json

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


DONE = "[DONE]"
"""The data of a stream's last event."""

DEADLINE = {"cause": "deadline"}


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event of a streamed completion or chat.

    Attributes:
        text: new text; may be empty.
        reason: OpenAI's finish reason; empty until the last text.
        usage: OpenAI's ``usage``; empty unless the event brings it.
        timings: our engine's own addition (see ``events.timings``).
        logprobs: OpenAI's ``logprobs`` of the text, unchecked; None unless the request wants them.
        model: the model or adapter that wrote the text.
        error: OpenAI's ``error``; None unless the generation failed.
    """

    text: str = ""
    reason: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, Any] = field(default_factory=dict)
    logprobs: Any = None
    model: str = ""
    error: Any = None


def parse_event(data: str) -> StreamEvent:
    """Parse one event. Raises ``ValueError`` if it is not of OpenAI's API."""
    try:
        event = parse_json(data.encode())
        if error := event.get("error"):
            return StreamEvent(error=error)
        choices = event["choices"]
        choice = choices[0] if choices else {}
        text = choice["delta"].get("content") if "delta" in choice else choice.get("text")
        fields = (
            text or "",
            choice.get("finish_reason") or "",
            event.get("usage") or {},
            event.get("timings") or {},
            choice.get("logprobs"),
            event.get("model") or "",
        )
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"no event of a completion or chat: {error!r}") from error
    if not all(isinstance(one, kind) for one, kind in zip(fields, (str, str, Mapping, Mapping), strict=False)):
        raise ValueError("no event of a completion or chat")
    return StreamEvent(*fields)


@dataclass
class PlainReader:
    """Read a stream whose server applies all stop rules itself: keep its text, collect how it ended."""

    reason: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    done = False
    """True once the rest of the stream is not needed."""

    def feed(self, event: StreamEvent) -> str:
        """Take an event in and return the text to show."""
        self.reason = event.reason or self.reason
        self.usage, self.timings = event.usage or self.usage, event.timings or self.timings
        self.model = event.model or self.model
        return event.text

    def finish(self) -> str:
        """Return text that was held back."""
        return ""

    def outcome(self, *, late: bool = False) -> Outcome:
        """Summarise the generation; ``late`` if its deadline passed before it ended."""
        if late:
            return parse_outcome(self.reason or "length", self.usage, self.timings or DEADLINE)
        return parse_outcome(self.reason, self.usage, self.timings)
